"""The application's own buckets: what lies there, whose it is, and reading and writing it.

Not the repository's ``ObjectStore``: the application chooses the names, so any name that S3 allows
must work. Only the current versions of a versioned bucket are seen. SeaweedFS stores a name with a
backslash under one with a slash in its place (measured): such an object is found under that name.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, BinaryIO, cast

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from aeterna_cli.errors import AeternaError, InterruptedByUser, RemoteError
from aeterna_cli.settings import RepositorySettings
from aeterna_cli.stores import tallies
from aeterna_cli.stores.backoff import Backoff, retried
from aeterna_cli.stores.base.tenant_counts import ObjectJudge, Tally
from aeterna_cli.stores.s3_body import BUFFER, S3Body
from aeterna_cli.stores.s3_client import make_client, split_url
from aeterna_cli.stores.s3_errors import faults
from aeterna_cli.stores.s3_put import Target
from aeterna_cli.stores.s3_upload import S3Upload

_BATCH = 1000  # keys, the most that DeleteObjects takes
_PIECE = 1 << 20  # bytes


def _never() -> bool:
    return False


@dataclass(frozen=True)
class ApplicationObject:
    """One object; ``key`` is below the prefix of its bucket."""

    key: str
    size: int
    etag: str
    modified: datetime


class ApplicationObjects:
    """One of ``object_stores`` of the profile. ``name`` is what the profile calls it.

    Contacts nothing before the first call. Errors as of the repository's S3 store.
    """

    def __init__(
        self,
        settings: RepositorySettings,
        name: str,
        *,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
        page: int = 1000,
    ) -> None:
        self.name, self._page_keys = name, page
        self._settings, self._backoff = settings, backoff
        self._bucket, prefix = split_url(settings.url)
        self._below = f"{prefix}/" if prefix else ""
        self._opened: Any = None
        self._bucket_seen = False

    @property
    def description(self) -> str:
        return f"s3://{self._bucket}/{self._below}".rstrip("/")

    def close(self) -> None:
        """Give the connections back; the next call opens others."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def objects(self, prefix: str = "") -> Iterator[ApplicationObject]:
        """Every object below ``prefix``, in the server's order, page by page.

        ``prefix`` is plain text: end it with ``/``, or ``tenant-1`` will list ``tenant-11`` too.
        """
        for page in self._pages(prefix):
            for entry in page.get("Contents", ()):
                key = entry["Key"].removeprefix(self._below)
                yield ApplicationObject(key, entry["Size"], entry["ETag"], entry["LastModified"])

    def tally(
        self,
        judge: ObjectJudge,
        *,
        each: Callable[[ApplicationObject, Any], object] | None = None,
        stop: Callable[[], bool] = _never,
    ) -> Tally:
        """Every object once, by tenant and rule, in one listing. Memory is the tally's alone."""
        tally = Tally()
        for found in self.objects():
            if stop():
                raise InterruptedByUser("interrupted", f"stopped after {tally.total.count} objects")
            judged = judge.classify(found.key, self.name)
            tallies.add(tally, found.key, found.size, judged)
            if each is not None:
                each(found, judged)
        return tally

    def read(self, key: str) -> AbstractContextManager[BinaryIO]:
        """The object's bytes to their very end, one version of it even if the connection is cut.

        ``RefusedError('object_missing')`` where there is none.
        """
        target = self._target(key)

        def fetch(start: int, etag: str | None) -> dict[str, Any]:
            if etag is None:
                return target.present("get_object")
            rest = target.call("get_object", Range=f"bytes={start}-", IfMatch=etag)
            if not str(rest.get("ContentRange", "")).startswith(f"bytes {start}-"):
                raise RemoteError(
                    "range_ignored", f"{target.where}: S3 ignored the Range asked for"
                )
            return rest

        body = S3Body(fetch, target.where, self._backoff)
        return cast(BinaryIO, io.BufferedReader(body, BUFFER))

    def write(self, key: str, source: BinaryIO, *, replace: bool = False) -> int:
        """Store what ``source`` gives to its end; how many bytes it were. All or nothing.

        ``ConflictError('object_exists')`` where the key is taken, unless ``replace``. The bucket
        must exist: none is made.
        """
        if not self._bucket_seen:  # SeaweedFS makes a missing bucket at the first PUT
            retried(self._ask_bucket, self._backoff)
            self._bucket_seen = True
        return self._replace(key, source) if replace else self._create(key, source)

    def delete(self, keys: Iterable[str]) -> int:
        """Remove these; how many were asked for. Those that are gone already are no error."""
        asked, remaining = 0, iter(keys)
        while batch := list(islice(remaining, _BATCH)):
            self._delete(batch)
            asked += len(batch)
        return asked

    def _create(self, key: str, source: BinaryIO) -> int:
        upload = S3Upload(self._target(key), self._settings.part_bytes)
        try:
            while piece := source.read(_PIECE):
                upload.write(piece)
            size = upload.commit().size
        except BaseException as error:
            try:
                upload.abandon()
            except AeternaError as left:  # the first failure counts
                error.add_note(f"its parts are still in the store: {left.message}")
            raise
        upload.abandon()
        return size

    def _replace(self, key: str, source: BinaryIO) -> int:
        target, counted = self._target(key), _Counting(source)
        transfer = TransferConfig(
            multipart_threshold=self._settings.part_bytes,
            multipart_chunksize=self._settings.part_bytes,
            max_concurrency=2,
            preferred_transfer_client="classic",  # the other one ignores endpoint_url
        )
        with faults(target.where):
            self._client.upload_fileobj(counted, self._bucket, target.path, Config=transfer)
        size = int(target.present("head_object")["ContentLength"])
        if size != counted.size:
            raise RemoteError(
                "upload_size_wrong", f"{target.where} has {size} bytes of {counted.size} sent"
            )
        return size

    def _delete(self, batch: list[str]) -> None:
        with faults(self.description):
            answer = self._client.delete_objects(
                Bucket=self._bucket,
                Delete={"Objects": [{"Key": self._below + key} for key in batch], "Quiet": True},
            )
            for failed in answer.get("Errors", ()):
                if failed.get("Code") != "NoSuchKey":
                    raise ClientError({"Error": failed}, "DeleteObjects")

    @property
    def _client(self) -> Any:
        if self._opened is None:
            self._opened = make_client(self._settings)
        return self._opened

    def _target(self, key: str) -> Target:
        return Target(self._client, self._bucket, self._below + key, key, self._backoff)

    def _ask_bucket(self) -> None:
        with faults(self.description):
            self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._below, MaxKeys=1)

    def _pages(self, prefix: str) -> Iterator[dict[str, Any]]:
        """The pages of a listing, each retried on its own: one lost page would be lost data."""
        request: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._below + prefix}
        request["MaxKeys"] = self._page_keys
        while True:
            found = retried(partial(self._page, request), self._backoff)
            yield found
            if not found.get("IsTruncated"):
                return
            request["ContinuationToken"] = found["NextContinuationToken"]

    def _page(self, request: dict[str, Any]) -> dict[str, Any]:
        with faults(self.description):
            answer: dict[str, Any] = self._client.list_objects_v2(**request)
        return answer


class _Counting(io.RawIOBase):
    """Counts what is read, whoever reads it."""

    def __init__(self, source: BinaryIO) -> None:
        self._source, self.size = source, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.size += len(data)
        return data
