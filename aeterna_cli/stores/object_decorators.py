"""What can be put around any object store: patience, and the promise not to write."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import BinaryIO, Never, TypeVar

from aeterna_cli.errors import RefusedError
from aeterna_cli.stores.backoff import Backoff, retried
from aeterna_cli.stores.base.objects import ObjectInfo, ObjectStore, ObjectWriter

T = TypeVar("T")


class Retrying:
    """Repeats what may be repeated after a ``TransientError``: reading, listing, deleting.

    ``create``, ``replace`` and ``writer`` go through as they are: sent again from here, a write
    whose answer was lost would look like a lost race. The stores repeat those themselves. A
    listing is held in memory, since it may have to begin anew.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
    ) -> None:
        self._store, self._backoff = store, backoff

    @property
    def description(self) -> str:
        return self._store.description

    def close(self) -> None:
        """Close the store behind, where it holds connections."""
        close = getattr(self._store, "close", None)
        if close is not None:
            close()

    def create(self, key: str, data: bytes) -> ObjectInfo:
        return self._store.create(key, data)

    def replace(self, key: str, data: bytes, *, etag: str) -> ObjectInfo:
        return self._store.replace(key, data, etag=etag)

    def writer(self, key: str) -> AbstractContextManager[ObjectWriter]:
        return self._store.writer(key)

    def read(self, key: str) -> bytes:
        return self._again(lambda: self._store.read(key))

    def reader(self, key: str) -> AbstractContextManager[BinaryIO]:
        return self._again(lambda: self._store.reader(key))

    def info(self, key: str) -> ObjectInfo:
        return self._again(lambda: self._store.info(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        yield from self._again(lambda: tuple(self._store.list(prefix)))

    def list_folders(self, prefix: str) -> Iterator[str]:
        yield from self._again(lambda: tuple(self._store.list_folders(prefix)))

    def delete(self, keys: Iterable[str]) -> int:
        wanted = tuple(keys)
        return self._again(lambda: self._store.delete(wanted))

    def now(self) -> datetime:
        return self._again(self._store.now)

    def abort_stale_uploads(self, older_than: timedelta) -> int:
        return self._again(lambda: self._store.abort_stale_uploads(older_than))

    def _again(self, call: Callable[[], T]) -> T:
        return retried(call, self._backoff)


class DryRun:
    """Reads as the store does; every write raises ``RefusedError('dry_run')``."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @property
    def description(self) -> str:
        return self._store.description

    def create(self, key: str, data: bytes) -> ObjectInfo:
        self._refuse(f"create {key}")

    def replace(self, key: str, data: bytes, *, etag: str) -> ObjectInfo:
        self._refuse(f"replace {key}")

    def writer(self, key: str) -> AbstractContextManager[ObjectWriter]:
        self._refuse(f"write {key}")

    def read(self, key: str) -> bytes:
        return self._store.read(key)

    def reader(self, key: str) -> AbstractContextManager[BinaryIO]:
        return self._store.reader(key)

    def info(self, key: str) -> ObjectInfo:
        return self._store.info(key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._store.list(prefix)

    def list_folders(self, prefix: str) -> Iterator[str]:
        return self._store.list_folders(prefix)

    def delete(self, keys: Iterable[str]) -> int:
        self._refuse("delete objects")

    def now(self) -> datetime:
        return self._store.now()

    def abort_stale_uploads(self, older_than: timedelta) -> int:
        self._refuse("abort uploads")

    def _refuse(self, what: str) -> Never:
        raise RefusedError(
            "dry_run",
            f"a dry run does not {what} in {self.description}",
            hint="leave --dry-run out",
        )
