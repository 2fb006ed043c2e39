"""A repository in a directory: a local disk, or a mounted file system with locks and hard links."""

import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from aeterna_cli.errors import AeternaError, ConflictError, RefusedError, RemoteError
from aeterna_cli.stores.base.objects import ObjectInfo, ObjectWriter

_KEY_PART = re.compile(r"(?!\.)[A-Za-z0-9._=-]{1,255}\Z")
_STAGING = ".staging"
_BUFFER = 1 << 20
_SOON = 32 << 20  # bytes between two hints to the system that it may write them


def check_key(key: str) -> str:
    """``key`` itself when every part is of the allowed alphabet; ``ValueError`` otherwise."""
    if not all(_KEY_PART.match(part) for part in key.split("/")):
        raise ValueError(f"not an object key: {key!r}")
    return key


class DirectoryStore:
    """An ``ObjectStore`` below one directory.

    Objects are written beside and linked into place after fsync, so a reader never sees a part of
    one and a crash leaves at most a file in ``.staging``. ``replace`` compares under a lock file.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def description(self) -> str:
        return str(self._root)

    def ensure(self) -> None:
        """The directory exists, readable for its owner only where it had to be made."""
        with self._faults(""):
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def create(self, key: str, data: bytes) -> ObjectInfo:
        with self.writer(key) as target:
            target.write(data)
            return target.commit()

    def replace(self, key: str, data: bytes, *, etag: str) -> ObjectInfo:
        path = self._path(key)
        with self._faults(key), self._locked(), self._staged() as (staged, handle):
            if self.info(key).etag != etag:
                raise ConflictError("object_changed", f"{key} was changed by somebody else")
            handle.write(data)
            _sync(handle)
            staged.replace(path)
            _sync_directory(path.parent)
            return self.info(key)

    @contextmanager
    def writer(self, key: str) -> Iterator[ObjectWriter]:
        path = self._path(key)
        with self._faults(key), self._staged() as (staged, handle):
            yield _StagedObject(self, key, path, staged, handle)

    def read(self, key: str) -> bytes:
        with self.reader(key) as source:
            return source.read()

    def reader(self, key: str) -> AbstractContextManager[BinaryIO]:
        path = self._path(key)
        with self._faults(key):
            return open(
                path,
                "rb",
                buffering=_BUFFER,
                opener=lambda name, flags: os.open(name, flags | os.O_NOFOLLOW),
            )

    def info(self, key: str) -> ObjectInfo:
        with self._faults(key):
            return _info(key, self._path(key).lstat())

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folder = prefix.rpartition("/")[0]
        with self._faults(prefix):
            for key, status in self._walk(folder):
                if key.startswith(prefix):
                    yield _info(key, status)

    def list_folders(self, prefix: str) -> Iterator[str]:
        with self._faults(prefix):
            self._present()
            for entry in _entries(self._root / prefix):
                inside = f"{prefix}{entry.name}"
                if entry.is_dir(follow_symlinks=False) and any(True for _ in self._walk(inside)):
                    yield entry.name

    def delete(self, keys: Iterable[str]) -> int:
        asked = 0
        for key in keys:
            asked += 1
            path = self._path(key)
            with self._faults(key):
                self._present()
                path.unlink(missing_ok=True)
                self._drop_empty(path.parent)
        return asked

    def now(self) -> datetime:
        with self._faults(""), self._staged() as (staged, _handle):
            return _time(staged.stat())

    def abort_stale_uploads(self, older_than: timedelta) -> int:
        """Remove what writers left that died more than ``older_than`` ago; how many."""
        border = self.now() - older_than
        removed = 0
        with self._faults(""):
            for entry in _entries(self._root / _STAGING):
                with suppress(FileNotFoundError):
                    if _time(entry.stat(follow_symlinks=False)) < border:
                        Path(entry.path).unlink()
                        removed += 1
        return removed

    def free_bytes(self) -> int:
        """What still fits on this file system."""
        with self._faults(""):
            return shutil.disk_usage(self._root).free

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _present(self) -> None:
        if not self._root.is_dir():
            raise RefusedError(
                "repository_directory_missing",
                f"the repository directory {self._root} does not exist",
                hint="mount it, or make a new repository there",
                next_steps=["aeterna-cli repository init"],
            )

    @contextmanager
    def _staged(self) -> Iterator[tuple[Path, BinaryIO]]:
        self._present()
        staging = self._root / _STAGING
        staging.mkdir(mode=0o700, exist_ok=True)
        number, name = tempfile.mkstemp(dir=staging)
        try:
            with os.fdopen(number, "wb", buffering=_BUFFER) as handle:
                yield Path(name), handle
        finally:
            Path(name).unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._present()
        with (self._root / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _walk(self, folder: str) -> Iterator[tuple[str, os.stat_result]]:
        """Every object below ``folder`` in the order of its whole key."""
        self._present()
        for entry in _entries(self._root / folder):
            key = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(key)
            else:
                with suppress(FileNotFoundError):
                    yield key, entry.stat(follow_symlinks=False)

    def _drop_empty(self, folder: Path) -> None:
        while folder != self._root:
            try:
                folder.rmdir()
            except OSError:
                return  # not empty, or gone already: both are as it should be
            folder = folder.parent

    @contextmanager
    def _faults(self, key: str) -> Iterator[None]:
        try:
            yield
        except AeternaError:
            raise
        except OSError as error:
            raise _typed(error, self._root, key) from error


class _StagedObject:
    def __init__(
        self, store: DirectoryStore, key: str, path: Path, staged: Path, handle: BinaryIO
    ) -> None:
        self._store, self._key, self._path = store, key, path
        self._staged, self._handle = staged, handle
        self._written = 0

    def write(self, data: bytes | memoryview, /) -> int:
        """Long objects go to the disk while they are written, and not at once when they end."""
        written = self._handle.write(data)
        before, self._written = self._written // _SOON, self._written + written
        if self._written // _SOON > before:
            os.posix_fadvise(self._handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return written

    def commit(self) -> ObjectInfo:
        _sync(self._handle)
        self._link()
        return self._store.info(self._key)

    def _link(self) -> None:
        for _attempt in range(16):  # a concurrent delete may drop the empty folder just made
            _make_folders(self._path.parent)
            try:
                os.link(self._staged, self._path)
            except FileNotFoundError:
                continue
            except FileExistsError as error:
                raise ConflictError("object_exists", f"{self._key} exists already") from error
            _sync_directory(self._path.parent)
            return
        raise RemoteError(
            "folder_vanishes", f"the folder of {self._key} is deleted again and again"
        )


def _make_folders(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    _sync_directory(folder.parent)


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    """Entries without our own dot files, ordered as the keys of the objects in them."""
    try:
        with os.scandir(folder) as found:
            visible = [entry for entry in found if entry.name[0] != "." or folder.name == _STAGING]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(visible, key=lambda entry: entry.name + "/" * entry.is_dir(follow_symlinks=False))


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    etag = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
    return ObjectInfo(key=key, size=status.st_size, etag=etag, modified=_time(status))


def _time(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime_ns / 1e9, UTC)


def _sync(handle: BinaryIO) -> None:
    handle.flush()
    os.fsync(handle.fileno())


def _sync_directory(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _typed(error: OSError, root: Path, key: str) -> AeternaError:
    where = str(root / key) if key else str(root)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
        return RefusedError("object_missing", f"there is no object {where}")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return RemoteError(
            "disk_full",
            f"no space left for {where}",
            hint="nothing incomplete was listed",
            next_steps=["aeterna-cli backup prune --dry-run", "or free space there"],
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return RefusedError(
            "repository_not_writable",
            f"no permission for {where}: {os.strerror(error.errno)}",
            hint="check the owner, the mode and the mount options of the repository directory",
        )
    return RemoteError("repository_io", f"{where}: {error.strerror or error}")
