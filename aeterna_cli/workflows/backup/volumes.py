"""The volumes of one backup: opened under its folder, sealed for its recipients, counted."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from aeterna_cli.repository import layout
from aeterna_cli.stores.base.objects import ObjectStore

if TYPE_CHECKING:
    from aeterna_cli.repository.pipeline import SealedWriter, VolumeRecord


class RateLimit:
    """At most ``bytes_per_second`` over all threads that ``take``; 0 is no limit.

    ``wait`` sleeps the given seconds and may return early.
    """

    def __init__(
        self, bytes_per_second: int, wait: Callable[[float], object] | None = None
    ) -> None:
        self._rate = bytes_per_second
        self._wait = wait or threading.Event().wait
        self._mutex = threading.Lock()
        self._free_at = monotonic()

    def take(self, count: int) -> None:
        """Returns when ``count`` bytes may pass."""
        if self._rate <= 0:
            return
        with self._mutex:
            now = monotonic()
            start = max(now, self._free_at)
            self._free_at = start + count / self._rate
        if start > now:
            self._wait(start - now)


class Volumes:
    """Opens sealed volumes of one backup. ``check`` is asked for every block that is written."""

    def __init__(
        self,
        objects: ObjectStore,
        backup_id: str,
        recipients: Sequence[str],
        *,
        part_bytes: int,
        check: Callable[[], None],
        limit: RateLimit,
    ) -> None:
        self._objects = objects
        self._backup_id = backup_id
        self._recipients = tuple(recipients)
        self._part_bytes = part_bytes
        self._check = check
        self._limit = limit

    @contextmanager
    def open(self, store: str, name: str, *, hash_plain: bool = True) -> Iterator["GovernedWriter"]:
        """A new volume ``<store>/<name>``; without ``commit`` nothing of it is ever listed."""
        from aeterna_cli.repository.pipeline import SealedWriter

        prefix = layout.volume_prefix(self._backup_id, store, name)
        with SealedWriter(
            self._objects, prefix, self._recipients, self._part_bytes, hash_plain=hash_plain
        ) as writer:
            yield GovernedWriter(writer, self._check, self._limit)


class GovernedWriter:
    """A sealed writer that stops when asked to and keeps to the rate limit."""

    def __init__(self, writer: "SealedWriter", check: Callable[[], None], limit: RateLimit) -> None:
        self._writer = writer
        self._check = check
        self._limit = limit

    def write(self, data: bytes | memoryview, /) -> None:
        self._check()
        self._limit.take(len(data))
        self._writer.write(data)

    def commit(self) -> "VolumeRecord":
        return self._writer.commit()
