"""One lab's servers: started, recognised, stopped, and always written down."""

import shutil
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

from aeterna_cli.errors import AeternaError, FailedError, TransientError
from aeterna_cli.lab import processes
from aeterna_cli.lab.events import Events, LabEvent
from aeterna_cli.lab.ha.patroni_node import PatroniNode
from aeterna_cli.lab.ha.sentinel_node import SentinelNode
from aeterna_cli.lab.ha.valkey_node import ValkeyNode
from aeterna_cli.lab.names import POSTGRES_NODES, QDRANT_PEERS, REDIS_NODES, SENTINELS, TITLES
from aeterna_cli.lab.openbao import OpenBao
from aeterna_cli.lab.part import NotReady, Part, Place
from aeterna_cli.lab.postgres import Postgres, shared_memory_names
from aeterna_cli.lab.processes import ProcessIdentity
from aeterna_cli.lab.qdrant_process import QdrantProcess
from aeterna_cli.lab.seaweedfs import SeaweedFs, remove_sockets
from aeterna_cli.lab.state import LabState, StateFile
from aeterna_cli.lab.valkey import Valkey

START_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL = 0.03

_SERVERS: tuple[Part, ...] = (
    Postgres(),
    Valkey(),
    SeaweedFs(),
    OpenBao(),
    QdrantProcess(),
    QdrantProcess("qdrant-peers", QDRANT_PEERS[1:]),
    *(PatroniNode(name) for name in POSTGRES_NODES),
    *(ValkeyNode(name) for name in REDIS_NODES),
    *(SentinelNode(name) for name in SENTINELS),
)
SERVERS = {server.name: server for server in _SERVERS}


@dataclass(frozen=True)
class StopReport:
    """How one part ended. ``killed`` means that it did not stop in time."""

    part: str
    how: Literal["stopped", "killed", "was not running"]
    pid: int | None
    seconds: float


class Servers:
    """Starts and stops parts. The caller holds the lab's lock; methods may run in threads."""

    def __init__(self, place: Place, state: LabState, file: StateFile, events: Events) -> None:
        self.place = place
        self._state = state
        self._file = file
        self._events = events
        self._telling = threading.Lock()
        self._recording = threading.Lock()
        self.cancelled = threading.Event()

    def tell(self, event: LabEvent) -> None:
        with self._telling:
            self._events(event)

    def running(self, part: str) -> ProcessIdentity | None:
        """The recorded process of a part, if it lives."""
        process = self._state.processes.get(part)
        return process if process is not None and processes.alive(process) else None

    def adoptable(self, part: str) -> ProcessIdentity | None:
        """The part's process if it may go on as it is. One whose first start was never completed
        may not: it is made anew, nobody has used it."""
        return self.running(part) if part in self._state.ready else None

    def bring_up(self, part: str, stopped: Callable[[], bool]) -> None:
        """The part runs and answers when this returns: adopted if it ran, else started.

        Before: ``clear_leftovers`` was called for a part that is not adoptable.
        """
        began = time.monotonic()
        try:
            process = self.adoptable(part)
            if process is not None:
                self.tell(
                    LabEvent(part, "adopted", f"{TITLES[part]} runs already (pid {process.pid})")
                )
            else:
                self.tell(LabEvent(part, "starting", f"starting {TITLES[part]}"))
                process = self._start(part)
            self._wait(SERVERS[part], process, stopped)
        except (AeternaError, OSError) as error:
            failure = error if isinstance(error, AeternaError) else _os_failure(part, error)
            self.tell(LabEvent(part, "failed", failure.message, time.monotonic() - began))
            raise failure from error
        memory = shared_memory_names(process.pid) if part == "postgres" else []
        with self._recording:
            self._state.shared_memory = sorted({*self._state.shared_memory, *memory})
            if part not in self._state.ready:
                self._state.ready.append(part)
            self._file.write(self._state)
        self.tell(LabEvent(part, "ready", f"{TITLES[part]} answers", time.monotonic() - began))

    def _start(self, part: str) -> ProcessIdentity:
        folder = self.place.folder(part)
        if part not in self._state.ready and folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700, exist_ok=True)
        server = SERVERS[part]
        server.prepare(self.place)
        process = processes.start(server.command(self.place), self.place.log(part))
        try:
            with self._recording:
                self._state.processes[part] = process
                self._file.write(self._state)
        except OSError:
            processes.kill_family(process)  # what cannot be written down must not run
            raise
        return process

    def clear_leftovers(self, parts: Collection[str]) -> int:
        """End everything that still runs of these parts: children of a dead server, starts that
        were never written down or never completed."""
        mine = {self.place.data(part).resolve() for part in parts}
        count = 0
        for found in processes.of_lab(self.place.directory, self.place.lab_id):
            if (found.part in parts or found.directory in mine) and processes.alive(found.process):
                processes.kill_family(found.process)
                count += 1
        if "s3" in parts:
            remove_sockets(self.place)
        return count

    def _wait(self, server: Part, process: ProcessIdentity, stopped: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        log = self.place.log(server.name)
        while True:
            try:
                return server.settle(self.place)
            except NotReady as answer:
                reason = str(answer)
            title = TITLES[server.name]
            if not processes.alive(process):
                raise FailedError(
                    "lab_part_died",
                    f"{title} ended while it started",
                    hint=f"its last words are at the end of {log}",
                    details={"part": server.name, "log": processes.tail(log)},
                    next_steps=["aeterna-cli lab status", "aeterna-cli lab up"],
                )
            if self.cancelled.is_set() or stopped():
                raise TransientError(
                    "lab_start_stopped",
                    f"{title} was not waited for: the command was stopped",
                    next_steps=["aeterna-cli lab up", "aeterna-cli lab down"],
                )
            if time.monotonic() > deadline:
                raise TransientError(
                    "lab_part_not_ready",
                    f"{title} runs but was not ready within {START_SECONDS:.0f} s: {reason}",
                    hint=f"its log is {log}",
                    next_steps=["aeterna-cli lab status", "aeterna-cli lab down"],
                )
            time.sleep(POLL)

    def stop(self, part: str) -> StopReport:
        """Stop a part as it wants to be stopped; SIGKILL when it takes too long."""
        began = time.monotonic()
        process = self.running(part)
        if process is None:
            self.clear_leftovers([part])
            self._forget(part)
            return StopReport(part, "was not running", None, 0.0)
        self.tell(LabEvent(part, "stopping", f"stopping {TITLES[part]}"))
        processes.send(processes.program_of(process), SERVERS[part].stop_signal)
        gone = processes.wait_gone(process, STOP_SECONDS)
        if not gone:
            processes.kill_family(process)
        self.clear_leftovers([part])
        self._forget(part)
        seconds = time.monotonic() - began
        self.tell(LabEvent(part, "stopped", f"{TITLES[part]} is down", seconds))
        return StopReport(part, "stopped" if gone else "killed", process.pid, seconds)

    def kill(self, part: str) -> StopReport:
        """A power cut: SIGKILL for the server and all its children at once. It stays on record as
        died."""
        began = time.monotonic()
        process = self.running(part)
        if process is not None:
            processes.kill_family(process)
        self.clear_leftovers([part])
        if process is None:
            return StopReport(part, "was not running", None, 0.0)
        return StopReport(part, "killed", process.pid, time.monotonic() - began)

    def _forget(self, part: str) -> None:
        with self._recording:
            self._state.processes.pop(part, None)
            self._file.write(self._state)


def _os_failure(part: str, error: OSError) -> FailedError:
    return FailedError(
        "lab_part_not_started",
        f"{TITLES[part]} could not be started: {error.strerror or error}",
        hint=f"the path was {error.filename}" if error.filename else "",
        next_steps=["aeterna-cli lab status"],
    )
