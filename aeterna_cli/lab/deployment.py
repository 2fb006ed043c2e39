"""A lab: real servers in one folder, known to whoever comes next.

Everything lies below the folder (sockets too, unless its path is too long for them). The servers
outlive the command that started them, and ``lab.json`` says which they are.
"""

import contextlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aeterna_cli.errors import RefusedError
from aeterna_cli.lab import names, ports, processes, profile, state
from aeterna_cli.lab.events import Events, LabEvent, ignore
from aeterna_cli.lab.names import PARTS_OF, POSTGRES_NODES, REDIS_NODES, SENTINELS, TITLES, Topology
from aeterna_cli.lab.part import NotReady, Place
from aeterna_cli.lab.secret_files import FOLDER as SECRETS_FOLDER
from aeterna_cli.lab.secret_files import SecretFiles
from aeterna_cli.lab.servers import SERVERS, Servers, StopReport
from aeterna_cli.lab.state import LabState, StateFile

if TYPE_CHECKING:
    from aeterna_cli.settings import Profile

# Stores first, so that they can still write what they archive; each wave stops together.
STOP_WAVES = (
    SENTINELS,
    ("postgres", "redis", "qdrant", "qdrant-peers", *POSTGRES_NODES, *REDIS_NODES),
    ("vault", "s3"),
)
# A Sentinel that starts before the replicas are online finds them ten seconds later.
START_LAST = frozenset(SENTINELS)

PartState = Literal["running", "unhealthy", "died", "stopped", "left out"]


@dataclass(frozen=True)
class PartStatus:
    """One part now. ``memory`` is in bytes with shared pages counted once, ``seconds`` its age."""

    part: str
    state: PartState
    pid: int | None
    port: int
    memory: int
    seconds: float
    detail: str
    log: Path


@dataclass(frozen=True)
class LabStatus:
    directory: Path
    id: str
    parts: tuple[PartStatus, ...]
    notes: tuple[str, ...]
    strays: tuple[int, ...]  # pids with the lab's mark that no record names


@dataclass(frozen=True)
class DownReport:
    """What ``down`` did. ``strays`` counts processes that no record named."""

    parts: tuple[StopReport, ...] = ()
    strays: int = 0
    shared_memory: tuple[str, ...] = ()


def never() -> bool:
    return False


class Lab:
    """The lab in one folder. Nothing is read or started before a method is called."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()
        self.file = StateFile(self.directory)

    def up(
        self,
        parts: Iterable[str] | None = None,
        events: Events = ignore,
        *,
        topology: Topology | None = None,
        stopped: Callable[[], bool] = never,
    ) -> LabStatus:
        """Every wanted part runs, answers real requests and is in the profile when this returns.

        ``parts`` None means those of the last time, at first all; others are added to them. What
        runs is adopted. On failure (the first part's typed error) the others are left running and
        on record: ``up`` again goes on, ``down`` ends them. ``stopped`` is asked while waiting.
        """
        wanted = [names.canonical(part) for part in parts] if parts is not None else None
        self.file.refuse_strangers()
        with self.file.locked():
            known = self.file.read() or self.file.create(topology or "single")
            _refuse_another(known, topology, wanted or (), self.directory)
            known.parts = _ordered(known, wanted)
            with ports.HeldPorts() as held:
                servers = self._servers(known, events)
                self._choose_ports(known, servers, held)
                servers = self._servers(known, events)
                _bring_up(servers, wanted or known.parts, stopped)
            profile.write(servers.place, known.notes)
            return self._status(known)

    def _choose_ports(self, known: LabState, servers: Servers, held: ports.HeldPorts) -> None:
        """Ports for everything that does not run; those of a lab that was up before are kept."""
        idle = [part for part in PARTS_OF[known.topology] if servers.adoptable(part) is None]
        servers.clear_leftovers(idle)
        chosen = ports.choose(
            names.port_names(idle), known.ports, held, companions=names.COMPANIONS
        )
        moved = {n: p for n, p in chosen.items() if known.ports.get(n, p) != p}
        if moved:
            known.notes = [
                f"port of {name}: {known.ports[name]} was taken by somebody else, now {port}"
                for name, port in moved.items()
            ]
            for note in known.notes:
                servers.tell(LabEvent("", "note", note))
        known.ports.update(chosen)
        self.file.write(known)
        place = self._place(known)
        state.make_socket_folder(place.sockets)
        (self.directory / "logs").mkdir(mode=0o700, exist_ok=True)
        if moved and (self.directory / profile.FILE).exists():
            profile.write(place, known.notes)  # the old one points at strangers now

    @property
    def topology(self) -> Topology:
        """Of the lab that the folder holds; ``single`` where there is none."""
        known = self.file.read()
        return known.topology if known is not None else "single"

    def down(self, events: Events = ignore) -> DownReport:
        """No process of this lab runs when this returns; its data stays. Does nothing where there
        is no lab."""
        if self.file.read() is None:
            return DownReport()
        with self.file.locked():
            known = self.file.read()
            return DownReport() if known is None else self._down(known, events)

    def _down(self, known: LabState, events: Events) -> DownReport:
        servers = self._servers(known, events)
        reports: list[StopReport] = []
        for wave in STOP_WAVES:
            present = [part for part in wave if part in known.parts or part in known.processes]
            with ThreadPoolExecutor(len(wave)) as pool:
                reports += pool.map(servers.stop, present)
        strays = 0
        for found in processes.of_lab(self.directory, known.id):
            if processes.alive(found.process):
                processes.kill_family(found.process)
                strays += 1
        removed = _remove_shared_memory(known.shared_memory)
        known.shared_memory = []
        self.file.write(known)
        (self.directory / profile.FILE).unlink(missing_ok=True)
        if not Path(known.sockets).is_relative_to(self.directory):
            shutil.rmtree(known.sockets, ignore_errors=True)
        return DownReport(tuple(reports), strays, removed)

    def status(self) -> LabStatus | None:
        """Every part as it answers now; None where there is no lab. Changes nothing."""
        known = self.file.read()
        return None if known is None else self._status(known)

    def _status(self, known: LabState) -> LabStatus:
        place = self._place(known)
        names_ = PARTS_OF[known.topology]
        with ThreadPoolExecutor(len(names_)) as pool:
            parts = tuple(pool.map(lambda part: _part_status(part, known, place), names_))
        families = {
            member.pid
            for process in known.processes.values()
            for member in processes.family(process)
        }
        found = processes.of_lab(self.directory, known.id)
        strays = tuple(f.process.pid for f in found if f.process.pid not in families)
        return LabStatus(self.directory, known.id, parts, tuple(known.notes), strays)

    def reset(self, events: Events = ignore) -> DownReport:
        """The lab is down and everything it kept is gone: data, secrets, journals, its identity.

        Only what the lab itself makes is removed. Does nothing where there is no lab.
        """
        if self.file.read() is None:
            return DownReport()
        with self.file.locked():
            known = self.file.read()
            if known is None:
                return DownReport()
            report = self._down(known, events)
            for name in (*TITLES, "logs", "sockets", "state", "cache", SECRETS_FOLDER):
                with contextlib.suppress(FileNotFoundError):
                    shutil.rmtree(self.directory / name)
            self.file.path.unlink()
            return report

    def profile(self) -> "Profile":
        """The lab as a deployment; ``RefusedError('lab_missing')`` before the first ``up``."""
        return profile.build(self.place())

    def environment(self) -> dict[str, str]:
        """Variables for other programs, without secrets; ``RefusedError('lab_missing')``."""
        return profile.environment(self.place())

    def place(self) -> Place:
        return self._place(self._known())

    @contextmanager
    def servers(self, events: Events = ignore) -> Iterator[Servers]:
        """The lab's servers, alone with them; ``RefusedError('lab_missing')`` without a lab."""
        self._known()
        with self.file.locked():
            yield self._servers(self._known(), events)

    def _known(self) -> LabState:
        known = self.file.read()
        if known is None or not known.ports:
            raise RefusedError(
                "lab_missing",
                f"there is no lab in {self.directory}",
                next_steps=["aeterna-cli lab up"],
            )
        return known

    def _place(self, known: LabState) -> Place:
        return Place(
            self.directory,
            known.id,
            Path(known.sockets),
            dict(known.ports),
            SecretFiles(self.directory),
            known.topology,
        )

    def _servers(self, known: LabState, events: Events) -> Servers:
        return Servers(self._place(known), known, self.file, events)


def _refuse_another(
    known: LabState, topology: Topology | None, wanted: Iterable[str], directory: Path
) -> None:
    strangers = [part for part in wanted if part not in PARTS_OF[known.topology]]
    if strangers or topology not in (None, known.topology):
        what = {"single": "single servers", "ha": "a highly-available lab"}[known.topology]
        raise RefusedError(
            "lab_topology",
            f"the lab in {directory} is one of {what}",
            hint=f"it has no part {strangers[0]}" if strangers else "",
            next_steps=["set AETERNA_LAB_DIR to another folder", "or aeterna-cli lab reset"],
        )


def _ordered(known: LabState, wanted: list[str] | None) -> list[str]:
    every = PARTS_OF[known.topology]
    if wanted is None:
        return known.parts or list(every)
    return [part for part in every if part in known.parts or part in wanted]


def _bring_up(servers: Servers, parts: Iterable[str], stopped: Callable[[], bool]) -> None:
    """What can start at once does, then what must wait for it; the first failure is raised."""
    wanted = list(parts)
    for wave in (
        [part for part in wanted if part not in START_LAST],
        [part for part in wanted if part in START_LAST],
    ):
        if wave:
            _bring_up_together(servers, wave, stopped)


def _bring_up_together(servers: Servers, parts: list[str], stopped: Callable[[], bool]) -> None:
    """Waits for all of them, then raises the first failure."""
    with ThreadPoolExecutor(len(parts)) as pool:
        running: list[Future[None]] = [
            pool.submit(servers.bring_up, part, stopped) for part in parts
        ]
        try:
            wait(running)
        except BaseException:
            servers.cancelled.set()
            raise
    for future in running:
        future.result()


def _part_status(part: str, known: LabState, place: Place) -> PartStatus:
    process = known.processes.get(part)
    living = process if process is not None and processes.alive(process) else None
    detail = ""
    answer: PartState
    if part not in known.parts:
        answer = "left out"
    elif process is None:
        answer = "stopped"
    elif living is None:
        answer, detail = "died", processes.tail(place.log(part), 1)
    else:
        answer = "running"
        try:
            SERVERS[part].check(place)
        except NotReady as error:
            answer, detail = "unhealthy", str(error)
    return PartStatus(
        part,
        answer,
        living.pid if living else None,
        known.ports.get(part, 0),
        processes.memory(living) if living else 0,
        processes.seconds_running(living) if living else 0.0,
        detail,
        place.log(part),
    )


def _remove_shared_memory(names: Iterable[str]) -> tuple[str, ...]:
    """Remove what dead servers of ours left in /dev/shm, unless a living process maps it."""
    left = [name for name in names if Path(name).exists()]
    if not left:
        return ()
    in_use: set[str] = set()
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            text = maps.read_text(encoding="utf-8", errors="replace")
            in_use |= {name for name in left if name in text}
    removed = tuple(name for name in left if name not in in_use)
    for name in removed:
        Path(name).unlink(missing_ok=True)
    return removed
