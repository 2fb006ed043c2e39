"""What the lab knows about itself: ``lab.json``, written whole or not at all, and its lock."""

import fcntl
import json
import os
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aeterna_cli.errors import ConflictError, FailedError, RefusedError
from aeterna_cli.lab.names import Topology
from aeterna_cli.lab.processes import ProcessIdentity

FORMAT = 1
FILE = "lab.json"
LOCK = "lock"
SOCKET_PATH_LIMIT = 107  # bytes, sun_path of unix(7) without its final zero
LONGEST_SOCKET = ".s.PGSQL.65535.lock"
# What other code keeps in a lab's folder; it may be there before the lab is.
NEIGHBOURS = frozenset({"state", "cache", LOCK})


@dataclass
class LabState:
    """The content of ``lab.json``. Changed only through ``StateFile``."""

    id: str
    sockets: str
    parts: list[str] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    processes: dict[str, ProcessIdentity] = field(default_factory=dict)
    ready: list[str] = field(default_factory=list)  # parts whose first start was completed
    shared_memory: list[str] = field(default_factory=list)
    topology: Topology = "single"


class StateFile:
    """The lab's memory on disk; threads of one ``up`` may record at the same time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.path = directory / FILE
        self._mutex = threading.Lock()

    def read(self) -> LabState | None:
        """The state, or None where there is no lab; ``FailedError`` for a damaged file."""
        try:
            tree = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _damaged(self.path) from error
        return _from_tree(tree, self.path)

    def refuse_strangers(self) -> None:
        """``RefusedError('not_a_lab_folder')`` where the folder holds something, but no lab."""
        if self.path.exists() or not self.directory.exists():
            return
        strangers = {entry.name for entry in self.directory.iterdir()} - NEIGHBOURS
        if strangers:
            raise RefusedError(
                "not_a_lab_folder",
                f"{self.directory} is not empty and holds no lab",
                hint=f"it holds {', '.join(sorted(strangers)[:3])}",
                next_steps=["choose another folder for the lab"],
            )

    def create(self, topology: Topology = "single") -> LabState:
        """A new lab; its folder is ours alone (mode 0700) from now on."""
        self.directory.chmod(0o700)
        identity = secrets.token_hex(8)
        sockets = str(socket_folder(self.directory, identity))
        state = LabState(id=identity, sockets=sockets, topology=topology)
        self.write(state)
        return state

    def write(self, state: LabState) -> None:
        """Durable when it returns: a crash leaves the old file or the new one."""
        with self._mutex:
            write_file(self.path, json.dumps({"format": FORMAT, **asdict(state)}, indent=2) + "\n")

    @contextmanager
    def locked(self, seconds: float = 120.0) -> Iterator[None]:
        """Alone with this lab; ``ConflictError('lab_locked')`` when somebody else does not end."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _take(descriptor, self.directory, seconds)
            yield
        finally:
            os.close(descriptor)


def _take(descriptor: int, directory: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise ConflictError(
                    "lab_locked",
                    f"another command is changing the lab in {directory}",
                    hint="it has not ended in time; is a lab command still running?",
                    next_steps=["aeterna-cli lab status"],
                ) from error
            time.sleep(0.05)


def _from_tree(tree: Any, path: Path) -> LabState:
    try:
        if tree.pop("format") != FORMAT:
            raise RefusedError(
                "lab_format_unknown",
                f"{path} was written by another version of this tool",
                next_steps=["use that version, or start a lab in another folder"],
            )
        tree["processes"] = {
            part: ProcessIdentity(**process) for part, process in tree["processes"].items()
        }
        return LabState(**tree)
    except (AttributeError, KeyError, TypeError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> FailedError:
    return FailedError(
        "lab_state_damaged",
        f"{path} cannot be read",
        hint="it is written whole or not at all, so something else changed it",
        next_steps=[
            "put the file back, or end the processes that work below the folder, remove it"
        ],
    )


def write_file(path: Path, text: str | bytes) -> None:
    """Put a private file (mode 0600) in place at once: readers see the old or the new one."""
    data = text.encode() if isinstance(text, str) else text
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def socket_folder(directory: Path, lab_id: str) -> Path:
    """Where unix sockets go: in the lab, or in the temporary folder where the path is too long.

    ``RefusedError('lab_path_too_long')`` where even that is.
    """
    for folder in (directory / "sockets", Path(tempfile.gettempdir()) / f"aeterna-lab-{lab_id}"):
        if len(os.fsencode(folder / LONGEST_SOCKET)) <= SOCKET_PATH_LIMIT:
            return folder
    raise RefusedError(
        "lab_path_too_long",
        "neither the lab's folder nor the temporary folder has a path short enough for sockets",
        hint=f"a socket's path may have {SOCKET_PATH_LIMIT} bytes",
        next_steps=["set TMPDIR to a short path"],
    )


def make_socket_folder(folder: Path) -> None:
    """The folder, ours alone; ``FailedError`` when somebody else made it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise FailedError(
            "socket_folder_foreign",
            f"{folder} exists and is not ours alone",
            next_steps=["remove it, or set TMPDIR to another folder"],
        )
