"""The ticker: one numbered marker every 200 ms in every store, so that images can be dated.

While Redis and Qdrant are captured the same number is written to a row, a key and a point of our
own. The highest number inside a captured image says to within one tick when that image was taken,
on one clock for all stores.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aeterna_cli.errors import AeternaError

TICK = 0.2  # seconds


class MarkerTarget(Protocol):
    def write_marker(self, number: int) -> None: ...


@dataclass(frozen=True)
class Tick:
    """Marker ``number`` was written to every store between ``begun`` and ``ended``."""

    number: int
    begun: datetime
    ended: datetime


@dataclass(frozen=True)
class CaptureWindow:
    """When a store's image was taken: at ``earliest`` at the soonest, ``latest`` at the latest.

    ``marker`` is the highest number found inside the image, None where the image was not asked or
    holds none; the window is then only as narrow as the capture was long.
    """

    earliest: datetime
    latest: datetime
    marker: int | None

    def skew_milliseconds(self, recovery_point: datetime) -> int:
        """How far the image may lie before the recovery point, at most; never negative."""
        return max(0, round((recovery_point - self.earliest).total_seconds() * 1000))


class Ticker:
    """Writes markers from its own thread between ``start`` and ``stop``.

    A store that refuses a marker ends the ticking; ``stop`` raises that error, because a backup
    whose images cannot be dated is not a recovery point.
    """

    def __init__(
        self, targets: Mapping[str, MarkerTarget], clock: Callable[[], datetime], first: int = 1
    ) -> None:
        self._targets = targets
        self._clock = clock
        self._next = first
        self._ticks: list[Tick] = []
        self._stop = threading.Event()
        self._error: AeternaError | None = None
        self._thread = threading.Thread(target=self._run, name="marker-ticker", daemon=True)

    def start(self) -> None:
        """The first marker is in every store when this returns."""
        self._tick()
        self._thread.start()

    def stop(self) -> tuple[Tick, ...]:
        """Ends the ticking with one last marker in every store; all ticks in order."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._error is not None:
            raise self._error
        self._tick()
        return tuple(self._ticks)

    def abandon(self) -> None:
        """Ends the ticking without another write and without raising."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(TICK):
            try:
                self._tick()
            except AeternaError as error:
                self._error = error
                return

    def _tick(self) -> None:
        number, begun = self._next, self._clock()
        for target in self._targets.values():
            target.write_marker(number)
        self._ticks.append(Tick(number, begun, self._clock()))
        self._next += 1


def window(
    ticks: tuple[Tick, ...],
    begun: datetime,
    ended: datetime,
    marker: int | None,
    *,
    one_moment: bool = True,
) -> CaptureWindow:
    """Narrow a capture that ran from ``begun`` to ``ended`` by the highest marker in its image.

    The image holds marker n, so it was taken after tick n began; it does not hold n+1, so it was
    taken before tick n+1 ended. Without ``one_moment`` (images taken one after another, the one
    with the marker first) only the first half holds.
    """
    earliest, latest = begun, ended
    for tick in ticks:
        if marker is not None and tick.number == marker:
            earliest = max(earliest, tick.begun)
        if one_moment and marker is not None and tick.number == marker + 1:
            latest = min(latest, tick.ended)
    return CaptureWindow(earliest, max(earliest, latest), marker)
