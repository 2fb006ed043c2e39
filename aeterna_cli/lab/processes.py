"""Processes that outlive us, and how to know them again.

A pid alone names nobody: it is used again after its process died. A process is known by pid, start
time and boot together, and every process of a lab carries the lab's mark in its environment, so
that one which was started but never written down is found as well. Signals go through a pidfd:
between looking and signalling the process cannot be exchanged. Source: proc(5), pidfd_open(2).
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK = "AETERNA_LAB_PROCESS"  # <lab id>/<part>; never exported to anybody's shell
SERVER_PROGRAMS = frozenset({"postgres", "valkey-server", "redis-server"})
POLL = 0.01  # seconds
LOG_LIMIT = 8 << 20  # bytes; a log that is longer is moved aside at the next start


@dataclass(frozen=True)
class ProcessIdentity:
    """One process for ever. ``started`` is in clock ticks since ``boot``."""

    pid: int
    started: int
    boot: str


@dataclass(frozen=True)
class Command:
    """What to start: an argument list without secrets, and where."""

    words: Sequence[str]
    directory: Path
    environment: Mapping[str, str]


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/<pid>/stat after the program's name: state, parent, ..."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def identify(pid: int) -> ProcessIdentity | None:
    """Who has this pid now; None for nobody and for the dead."""
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return ProcessIdentity(pid, int(fields[19]), boot_id())


def alive(process: ProcessIdentity) -> bool:
    """Whether this very process still runs. Collects it when it was our child and is dead."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)
    return identify(process.pid) == process


def seconds_running(process: ProcessIdentity) -> float:
    uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return max(0.0, uptime - process.started / os.sysconf("SC_CLK_TCK"))


def mark(lab_id: str, part: str) -> dict[str, str]:
    return {MARK: f"{lab_id}/{part}"}


def start(command: Command, log: Path) -> ProcessIdentity:
    """Start a server in its own session, deaf to our terminal; it goes on when we die.

    ``OSError`` when the program cannot be started.
    """
    turn_over(log)
    with log.open("ab") as output:
        log.chmod(0o600)
        child = subprocess.Popen(
            list(command.words),
            cwd=command.directory,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
        )
    fields = _stat(child.pid)
    # Not collected yet, so the pid is still the child's even if it died at once.
    started = int(fields[19]) if fields else 0
    child.returncode = 0  # let go on purpose: Popen would complain that its child outlives it
    return ProcessIdentity(child.pid, started, boot_id())


def turn_over(log: Path) -> None:
    """Move a log that has grown past the limit aside, over the one moved before."""
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_name(f"{log.name}.1"))


def tail(log: Path, lines: int = 5) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])


def send(process: ProcessIdentity, number: signal.Signals) -> bool:
    """Signal this very process; False when it is gone."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        if identify(process.pid) != process:
            return False
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True


def wait_gone(process: ProcessIdentity, seconds: float) -> bool:
    """Whether the process ended within this time."""
    deadline = time.monotonic() + seconds
    while alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def family(process: ProcessIdentity) -> list[ProcessIdentity]:
    """The process and everything below it, parents first; empty when it is gone."""
    if not alive(process):
        return []
    children: dict[int, list[int]] = {}
    for pid in _pids():
        fields = _stat(pid)
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(pid)
    found, queue = [process], [process.pid]
    while queue:
        for pid in children.get(queue.pop(0), ()):
            member = identify(pid)
            if member is not None:
                found.append(member)
                queue.append(pid)
    return found


def program_of(process: ProcessIdentity) -> ProcessIdentity:
    """The process that is to be told to stop: the child of ``unshare --fork``, which itself hears
    nothing; else the process."""
    members = family(process)
    try:
        wraps = Path(f"/proc/{process.pid}/exe").readlink().name == "unshare"
    except OSError:
        wraps = False
    return members[1] if wraps and len(members) > 1 else process


def kill_family(process: ProcessIdentity, seconds: float = 10.0) -> bool:
    """SIGKILL for a process and all below it, as a power cut would; True when all are gone.

    The process is stopped first, so that it starts nobody while we look.
    """
    send(process, signal.SIGSTOP)
    members = family(process)
    for member in members:
        send(member, signal.SIGKILL)
    deadline = time.monotonic() + seconds
    return all(wait_gone(member, deadline - time.monotonic()) for member in members)


@dataclass(frozen=True)
class Found:
    """A process of the lab. ``part`` is what its mark says; ``directory`` where it works."""

    process: ProcessIdentity
    part: str | None
    directory: Path


def of_lab(folder: Path, lab_id: str) -> list[Found]:
    """Every living process of the lab in ``folder``.

    It carries the lab's mark, or it is a server program that works below the folder: PostgreSQL's
    children write their titles over the mark, and scratch servers of an interrupted restore never
    had one. Processes that we may not look at are somebody else's.
    """
    home = folder.resolve()
    wanted = f"{MARK}={lab_id}/".encode()
    found = []
    for pid in _pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            program = Path(f"/proc/{pid}/exe").readlink().name
            directory = Path(f"/proc/{pid}/cwd").readlink()
        except OSError:
            continue
        parts = [
            entry.removeprefix(wanted).decode() for entry in environment if entry.startswith(wanted)
        ]
        here = directory.is_relative_to(home) and program in SERVER_PROGRAMS
        process = identify(pid) if parts or here else None
        if process is not None:
            found.append(Found(process, parts[0] if parts else None, directory))
    return found


def memory(process: ProcessIdentity) -> int:
    """Bytes held by a process and all below it, shared pages counted once (PSS)."""
    total = 0
    for member in family(process):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{member.pid}/smaps_rollup").read_text("ascii").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def _pids() -> list[int]:
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]
