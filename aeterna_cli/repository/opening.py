"""From stored parts back to plain bytes, and the proof that they are the ones that were sealed.

::

    store.reader -> sha256 per part -> | age process | -> zstd -> sha256 -> | read()
                    one feeder thread                     one thread ahead    caller's thread

Bytes are handed out before the whole volume is proven: nobody may act on them before the end was
reached without an error.
"""

import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO, cast

from aeterna_cli.errors import AeternaError, RefusedError, RemoteError
from aeterna_cli.repository.age_pipe import BLOCK, AgeProcess
from aeterna_cli.repository.read_ahead import ReadAhead
from aeterna_cli.repository.volume import PartRecord, VolumeRecord
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.objects import ObjectStore

_MAGIC = b"age-encryption.org/v1\n"  # source: the age v1 format, C2SP age.md
_BUFFER = 64 << 10  # small reads are gathered, large ones go past it
_LARGEST_WINDOW = 8 << 20  # bytes; zstd level 1-3 needs 2 MiB: a foreign frame gets no more
DAMAGE = frozenset({"object_missing", "part_truncated", "part_damaged"})


@contextmanager
def open_volume(store: ObjectStore, record: VolumeRecord, identity: str) -> Iterator[BinaryIO]:
    """The plain bytes of a volume as a stream of bounded memory.

    Leaving the block without an error reads and checks what was not read, so afterwards the whole
    volume is proven: every part, the plain size and hash. ``RemoteError``: ``object_missing``,
    ``part_truncated``, ``part_damaged`` (``details.key`` is the part), ``volume_damaged``
    (``details.key`` is the first part). ``RefusedError('identity_refused')`` where the parts are
    as recorded and ``identity`` does not open them. ``FailedError('age_process_died')``.
    """
    with ExitStack() as stack:
        reader = _VolumeReader(store, record, identity, stack)
        ahead = stack.enter_context(ReadAhead(reader, reader.abandon))
        yield cast(BinaryIO, stack.enter_context(io.BufferedReader(ahead, _BUFFER)))
        ahead.drain()


def verify_parts(store: ObjectStore, record: VolumeRecord) -> Iterator[Finding]:
    """What is wrong with the stored bytes; no key is needed. Nothing for a volume that is whole."""
    for part in record.parts:
        try:
            for _block in _checked_blocks(store, part):
                pass
        except RemoteError as error:
            if error.code not in DAMAGE:
                raise
            yield Finding(error.code, "error", part.key, error.message, error.hint, error.details)


def _checked_blocks(store: ObjectStore, part: PartRecord) -> Iterator[bytes]:
    """The stored bytes of a part; raises at its end where they are not the recorded ones."""
    digest, size = hashlib.sha256(), 0
    try:
        with store.reader(part.key) as source:
            while block := source.read(BLOCK):
                size += len(block)
                if size > part.size:
                    break
                digest.update(block)
                yield block
    except RefusedError as error:
        if error.code != "object_missing":
            raise
        raise _damage("object_missing", part, "is missing from the repository") from error
    if size < part.size:
        raise _damage("part_truncated", part, f"has {size} bytes, not {part.size}")
    if size > part.size or digest.hexdigest() != part.sha256:
        raise _damage("part_damaged", part, "does not hold the bytes that were stored")


def _damage(code: str, part: PartRecord, what: str) -> RemoteError:
    return RemoteError(
        code,
        f"{part.key} {what}",
        hint="restore this object from a copy of the repository, or use another backup",
        next_steps=["aeterna-cli backup list  # choose another backup"],
        details={"key": part.key},
    )


class _VolumeReader(io.RawIOBase):
    def __init__(
        self, store: ObjectStore, record: VolumeRecord, identity: str, stack: ExitStack
    ) -> None:
        super().__init__()
        import zstandard

        self._store = store
        self._record = record
        self._damaged_stream = zstandard.ZstdError
        self._digest = hashlib.sha256() if record.plain_sha256 else None
        self._size = 0
        self._foreign = False  # the stored bytes do not even begin as age does
        self._leaving = False
        self._finished = False
        self._failure: AeternaError | None = None
        self._age = AgeProcess.decrypting(identity)
        stack.callback(self._age.stop)
        feeder = stack.enter_context(ThreadPoolExecutor(1, "opened-volume"))
        stack.callback(self.abandon)
        self._plain: zstandard.ZstdDecompressionReader = zstandard.ZstdDecompressor(
            max_window_size=_LARGEST_WINDOW
        ).stream_reader(cast(BinaryIO, self._age.output), read_size=BLOCK, closefd=False)
        self._feeding: Future[None] = feeder.submit(self._feed)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        """As ``io.RawIOBase``; once it failed it fails for ever, so that nobody can read past."""
        if self._failure is not None:
            raise self._failure
        if self._finished:
            return 0
        try:
            return self._some(memoryview(buffer).cast("B"))
        except AeternaError as error:
            self._failure = error
            raise

    def _some(self, view: memoryview) -> int:
        try:
            count: int = self._plain.readinto(view)
        except self._damaged_stream:
            raise self._volume_damaged("is not the zstd stream that was sealed") from None
        if self._digest is not None:
            self._digest.update(view[:count])
        self._size += count
        if self._size > self._record.plain_bytes:
            raise self._volume_damaged(f"holds more than its {self._record.plain_bytes} bytes")
        if count == 0:
            self._finish()
            self._check_plain()
            self._finished = True
        return count

    def _finish(self) -> None:
        """Ask the feeder and the child how it went: they know the cause, we the symptom."""
        self._feeding.result()
        if not self._age.refused():
            return
        if self._foreign or self._size:
            raise self._volume_damaged("is not the age stream that was sealed")
        raise RefusedError(
            "identity_refused",
            f"this identity does not open {self._record.parts[0].key}",
            hint="the stored bytes are as recorded; they were sealed for another identity",
            details={"key": self._record.parts[0].key},
        )

    def _check_plain(self) -> None:
        if self._size != self._record.plain_bytes:
            raise self._volume_damaged(f"holds {self._size} bytes, not {self._record.plain_bytes}")
        if self._digest is not None and self._digest.hexdigest() != self._record.plain_sha256:
            raise self._volume_damaged("does not hold the bytes that were sealed")

    def _volume_damaged(self, what: str) -> RemoteError:
        return RemoteError(
            "volume_damaged",
            f"the volume {self._record.name} {what}",
            hint="its parts do not belong together, or the record of it is not its own",
            next_steps=["aeterna-cli backup list  # choose another backup"],
            details={"key": self._record.parts[0].key},
        )

    def abandon(self) -> None:
        """Whoever waits in ``readinto`` gets an end or an error; may be repeated."""
        self._leaving = True
        self._age.kill()

    def _feed(self) -> None:
        """Parts to the child, each checked. A child that stopped listening ends it, after the
        part at hand was checked to its end: whether that one is damaged is the question then."""
        listening = True
        try:
            for part in self._record.parts:
                begun = False
                for block in _checked_blocks(self._store, part):
                    if not begun and part is self._record.parts[0]:
                        self._foreign = not block.startswith(_MAGIC[: len(block)])
                    begun = True
                    listening = listening and self._age.give(block)
                    if self._leaving:
                        return
                if not listening:
                    return
        finally:
            self._age.end_input()
