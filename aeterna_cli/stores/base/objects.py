"""Objects: the backup repository lies in one of these."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO, Protocol


@dataclass(frozen=True)
class ObjectInfo:
    """One stored object. ``modified`` is on the store's own clock, with an offset."""

    key: str
    size: int
    etag: str
    modified: datetime


class ObjectWriter(Protocol):
    """A streamed object that exists only after ``commit``; leaving without it leaves nothing.

    A ``write`` takes all of ``data``. ``commit`` is called once, after the last ``write``;
    ``ConflictError('object_exists')`` when somebody else took the key meanwhile.
    """

    def write(self, data: bytes | memoryview, /) -> int: ...
    def commit(self) -> ObjectInfo: ...


class ObjectStore(Protocol):
    """A folder of objects: a bucket and prefix, or a directory.

    ``key`` is a relative path of ``[A-Za-z0-9._=-]`` parts joined by ``/``; anything else is a
    programming error (``ValueError``). No key is also a folder of another. Writes are durable when
    they return; whether one happened that ended in a ``TransientError`` is unknown: look before you
    write again.
    """

    @property
    def description(self) -> str:
        """Where this is, for people, without secrets: ``s3://bucket/prefix`` or ``/path``."""

    def create(self, key: str, data: bytes) -> ObjectInfo:
        """Store a new object; ``ConflictError('object_exists')`` when the key is taken."""

    def replace(self, key: str, data: bytes, *, etag: str) -> ObjectInfo:
        """Overwrite only the version ``etag``; ``ConflictError('object_changed')`` otherwise."""

    def writer(self, key: str) -> AbstractContextManager[ObjectWriter]:
        """Stream a new object of unknown size with bounded memory; create-only at commit."""

    def read(self, key: str) -> bytes:
        """A small object whole; ``RefusedError('object_missing')`` when there is none."""

    def reader(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Stream an object. A body that ends early raises ``TransientError('body_truncated')``."""

    def info(self, key: str) -> ObjectInfo:
        """Size, etag and time; ``RefusedError('object_missing')`` when there is none."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key starts with ``prefix``, in key order."""

    def list_folders(self, prefix: str) -> Iterator[str]:
        """The distinct next path parts below ``prefix`` (which ends with ``/`` or is empty)."""

    def delete(self, keys: Iterable[str]) -> int:
        """Remove objects; a missing one is no error. Returns how many keys were asked for."""

    def now(self) -> datetime:
        """The store's clock, never this machine's."""

    def abort_stale_uploads(self, older_than: timedelta) -> int:
        """Drop what writers left that began more than ``older_than`` ago; how many there were."""
