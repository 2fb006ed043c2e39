"""One tenant's cached placement, and the writes that run by it."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from aeterna_cli.stores.base.placement import Placement

Clock = Callable[[], float]
NEVER = float("-inf")


def steady_clock() -> float:
    """Seconds that nobody can set, and that pass while the machine is suspended."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)  # Linux; the monotonic clock stands still then
    return time.clock_gettime(boot) if boot is not None else time.monotonic()


@dataclass
class Route:
    """Guarded by the client's lock.

    ``as_of`` is our clock before the acknowledgement was sent that the placement was read after:
    the server saw us later than that, so what is younger than the time to live here is alive there.
    ``lapses`` counts how often that chain was broken for so long that the server may have called
    us dead.
    """

    tenant: str
    placement: Placement | None = None
    as_of: float = NEVER
    acknowledged: int | None = None
    in_flight: Counter[int] = field(default_factory=Counter)
    waiting: int = 0
    lapses: int = 0
    used: float = NEVER

    @property
    def epoch(self) -> int:
        """0 while the tenant has no placement."""
        return self.placement.epoch if self.placement else 0

    @property
    def held(self) -> bool:
        return self.placement is not None and self.placement.state == "held"

    @property
    def honoured(self) -> int:
        """The newest epoch that no write in flight is older than."""
        return min((self.epoch, *self.in_flight))

    def fresh(self, now: float, route_ttl: float) -> bool:
        return now - self.as_of <= route_ttl

    def read(self, placement: Placement | None, began: float, ended: float, ttl: float) -> None:
        """The row as it is, asked for at ``began``, answered at ``ended``."""
        if self.as_of != NEVER and ended - self.as_of > 2 * ttl:
            self.lapses += 1
        self.placement, self.as_of = placement, began

    def begin(self, now: float) -> "Ticket":
        self.used = now
        self.in_flight[self.epoch] += 1
        return Ticket(self, self.placement, self.epoch, self.lapses)

    def end(self, ticket: "Ticket", now: float) -> None:
        self.used = now
        self.in_flight[ticket.epoch] -= 1
        if not self.in_flight[ticket.epoch]:
            del self.in_flight[ticket.epoch]


@dataclass(frozen=True)
class Ticket:
    """One write in flight."""

    route: Route
    placement: Placement | None
    epoch: int
    lapses: int

    def lapsed(self, now: float, route_ttl: float) -> bool:
        """Whether the server may have called this instance dead while the write ran."""
        late = now - self.route.as_of > 2 * route_ttl
        return late or self.route.lapses != self.lapses
