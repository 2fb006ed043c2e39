"""One writing thread of a tenant."""

import threading
import time
from dataclasses import dataclass
from random import Random

from aeterna_cli.errors import AeternaError
from aeterna_cli.lab.workload.gate import Stopped
from aeterna_cli.lab.workload.log import Log
from aeterna_cli.lab.workload.measure import Measurements
from aeterna_cli.lab.workload.model import RETRY_SECONDS, Kind, Operation, Universe, share
from aeterna_cli.lab.workload.points import Servers
from aeterna_cli.lab.workload.population import Population
from aeterna_cli.lab.workload.requests import first_write, second_write
from aeterna_cli.lab.workload.routes import Route, Targets

_AGAIN_SECONDS = 0.05


@dataclass(frozen=True)
class Habits:
    """How a tenant's application behaves.

    ``rate`` is operations a second of the whole tenant, None for as fast as it goes. ``delay``
    (seconds) between first and second write widens races; ``drop`` is the share of second writes
    that are never sent, the same ones for the same seed.
    """

    writers: int = 2
    readers: int = 1
    rate: float | None = None
    delay: float = 0.0
    drop: float = 0.0


USUAL_HABITS = Habits()


@dataclass(frozen=True)
class Tenancy:
    """What the threads of one tenant share."""

    universe: Universe
    population: Population
    measurements: Measurements
    route: Route
    habits: Habits
    stop: threading.Event


class Writer:
    """Runs until ``stop``; the operation that it is in is then still finished, or left open."""

    def __init__(self, around: Tenancy, servers: Servers, log: Log, index: int) -> None:
        self._around = around
        self._servers = servers
        self._log = log
        self._random = Random(share(around.universe.seed, around.universe.tenant, "w", index))  # noqa: S311 - not for secrets
        rate = around.habits.rate
        self._interval = around.habits.writers / rate if rate else 0.0
        self._due = time.monotonic() + self._interval * index / around.habits.writers

    def run(self) -> None:
        around = self._around
        while self._wait_until_due():
            with around.population.taken(self._random) as work:
                for kind in work.kinds:
                    if not self._operate(work.number, kind):
                        break

    def _wait_until_due(self) -> bool:
        """False when it is over. An application that fell behind its rate catches up, so that a
        pause shows as what it is."""
        if self._interval:
            wait = self._due - time.monotonic()
            if wait > 0 and self._around.stop.wait(wait):
                return False
        else:
            self._due = time.monotonic()
        return not self._around.stop.is_set()

    def _operate(self, number: int, kind: Kind) -> bool:
        """One operation until it is acknowledged; False where nothing may follow on this point."""
        measured, due, began = self._around.measurements, self._due, time.monotonic()
        self._due += self._interval
        measured.due(due)
        one: Operation | None = None
        certain = True
        while True:
            try:
                one = self._attempt(number, kind, one)
            except Stopped:
                measured.given_up(due, time.monotonic())
                return False
            except _Failed as failed:
                one = failed.operation
                self._log.failed(number, one.version if one else 0, failed.code)
                if one is not None:
                    certain = False
                    self._around.population.set_aside(number)
                late = time.monotonic() - began > RETRY_SECONDS
                if late or self._around.stop.wait(_AGAIN_SECONDS):
                    measured.given_up(due, time.monotonic())
                    return False
            else:
                measured.acknowledged(due, began, time.monotonic())
                return certain

    def _attempt(self, number: int, kind: Kind, one: Operation | None) -> Operation:
        """Acknowledged when it returns. ``_Failed`` with the operation, where it has begun."""
        asked = time.monotonic()
        try:
            with self._around.route.writing() as targets:
                self._around.measurements.waited(time.monotonic() - asked)
                if one is None:
                    moment = time.time_ns() // 1_000_000
                    one = self._around.population.intend(number, kind, moment)
                    self._log.intent(one)
                self._write(one, targets)
        except AeternaError as error:
            raise _Failed(one, error.code) from error
        self._log.acknowledged(one)
        self._around.population.acknowledged(one)
        return one

    def _write(self, one: Operation, targets: Targets) -> None:
        universe, habits = self._around.universe, self._around.habits
        first = first_write(universe, one, targets.primary)
        self._servers.change(targets.primary, *first)
        if targets.secondary is None:
            return
        if habits.delay:
            time.sleep(habits.delay)
        if share(universe.seed, universe.tenant, one.number, one.version) < habits.drop:
            self._log.second_missing(one, "dropped")
            return
        try:
            second = second_write(universe, one, targets.secondary)
            self._servers.change(targets.secondary, *second)
        except AeternaError as error:
            self._log.second_missing(one, error.code)


class _Failed(Exception):
    """An attempt failed; ``operation`` is None where it had not begun."""

    def __init__(self, operation: Operation | None, code: str) -> None:
        super().__init__(code)
        self.operation = operation
        self.code = code
