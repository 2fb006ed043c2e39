"""The backup repository in an S3 bucket.

Conditional writes (``If-None-Match: *``, ``If-Match``) carry the promises of ``create`` and
``replace``; a server that ignores them breaks them, so they are probed when a repository is made
(``object_probe``). Source: Amazon S3 API Reference; measured on SeaweedFS.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, BinaryIO, cast

from botocore.exceptions import ClientError

from aeterna_cli.errors import AeternaError, RefusedError, RemoteError
from aeterna_cli.settings import RepositorySettings
from aeterna_cli.stores.backoff import Backoff, retried
from aeterna_cli.stores.base.objects import ObjectInfo, ObjectWriter
from aeterna_cli.stores.directory_store import check_key
from aeterna_cli.stores.s3_body import BUFFER, S3Body
from aeterna_cli.stores.s3_client import CONNECTIONS, make_client, split_url
from aeterna_cli.stores.s3_errors import faults
from aeterna_cli.stores.s3_put import Target, put, server_time
from aeterna_cli.stores.s3_upload import S3Upload, abort

_BATCH = 1000  # keys, the most that DeleteObjects takes


class S3Store:
    """An ``ObjectStore`` below ``s3://bucket/prefix``.

    Writes and the reading of one body are repeated inside, where it is known how to do that
    safely; everything else is sent once: wrap it in ``Retrying``. Safe to use from many threads.
    """

    def __init__(
        self,
        settings: RepositorySettings,
        *,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
    ) -> None:
        self._settings, self._backoff = settings, backoff
        self._bucket, prefix = split_url(settings.url)
        self._below = f"{prefix}/" if prefix else ""
        self._opened: Any = None
        self._bucket_seen = False
        self._known_key: str | None = None

    @property
    def description(self) -> str:
        return f"s3://{self._bucket}/{self._below}".rstrip("/")

    def create(self, key: str, data: bytes) -> ObjectInfo:
        return put(self._new(key), data, IfNoneMatch="*")

    def replace(self, key: str, data: bytes, *, etag: str) -> ObjectInfo:
        return put(self._target(key), data, IfMatch=etag)

    @contextmanager
    def writer(self, key: str) -> Iterator[ObjectWriter]:
        upload = S3Upload(self._new(key), self._settings.part_bytes)
        try:
            yield upload
        except BaseException as error:
            try:
                upload.abandon()
            except AeternaError as left:  # the first failure counts; abort_stale_uploads mends it
                error.add_note(f"its parts are still in the store: {left.message}")
            raise
        upload.abandon()

    def read(self, key: str) -> bytes:
        with self.reader(key) as source:
            return source.read()

    def reader(self, key: str) -> AbstractContextManager[BinaryIO]:
        target = self._target(key)

        def fetch(start: int, etag: str | None) -> dict[str, Any]:
            if etag is None:
                answer = target.present("get_object")
                self._known_key = key
                return answer
            rest = target.call("get_object", Range=f"bytes={start}-", IfMatch=etag)
            if not str(rest.get("ContentRange", "")).startswith(f"bytes {start}-"):
                raise RemoteError(
                    "range_ignored", f"{target.where}: S3 ignored the Range asked for"
                )
            return rest

        body = S3Body(fetch, target.where, self._backoff)
        return cast(BinaryIO, io.BufferedReader(body, BUFFER))

    def info(self, key: str) -> ObjectInfo:
        target = self._target(key)
        return target.info(target.present("head_object"))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """As promised, in key order: SeaweedFS walks folders (``a/b`` before ``a-b``), so the whole
        listing is held and sorted, some 400 bytes an object."""
        found = [
            ObjectInfo(
                entry["Key"].removeprefix(self._below),
                entry["Size"],
                entry["ETag"],
                entry["LastModified"],
            )
            for page in self._pages("list_objects_v2", prefix)
            for entry in page.get("Contents", ())
        ]
        yield from sorted(found, key=lambda info: info.key)

    def list_folders(self, prefix: str) -> Iterator[str]:
        """SeaweedFS goes on naming folders whose last object was deleted, so each is looked into,
        several at once."""
        named = [
            entry["Prefix"]
            for page in self._pages("list_objects_v2", prefix, Delimiter="/")
            for entry in page.get("CommonPrefixes", ())
        ]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            inhabited = list(pool.map(self._first_below, named))
        for path, first in zip(named, inhabited, strict=True):
            if first.get("Contents"):
                yield path.removeprefix(self._below + prefix).rstrip("/")

    def delete(self, keys: Iterable[str]) -> int:
        asked, remaining = 0, iter(keys)
        while batch := [check_key(key) for key in islice(remaining, _BATCH)]:
            self._delete(batch)
            asked += len(batch)
        return asked

    def now(self) -> datetime:
        return server_time(self._ask_known(), self.description)

    def abort_stale_uploads(self, older_than: timedelta) -> int:
        border = self.now() - older_than
        stale = [
            entry
            for page in self._pages("list_multipart_uploads", "")
            for entry in page.get("Uploads", ())
            if entry["Initiated"] < border
        ]
        for entry in stale:
            key = entry["Key"].removeprefix(self._below)
            target = Target(self._client, self._bucket, entry["Key"], key, self._backoff)
            abort(target, entry["UploadId"])
        return len(stale)

    def ensure_bucket(self) -> None:
        """The bucket exists when this returns. For the lab and tests only."""
        try:
            self._ask_bucket()
        except RefusedError:
            region = self._settings.region
            where = (
                {}
                if region == "us-east-1"
                else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            )
            with faults(self.description):
                self._client.create_bucket(Bucket=self._bucket, **where)

    def close(self) -> None:
        """Give the connections back; the next call opens others."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def _client(self) -> Any:
        if self._opened is None:
            self._opened = make_client(self._settings)
        return self._opened

    def _target(self, key: str) -> Target:
        path = self._below + check_key(key)
        return Target(self._client, self._bucket, path, key, self._backoff)

    def _new(self, key: str) -> Target:
        """A target to create. SeaweedFS makes a missing bucket at the first PUT; a misspelt one
        must not become a second repository."""
        target = self._target(key)
        if not self._bucket_seen:
            retried(self._ask_bucket, self._backoff)
            self._bucket_seen = True
        return target

    def _ask_bucket(self) -> dict[str, Any]:
        """The cheapest answer about the bucket that the right to list our prefix allows."""
        return self._first_below(self._below)

    def _ask_known(self) -> dict[str, Any]:
        """HEAD of an object that was read before, where there is one.

        Everybody who may read may do that; to AWS a listing is worth twelve of it, and SeaweedFS
        lists in 60 ms and answers HEAD in 3 (measured).
        """
        if self._known_key is not None:
            try:
                return self._target(self._known_key).call("head_object")
            except RefusedError:
                self._known_key = None  # it was deleted meanwhile, or the bucket: the listing tells
        return self._ask_bucket()

    def _first_below(self, path: str) -> dict[str, Any]:
        with faults(self.description):
            answer: dict[str, Any] = self._client.list_objects_v2(
                Bucket=self._bucket, Prefix=path, MaxKeys=1
            )
        return answer

    def _pages(self, operation: str, prefix: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        paginator = self._client.get_paginator(operation)
        pages = iter(
            paginator.paginate(Bucket=self._bucket, Prefix=self._below + prefix, **arguments)
        )
        while True:
            with faults(self.description):
                page = next(pages, None)
            if page is None:
                return
            yield page

    def _delete(self, batch: Sequence[str]) -> None:
        with faults(self.description):
            answer = self._client.delete_objects(
                Bucket=self._bucket,
                Delete={"Objects": [{"Key": self._below + key} for key in batch], "Quiet": True},
            )
            for failed in answer.get("Errors", ()):
                if failed.get("Code") != "NoSuchKey":
                    raise ClientError({"Error": failed}, "DeleteObjects")
