"""How the application finds out where to write: by a gate of files, or by the placement row."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from aeterna_cli.lab.workload.gate import Gate
from aeterna_cli.stores.base.placement import PointsPlace


@dataclass(frozen=True)
class Targets:
    """Where one write goes; the second conditionally, and only logged where it fails."""

    primary: PointsPlace
    secondary: PointsPlace | None = None


class Route(Protocol):
    """Of one tenant, for all its threads. The places hold until the block ends."""

    def writing(self) -> AbstractContextManager[Targets]:
        """Waits while writes are held. ``Stopped`` where the workload ends meanwhile."""

    def reading(self) -> AbstractContextManager[PointsPlace]: ...


class GateRoute:
    """The platform as it ships: it knows no placement. It obeys the hold file and the place file;
    with ``obey`` False (the ``naive`` contract) only the place file."""

    def __init__(self, gate: Gate, stop: threading.Event, *, obey: bool) -> None:
        self._gate = gate
        self._stop = stop
        self._obey = obey

    @contextmanager
    def writing(self) -> Iterator[Targets]:
        with self._gate.passed(self._stop, obey=self._obey):
            yield Targets(self._gate.place())

    @contextmanager
    def reading(self) -> Iterator[PointsPlace]:
        yield self._gate.place()
