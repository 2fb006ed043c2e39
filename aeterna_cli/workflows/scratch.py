"""The folder in which a command works: private, and never left behind.

It may hold the deployment's data in the clear. A command that was killed cannot remove it; the next
one does, with the servers that it left running.
"""

import fcntl
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from aeterna_cli.workflows.workspace import local_faults, workspace

PURPOSE = "scratch"
LOCK = "lock"  # held by whoever works in the folder; the system releases it when he dies
_SECONDS = 10.0  # until a killed server is gone


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A fresh private folder below ``parent``; removed afterwards, whatever happened.

    What dead commands left there is removed first; a folder that somebody works in stays.
    """
    with local_faults(parent):
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        everybody = (parent / f"{PURPOSE}.lock").open("wb")
    with ExitStack() as stack:
        with everybody:
            fcntl.flock(everybody, fcntl.LOCK_EX)  # a folder is swept or made, never both at once
            for folder in parent.glob(f"{PURPOSE}-*"):
                _sweep(folder)
            work = stack.enter_context(workspace(parent, PURPOSE))
            own = stack.enter_context((work / LOCK).open("wb"))
            fcntl.flock(own, fcntl.LOCK_EX)
        yield work


def _sweep(folder: Path) -> None:
    try:
        with (folder / LOCK).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # somebody works in it, or it went by itself
    deadline = time.monotonic() + _SECONDS
    while (found := _servers(folder)) and time.monotonic() < deadline:
        for number in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        time.sleep(0.01)
    shutil.rmtree(folder, ignore_errors=True)


def _servers(folder: Path) -> list[int]:
    """Processes that were started on files in ``folder``; its name is random and only ours."""
    prefix, found = os.fsencode(f"{folder}/"), []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended while we looked
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if any(word.startswith(prefix) for word in words):
                found.append(int(entry.name))
    return found
