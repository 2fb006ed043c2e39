"""Streaming a new object of unknown size to S3 with bounded memory."""

import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any

from aeterna_cli.errors import AeternaError, RefusedError, RemoteError
from aeterna_cli.stores.backoff import retried
from aeterna_cli.stores.base.objects import ObjectInfo
from aeterna_cli.stores.s3_put import TOKEN, Target, crc32, exists, md5, new_token, put, settled

_UNKNOWN_HEADER = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest"})
THREADS = 3  # parts on their way at once; memory is (THREADS + 1) * part_bytes


class S3Upload:
    """An ``ObjectWriter``: one PUT for what fits into a part, a multipart upload beyond.

    The parts travel in threads, each retried on its own, under a checksum that the server refuses
    them by if they were damaged: CRC32 where the server says that it keeps one, Content-MD5 where
    it does not. ``abandon`` must follow whatever happened; after a commit it has nothing to do.
    """

    def __init__(self, target: Target, part_bytes: int) -> None:
        self._target, self._part_bytes = target, part_bytes
        self._token = new_token()
        self._buffer = bytearray()
        self._size = 0
        self._upload: str | None = None
        self._crc32 = False  # whether the server said that it checks the parts by it
        self._parts: list[Future[dict[str, Any]]] = []
        self._stopping = threading.Event()
        self._pool: ThreadPoolExecutor | None = None

    def write(self, data: bytes | memoryview, /) -> int:
        view = memoryview(data).cast("B")
        self._size += len(view)
        while view:
            # A full buffer waits for one more byte: what fits into one part goes as one PUT.
            if len(self._buffer) == self._part_bytes:
                self._send(self._buffer)
                self._buffer = bytearray()
            taken = view[: self._part_bytes - len(self._buffer)]
            self._buffer += taken
            view = view[len(taken) :]
        return memoryview(data).nbytes

    def commit(self) -> ObjectInfo:
        if self._upload is None:
            return put(self._target, self._buffer, IfNoneMatch="*")
        self._send(self._buffer)
        self._buffer = bytearray()
        parts = [part.result() for part in self._parts]
        self._refuse_taken()
        done = settled(self._target, self._token, lambda: self._complete(parts))
        self._upload = None
        if done.size != self._size:
            raise RemoteError(
                "upload_size_wrong",
                f"{self._target.where} has {done.size} bytes, but {self._size} were sent",
                hint="the server put the parts together wrongly; the object must not be used",
            )
        return done

    def abandon(self) -> None:
        """No part is left behind when this returns, and no thread of ours."""
        self._stopping.set()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        if self._upload is not None:
            upload, self._upload = self._upload, None
            abort(self._target, upload)

    def _send(self, data: bytearray) -> None:
        if self._upload is None:
            self._upload = self._begin()
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="s3-part")
        assert self._pool is not None  # noqa: S101 - made together with the upload
        on_their_way = [part for part in self._parts if not part.done()]
        if len(on_their_way) >= THREADS:
            wait(on_their_way, return_when=FIRST_COMPLETED)
        for part in self._parts:
            if part.done():
                part.result()  # a part that failed for good ends the write here
        self._parts.append(self._pool.submit(self._send_part, len(self._parts) + 1, data))

    def _begin(self) -> str:
        """Ask for parts checked by CRC32 (CreateMultipartUpload, "ChecksumAlgorithm").

        A server that does not know it passes over the header, or refuses the request.
        """
        begin = partial(self._target.call, "create_multipart_upload", Metadata={TOKEN: self._token})
        try:
            answer = retried(lambda: begin(ChecksumAlgorithm="CRC32"), self._target.backoff)
        except RemoteError as error:
            if error.details.get("code") not in _UNKNOWN_HEADER:
                raise
            answer = retried(begin, self._target.backoff)
        self._crc32 = answer.get("ChecksumAlgorithm") == "CRC32"
        return str(answer["UploadId"])

    def _send_part(self, number: int, data: bytearray) -> dict[str, Any]:
        kept = {"ChecksumCRC32": crc32(data)} if self._crc32 else {}  # named at the end once more
        sent = kept or {"ContentMD5": md5(data)}
        answer = retried(
            lambda: self._target.call(
                "upload_part", UploadId=self._upload, PartNumber=number, Body=data, **sent
            ),
            self._target.backoff,
            stopping=self._stopping,
        )
        return {"PartNumber": number, "ETag": answer["ETag"], **kept}

    def _refuse_taken(self) -> None:
        """For servers that do not honour the condition when the parts are put together."""
        try:
            retried(lambda: self._target.present("head_object"), self._target.backoff)
        except RefusedError:
            return
        raise exists(self._target)

    def _complete(self, parts: list[dict[str, Any]]) -> ObjectInfo:
        arguments = {"UploadId": self._upload, "MultipartUpload": {"Parts": parts}}
        try:
            self._target.call("complete_multipart_upload", IfNoneMatch="*", **arguments)
        except AeternaError as error:
            if error.code == "object_changed":
                raise exists(self._target) from error
            if error.code != "s3_not_implemented":
                raise
            self._target.call("complete_multipart_upload", **arguments)
        return self._target.info(self._target.call("head_object"))


def abort(target: Target, upload: str) -> None:
    """Drop an upload and its parts; no error where it is gone already."""
    try:
        retried(lambda: target.call("abort_multipart_upload", UploadId=upload), target.backoff)
    except AeternaError as error:
        if error.details.get("code") != "NoSuchUpload":
            raise
