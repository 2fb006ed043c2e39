"""A folder of our own for one command's unfinished files; gone when the command ends."""

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aeterna_cli.errors import AeternaError, FailedError, RefusedError
from aeterna_cli.output.tables import human_bytes


@contextmanager
def workspace(parent: Path, purpose: str) -> Iterator[Path]:
    """A fresh private folder below ``parent``; removed afterwards, whatever happened.

    Faults of the local disk inside the block become typed errors.
    """
    with local_faults(parent):
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{purpose}-", dir=parent))
    try:
        with local_faults(parent):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def local_faults(where: Path) -> Iterator[None]:
    """``OSError`` of local files as ``FailedError('local_disk_full' | 'local_disk')``."""
    try:
        yield
    except AeternaError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise FailedError(
                "local_disk_full",
                f"no space left below {where}",
                hint="unfinished files are kept there while a command works; free space",
            ) from error
        path = error.filename or where
        raise FailedError("local_disk", f"{path}: {error.strerror or error}") from error


def want_space(where: Path, needed: int, purpose: str) -> None:
    """``RefusedError('not_enough_space')`` where fewer than ``needed`` bytes are free."""
    existing = where
    while not existing.exists():
        existing = existing.parent
    with local_faults(where):
        free = shutil.disk_usage(existing).free
    if free < needed:
        raise RefusedError(
            "not_enough_space",
            f"{purpose} needs {human_bytes(needed)} below {where}, {human_bytes(free)} are free",
            hint="free space there, or choose another folder",
            details={"needed": needed, "free": free},
        )
