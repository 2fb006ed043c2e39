"""Small files that survive a power cut: written beside, synced, renamed, folder synced."""

import contextlib
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

from aeterna_cli.lab.qdrant import wire


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_document(path: Path, document: Any) -> None:
    """Afterwards the file has either its old or its new content, whatever happens."""
    beside = path.with_name(f".{path.name}.new")
    with beside.open("wb") as file:
        file.write(wire.dumps(document))
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def read_document(path: Path) -> Any:
    return wire.loads(path.read_bytes())


def remove_folder(folder: Path, temporary: Path) -> None:
    """The folder is gone at once and for good; its content follows."""
    if not folder.exists():
        return
    grave = temporary / f"removed-{uuid.uuid4()}"
    folder.replace(grave)
    sync_folder(folder.parent)
    shutil.rmtree(grave)


def remove_file(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
