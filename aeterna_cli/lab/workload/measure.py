"""Latencies in fixed memory, the longest pause of writes, and waits for a held placement."""

import math
import threading
from collections import Counter
from dataclasses import dataclass, field

from aeterna_cli.lab.workload.verdict import Latency, Measured

_GROWTH = math.log(1.05)
_SMALLEST = 1e-5  # seconds
_BUCKETS = 400  # 5 % each: from 10 microseconds to 50 minutes
#: A wait for the permission to write that is shorter than this was none, in seconds.
HELD_FROM = 0.002


class Histogram:
    """Counts of durations in buckets that grow by 5 %; quantiles are exact to that."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        self.maximum = 0.0

    def add(self, seconds: float) -> None:
        at = int(math.log(max(seconds, _SMALLEST) / _SMALLEST) / _GROWTH)
        self._counts[min(at, _BUCKETS - 1)] += 1
        self.count += 1
        self.maximum = max(self.maximum, seconds)

    def quantile(self, share: float) -> float:
        """Seconds that ``share`` of the durations do not exceed; 0 where there are none."""
        wanted, seen = math.ceil(self.count * share), 0
        for at, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return min(_SMALLEST * math.exp((at + 1) * _GROWTH), self.maximum)
        return 0.0


@dataclass
class Measurements:
    """One tenant's figures; every method may be called from any thread.

    Moments are ``time.monotonic()``. The pause is the longest time without an acknowledged write
    while at least one was due: from the last acknowledgement, or from the moment that the first of
    the waiting writes was due, to the next acknowledgement. Nothing is subtracted.
    """

    phase: str = "run"
    writes: int = 0
    _histograms: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    _pauses: dict[str, float] = field(default_factory=dict)
    _due: Counter[float] = field(default_factory=Counter)
    _last: float = -math.inf
    _held: list[float] = field(default_factory=lambda: [0, 0.0, 0.0])
    _reads: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def due(self, moment: float) -> None:
        """A write is due since this moment."""
        with self._lock:
            self._due[moment] += 1

    def acknowledged(self, due: float, began: float, now: float) -> None:
        with self._lock:
            self._pause(now)
            self._last = now
            self.writes += 1
            self._settle(due)
            self._histogram("write").add(now - began)

    def given_up(self, due: float, now: float) -> None:
        """This write will not be acknowledged any more."""
        with self._lock:
            self._pause(now)
            self._settle(due)

    def _settle(self, due: float) -> None:
        self._due[due] -= 1
        if not self._due[due]:
            del self._due[due]

    def _pause(self, now: float) -> None:
        if self._due:
            pause = now - max(self._last, min(self._due))
            self._pauses[self.phase] = max(self._pauses.get(self.phase, 0.0), pause)

    def read(self, seconds: float) -> None:
        with self._lock:
            self._reads += 1
            self._histogram("read").add(seconds)

    def waited(self, seconds: float) -> None:
        """A writer asked for the permission to write and got it after so long."""
        if seconds < HELD_FROM:
            return
        with self._lock:
            self._held[0] += 1
            self._held[1] = max(self._held[1], seconds)
            self._held[2] += seconds

    def _histogram(self, kind: str) -> Histogram:
        return self._histograms.setdefault((self.phase, kind), Histogram())

    def taken(self, now: float) -> Measured:
        """The figures so far; a pause that lasts is in them."""
        with self._lock:
            self._pause(now)
            waits, longest, total = self._held
            return Measured(
                longest_pause=max(self._pauses.values(), default=0.0),
                pause_by_phase=dict(self._pauses),
                held_waits=int(waits),
                held_longest=longest,
                held_total=total,
                reads=self._reads,
                latencies=tuple(
                    Latency(
                        phase,
                        kind,
                        one.count,
                        one.quantile(0.5) * 1000,
                        one.quantile(0.99) * 1000,
                        one.maximum * 1000,
                    )
                    for (phase, kind), one in self._histograms.items()
                ),
            )
