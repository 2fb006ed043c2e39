"""The workload in this process: threads per tenant, from ``start`` to ``stop``, then a verdict."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from aeterna_cli.lab.workload import adopted, judging, prepare
from aeterna_cli.lab.workload import folder as folders
from aeterna_cli.lab.workload.folder import Contract, Description, Moved
from aeterna_cli.lab.workload.judging import USUAL, Strictness
from aeterna_cli.lab.workload.log import Log
from aeterna_cli.lab.workload.measure import Measurements
from aeterna_cli.lab.workload.placing import PlacementRoute, Placing
from aeterna_cli.lab.workload.points import Locate, Servers, of_tenant
from aeterna_cli.lab.workload.population import Population
from aeterna_cli.lab.workload.reader import Reader
from aeterna_cli.lab.workload.routes import GateRoute, Route
from aeterna_cli.lab.workload.verdict import Verdict
from aeterna_cli.lab.workload.writer import USUAL_HABITS, Habits, Tenancy, Writer
from aeterna_cli.stores.base.placement import PointsPlace

_JOIN_SECONDS = 60.0
_Side = Callable[[Tenancy, Servers, Log, int], Writer | Reader]


class Workload:
    """An application of one or several tenants, each with its own threads.

    ``locate`` gives the server of a place. The contracts ``dual`` and ``reread`` need ``placing``.
    ``habits`` go for every tenant but those in ``habits_of``. Once started it is stopped by
    ``stop`` or by leaving the ``with`` block.
    """

    def __init__(
        self,
        folder: Path,
        tenants: Sequence[Moved],
        locate: Locate,
        *,
        contract: Contract = "none",
        placing: Placing | None = None,
        habits: Habits = USUAL_HABITS,
        habits_of: Mapping[str, Habits] | None = None,
        seed: int = 1,
        dimensions: int = 384,
    ) -> None:
        self.folder = folder
        self._locate = locate
        self._placing = placing
        self.description = Description(contract, seed, dimensions, tuple(tenants))
        folders.write(folder, self.description)
        self._stop = threading.Event()
        self._gates = folders.gates(folder, tenants)
        for one in tenants:
            self._gates[one.id].switch(one.place)
        self._around = {
            one.id: Tenancy(
                self.description.universe(one),
                Population(),
                Measurements(),
                self._route(one),
                (habits_of or {}).get(one.id, habits),
                self._stop,
            )
            for one in tenants
        }
        self._threads: list[threading.Thread] = []
        self._crashes: list[BaseException] = []

    def __enter__(self) -> "Workload":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _route(self, tenant: Moved) -> Route:
        if self.description.contract in ("dual", "reread"):
            assert self._placing is not None, "dual and reread need a placing"  # noqa: S101 - a caller's mistake
            return PlacementRoute(self._placing, tenant)
        obey = self.description.contract == "none"
        return GateRoute(self._gates[tenant.id], self._stop, obey=obey)

    def prepare(self, points: int | Mapping[str, int]) -> None:
        """Makes the tenants' first places where they are missing and inserts so many more points
        for each (or for those named), logged and acknowledged like all others. What the tenant has
        there before the first call must stay as it is, and is judged too."""
        servers = Servers(self._locate)
        try:
            for index, one in enumerate(self.description.tenants):
                count = points if isinstance(points, int) else points.get(one.id, 0)
                population, logs = self._around[one.id].population, folders.logs(self.folder, index)
                prepare.make_place(servers, one.place, self.description.dimensions)
                universe, first = self.description.universe(one), len(population)
                if not (logs / adopted.FILE).exists():
                    adopted.write(logs, servers.scan(one.place, of_tenant(one.id)))
                with Log(logs / f"prepared-{first}.log") as log:
                    prepare.insert(servers, one.place, universe, log, first=first, count=count)
                population.prepared(count)
        finally:
            servers.close()

    def start(self) -> None:
        """Writers and readers run when this returns."""
        for index, one in enumerate(self.description.tenants):
            around = self._around[one.id]
            for number in range(around.habits.writers):
                self._launch(index, around, Writer, "writer", number)
            for number in range(around.habits.readers):
                self._launch(index, around, Reader, "reader", number)

    def _launch(self, index: int, around: Tenancy, side: _Side, name: str, number: int) -> None:
        path = folders.logs(self.folder, index) / f"{name}-{number}.log"

        def run() -> None:
            servers = Servers(self._locate)
            try:
                with Log(path) as log:
                    side(around, servers, log, number).run()
            except BaseException as error:  # noqa: BLE001 - raised again by ``stop``
                self._crashes.append(error)
                self._stop.set()
            finally:
                servers.close()

        thread = threading.Thread(target=run, name=f"workload-{index}-{name}-{number}", daemon=True)
        self._threads.append(thread)
        thread.start()

    @property
    def running(self) -> bool:
        """False before ``start``, after ``stop`` and when a thread broke."""
        return bool(self._threads) and not self._stop.is_set()

    def acknowledged(self, tenant: str) -> int:
        """How many writes of this tenant were acknowledged since ``start``: for tests that wait
        until enough has happened."""
        return self._around[tenant].measurements.writes

    def acknowledged_in_all(self) -> int:
        return sum(one.measurements.writes for one in self._around.values())

    def mark(self, phase: str) -> None:
        """From now on latencies and pauses count for this phase."""
        for one in self._around.values():
            one.measurements.phase = phase

    def stop(self) -> None:
        """Every thread has ended; operations that could not end are left open in the log. Raises
        what broke a thread. May be called again."""
        self._stop.set()
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._threads.clear()
        for gate in self._gates.values():
            gate.close()
        if self._placing is not None:
            self._placing.close()
        if self._crashes:
            raise self._crashes.pop()

    def verdict(self, strictness: Strictness = USUAL) -> Verdict:
        """After ``stop``: the logs against the servers, with everything that was measured."""
        now = time.monotonic()
        measured = {name: one.measurements.taken(now) for name, one in self._around.items()}
        return judging.verdict(
            self.folder, self._locate, self._served, strictness=strictness, measured=measured
        )

    def _served(self, tenant: str) -> PointsPlace | None:
        return self._placing.served(tenant) if self._placing is not None else None
