"""What a workload found, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from aeterna_cli.stores.base.placement import PointsPlace


@dataclass(frozen=True)
class Finding:
    """How often something was found, and up to ten examples of it."""

    count: int = 0
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class AtRest:
    """The tenant's points after the workload, compared with what was acknowledged.

    ``lost``: acknowledged and not there. ``resurrected``: its deletion was acknowledged and it is
    there. ``stale``: an older version than acknowledged. ``wrong``: the right version with another
    vector or payload, or a version that was never written. ``foreign``: another tenant's point
    here, or this tenant's name on a point that it never wrote. ``duplicate``: under more than one
    shard key of the collection. ``leftover``: at a place that should be empty of this tenant.
    """

    lost: Finding = Finding()
    resurrected: Finding = Finding()
    stale: Finding = Finding()
    wrong: Finding = Finding()
    foreign: Finding = Finding()
    duplicate: Finding = Finding()
    leftover: Finding = Finding()


@dataclass(frozen=True)
class WhileRunning:
    """What readers saw that cannot be, judged by what was acknowledged before a read began and by
    what was possibly on its way until it ended. ``wrong`` as in ``AtRest``, or not yet written."""

    lost: Finding = Finding()
    resurrected: Finding = Finding()
    stale: Finding = Finding()
    wrong: Finding = Finding()


@dataclass(frozen=True)
class Latency:
    """Of one kind of operation in one phase, in milliseconds; 5 % exact. Writes include waiting for
    a held placement and the second write; operations that were never acknowledged are not in it."""

    phase: str
    kind: str
    count: int
    p50: float
    p99: float
    maximum: float


@dataclass(frozen=True)
class Measured:
    """What only the running workload knows. Times are seconds.

    ``longest_pause``: the longest time in which no write was acknowledged while one was due.
    ``held_*``: waits for the permission to write (a held placement, a hold file).
    """

    longest_pause: float
    pause_by_phase: Mapping[str, float]
    held_waits: int
    held_longest: float
    held_total: float
    reads: int
    latencies: tuple[Latency, ...]

    def latency(self, phase: str, kind: str) -> Latency:
        """Of ``write`` or ``read`` in one phase; zeros where there was none."""
        for one in self.latencies:
            if (one.phase, one.kind) == (phase, kind):
                return one
        return Latency(phase, kind, 0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class TenantVerdict:
    """One tenant. ``client_errors`` counts failed attempts by error code (each was tried again);
    ``second_writes_missing`` counts the dropped and the failed, which is no finding: to mend them
    is the mover's work. ``measured`` is None where only the logs were there to judge."""

    tenant: str
    name: str
    place: PointsPlace
    points: int
    acknowledged: int
    undecided: int
    at_rest: AtRest
    while_running: WhileRunning
    client_errors: Mapping[str, int]
    second_writes_missing: Mapping[str, int]
    measured: Measured | None

    @property
    def data_clean(self) -> bool:
        """Nothing lost, resurrected, stale, wrong, foreign, doubled or left over; nor seen so."""
        return not any(self.counts().values())

    @property
    def clean(self) -> bool:
        """The data are clean and the client saw no error."""
        return self.data_clean and not self.client_errors

    def counts(self) -> dict[str, int]:
        """Every sort of finding and its number; readers' sorts begin with ``read_``."""
        rest = {one.name: getattr(self.at_rest, one.name).count for one in fields(AtRest)}
        running = {
            f"read_{one.name}": getattr(self.while_running, one.name).count
            for one in fields(WhileRunning)
        }
        return rest | running


@dataclass(frozen=True)
class Verdict:
    """Of all tenants of one workload; ``folder`` keeps the logs it was judged by ("": they were
    of a clean run and are gone)."""

    contract: str
    folder: str
    tenants: tuple[TenantVerdict, ...] = field(default=())
    emulated: str = "Qdrant: one peer, the real engine behind an emulated server"

    @property
    def clean(self) -> bool:
        return all(one.clean for one in self.tenants)

    def tenant(self, identity: str) -> TenantVerdict:
        """By id; ``KeyError`` for one that was not in the workload."""
        for one in self.tenants:
            if one.tenant == identity:
                return one
        raise KeyError(identity)
