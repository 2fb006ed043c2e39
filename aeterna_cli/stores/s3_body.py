"""Reading an S3 object to its very end: a cut connection is continued, a short body is an error."""

import io
from collections.abc import Callable
from typing import Any

from aeterna_cli.errors import TransientError
from aeterna_cli.stores.backoff import Backoff, retried
from aeterna_cli.stores.s3_errors import faults

BUFFER = 1 << 20  # bytes
RESUMES = 5  # cuts without a megabyte in between


class S3Body(io.RawIOBase):
    """The bytes of one version of one object.

    ``fetch(start, etag)`` answers GetObject from byte ``start`` on; with an ``etag`` only for that
    version (``ConflictError('object_changed')`` otherwise), so two versions are never spliced. The
    first request is sent at construction.
    """

    def __init__(
        self, fetch: Callable[[int, str | None], dict[str, Any]], where: str, backoff: Backoff
    ) -> None:
        self._fetch, self._where, self._backoff = fetch, where, backoff
        first = fetch(0, None)
        self.size: int = first["ContentLength"]
        self._etag: str = first["ETag"]
        self._stream: Any = first["Body"]
        self._position = 0
        self._cuts = 0
        self._cut_at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any, /) -> int:
        wanted = min(len(target), self.size - self._position)
        if wanted == 0:
            return 0
        while True:
            try:
                data = self._some(wanted)
            except TransientError as error:
                self._resume(error)
                continue
            target[: len(data)] = data
            self._position += len(data)
            return len(data)

    def _some(self, wanted: int) -> bytes:
        with faults(self._where):
            data: bytes = self._stream.read(wanted)
        if not data:
            raise TransientError(
                "body_truncated",
                f"{self._where} ended after {self._position} of {self.size} bytes",
                hint="the connection was cut, or the object is damaged in the store",
            )
        return data

    def _resume(self, error: TransientError) -> None:
        """Ask for the rest. Raises a truncation when that was tried too often in one place."""
        if self._position - self._cut_at >= BUFFER:
            self._cuts = 0
        self._cuts, self._cut_at = self._cuts + 1, self._position
        self._stream.close()
        if self._cuts > RESUMES:
            raise TransientError(
                "body_truncated",
                f"{self._where} was cut {self._cuts} times at byte {self._position} of {self.size}",
                hint=error.message,
            ) from error
        rest = retried(lambda: self._fetch(self._position, self._etag), self._backoff)
        self._stream = rest["Body"]

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()
