"""From plain bytes to stored parts: SHA-256, zstd, age, parts of at most 1 GiB, SHA-256 again.

::

    write() -> sha256 -> zstd (worker threads) -> | age process | -> parts -> store.writer(key)
               caller's thread                                       one uploader thread

A part is stored when it is full; the last one only after the age process said that it did
everything. Memory: the compressor's window and a few blocks of 1 MiB, whatever the size.
Reading back is ``opening``; small pieces are sealed by ``blobs``.
"""

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from aeterna_cli.errors import AeternaError, ConflictError, FailedError
from aeterna_cli.repository import layout
from aeterna_cli.repository.age_pipe import BLOCK, AgeProcess
from aeterna_cli.repository.blobs import seal, unseal
from aeterna_cli.repository.opening import open_volume, verify_parts
from aeterna_cli.repository.recipients import parse_recipients
from aeterna_cli.repository.volume import PartRecord, VolumeRecord, media_of
from aeterna_cli.stores.base.objects import ObjectStore, ObjectWriter

if TYPE_CHECKING:
    import zstandard

__all__ = ["SealedWriter", "VolumeRecord", "open_volume", "seal", "unseal", "verify_parts"]

# Worker threads beside the caller's: with 2 on two cores a volume took 0.6 times as long as with 0.
COMPRESSION_THREADS = 2
_JOB = 4 << 20  # bytes a worker takes at once; with 512 KiB the same took 1.6 times as long


class SealedWriter:
    """Seals one volume for ``recipients`` below ``key_prefix``. A context manager, used once.

    ``key_prefix`` is ``layout.volume_prefix(...)``; its last part names the volume. Without a
    successful ``commit`` no part is left when the block is left; where a part cannot be removed,
    the error that ended the volume says so (``add_note``), or ``FailedError('parts_left')`` is
    raised. A fault of the store is raised by the next ``write`` or ``commit`` as it is;
    ``FailedError('age_process_died')`` when the encryption ended early.

    Without ``hash_plain`` the plain bytes have no SHA-256. Against accidents the zstd frame carries
    a checksum of them (XXH64) that every decompressor checks, and against people every part has its
    SHA-256 under the manifest's signature; for gigabytes the third hash is an eighth of the work.
    """

    def __init__(
        self,
        store: ObjectStore,
        key_prefix: str,
        recipients: Sequence[str],
        part_bytes_limit: int,
        level: int = 1,
        *,
        hash_plain: bool = True,
    ) -> None:
        parse_recipients(recipients)
        if part_bytes_limit < 1:
            raise ValueError("a part holds at least one byte")
        if layout.split_part_key(layout.part_key(key_prefix, 0)) is None:
            raise ValueError(f"not a prefix for objects: {key_prefix!r}")
        self._recipients = tuple(recipients)
        self._level = level
        self._name = key_prefix.rpartition("/")[2]
        self._parts = _Parts(store, key_prefix, part_bytes_limit)
        self._plain_hash = hashlib.sha256() if hash_plain else None
        self._plain_bytes = 0
        self._stack = ExitStack()
        self._committed = False
        self._age: AgeProcess
        self._compressor: zstandard.ZstdCompressionObj
        self._upload: Future[None]

    def __enter__(self) -> "SealedWriter":
        import zstandard

        parameters = zstandard.ZstdCompressionParameters.from_level(
            self._level, threads=COMPRESSION_THREADS, job_size=_JOB, write_checksum=True
        )
        self._compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        with ExitStack() as starting:
            # Left in the order from below: the child dies, so the uploader comes to an end of its
            # input; then nobody uses the pipes and the unfinished part any more.
            starting.callback(self._parts.abandon)
            self._age = AgeProcess.encrypting(self._recipients)
            starting.callback(self._age.stop)
            uploader = starting.enter_context(ThreadPoolExecutor(1, "sealed-volume"))
            starting.callback(self._age.kill)
            self._upload = uploader.submit(self._run_upload)
            self._stack = starting.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        if not self._committed:
            self._parts.remove(error)

    def write(self, data: bytes | memoryview, /) -> None:
        """All of ``data`` is on its way when this returns."""
        if self._plain_hash is not None:
            self._plain_hash.update(data)
        self._plain_bytes += len(data)
        self._feed(self._compressor.compress(data))

    def commit(self) -> VolumeRecord:
        """The whole volume is stored, durable, when this returns. Called once, after all writes."""
        self._feed(self._compressor.flush())
        self._age.end_input()
        self._upload.result()
        if self._age.refused():
            raise _refused_to_encrypt()
        self._parts.finish()
        record = VolumeRecord(
            name=self._name,
            media=media_of(self._name),
            parts=tuple(self._parts.records),
            plain_bytes=self._plain_bytes,
            plain_sha256=self._plain_hash.hexdigest() if self._plain_hash else None,
            stored_bytes=sum(part.size for part in self._parts.records),
        )
        self._committed = True
        return record

    def _feed(self, block: bytes) -> None:
        if block and not self._age.give(block):
            self._upload.result()  # raises what ended the upload, and with it the age process
            self._age.refused()  # raises where the process died
            raise _refused_to_encrypt()

    def _run_upload(self) -> None:
        block = memoryview(bytearray(BLOCK))  # one for all: a new one costs page faults
        try:
            while count := self._age.output.readinto(block):
                self._parts.write(block[:count])
        except BaseException:
            self._age.kill()  # else it would wait for us, and the caller for it
            raise


class _Parts:
    """Cuts a stream into objects of at most ``limit`` bytes."""

    def __init__(self, store: ObjectStore, prefix: str, limit: int) -> None:
        self._store = store
        self._prefix = prefix
        self._limit = limit
        self._stack = ExitStack()
        self._target: ObjectWriter | None = None
        self._hash = hashlib.sha256()
        self._size = 0
        self._doubtful: list[str] = []  # keys that may exist although no record says so
        self.records: list[PartRecord] = []

    def write(self, rest: memoryview) -> None:
        while rest:
            if self._size == self._limit:
                self.finish()
            target = self._target or self._begin()
            taken, rest = rest[: self._limit - self._size], rest[self._limit - self._size :]
            target.write(taken)
            self._hash.update(taken)
            self._size += len(taken)

    def finish(self) -> None:
        """The part that is being written is stored when this returns."""
        key = layout.part_key(self._prefix, len(self.records))
        target = self._target or self._begin()
        try:
            target.commit()
        except ConflictError:
            raise  # somebody else's object: never ours to remove
        except AeternaError:
            self._doubtful.append(key)
            raise
        self.records.append(PartRecord(key=key, size=self._size, sha256=self._hash.hexdigest()))
        self.abandon()

    def abandon(self) -> None:
        """What was not finished leaves nothing behind."""
        self._target = None
        self._size = 0
        self._hash = hashlib.sha256()
        self._stack.close()

    def remove(self, cause: BaseException | None) -> None:
        """Delete what was stored; where that fails, ``cause`` says so, or an error is raised."""
        keys = [*(part.key for part in self.records), *self._doubtful]
        if not keys:
            return
        try:
            self._store.delete(keys)
        except AeternaError as error:
            left = f"parts of an unfinished volume may be left below {self._prefix}"
            if cause is None:
                raise FailedError("parts_left", left, hint=error.message) from error
            cause.add_note(f"{left}: {error.message}")

    def _begin(self) -> ObjectWriter:
        key = layout.part_key(self._prefix, len(self.records))
        self._target = self._stack.enter_context(self._store.writer(key))
        return self._target


def _refused_to_encrypt() -> FailedError:
    return FailedError("encryption_failed", "age could not encrypt the volume")
