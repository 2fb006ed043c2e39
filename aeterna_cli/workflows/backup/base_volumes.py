"""Takes what BASE_BACKUP sends and seals it: one volume per tar, and the server's manifest."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aeterna_cli.repository.pipeline import VolumeRecord
    from aeterna_cli.workflows.backup.volumes import GovernedWriter, Volumes

MANIFEST = "backup_manifest"
_BLOCK = 1 << 20  # the server sends 32 KiB at a time: too little to hash, seal and check each


class BaseBackupVolumes:
    """A ``BaseBackupSink``. ``check`` is asked for every block and raises what should end it.

    A context manager: leaving it before ``finish`` leaves no committed volume open.
    """

    def __init__(
        self,
        volumes: "Volumes",
        *,
        check: Callable[[], None],
        on_bytes: Callable[[int], None],
    ) -> None:
        self._volumes = volumes
        self._check = check
        self._on_bytes = on_bytes
        self._stack = ExitStack()
        self._writer: GovernedWriter | None = None
        self._name = ""
        self._block = memoryview(bytearray(_BLOCK))  # one for all: a new one costs page faults
        self._filled = 0
        self._done = 0
        self._records: list[VolumeRecord] = []

    def __enter__(self) -> "BaseBackupVolumes":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def archive(self, name: str) -> None:
        """A new tar stream begins; what came before is complete."""
        self._next(name)

    def data(self, block: memoryview) -> None:
        self._write(block)

    def manifest(self, block: memoryview) -> None:
        if self._name != MANIFEST:
            self._next(MANIFEST)
        self._write(block)

    def progress(self, done: int) -> None:
        """The server's own count is of no use: ours says what is sealed."""

    def finish(self) -> tuple["VolumeRecord", ...]:
        """Every volume is committed when this returns."""
        self._commit()
        return tuple(self._records)

    def _write(self, block: memoryview) -> None:
        while block:
            taken = block[: _BLOCK - self._filled]
            self._block[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            block = block[len(taken) :]
            if self._filled == _BLOCK:
                self._flush()

    def _flush(self) -> None:
        self._check()
        if self._writer is not None:
            self._writer.write(self._block[: self._filled])
        self._done += self._filled
        self._on_bytes(self._done)
        self._filled = 0

    def _next(self, name: str) -> None:
        self._commit()
        self._name = name
        volume = self._volumes.open("postgres", name, hash_plain=name == MANIFEST)
        self._writer = self._stack.enter_context(volume)

    def _commit(self) -> None:
        if self._writer is not None:
            self._flush()
            self._records.append(self._writer.commit())
            self._writer = None
            self._stack.close()
