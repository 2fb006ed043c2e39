"""A workload's verdict from its folder: while it is remembered, or from the logs of a dead one."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aeterna_cli.lab.workload import adopted
from aeterna_cli.lab.workload import folder as folders
from aeterna_cli.lab.workload.folder import Description, Moved
from aeterna_cli.lab.workload.history import History, fold
from aeterna_cli.lab.workload.judge import Case, judge
from aeterna_cli.lab.workload.points import Locate, Servers
from aeterna_cli.lab.workload.verdict import (
    Finding,
    Measured,
    TenantVerdict,
    Verdict,
    WhileRunning,
)
from aeterna_cli.stores.base.placement import PointsPlace

#: Where a tenant is served now by its placement; None where it has none.
Served = Callable[[str], PointsPlace | None]


@dataclass(frozen=True)
class Strictness:
    """What counts as a finding beside the points that the tenants' readers get. ``exclusive``:
    tenants whose place holds nobody else's points. ``copies_allowed``: tenants that may lie under a
    second shard key (a move that is not completed). ``emptied``: per tenant the places where
    nothing of it may be left."""

    exclusive: Collection[str] = ()
    copies_allowed: Collection[str] = ()
    emptied: Mapping[str, Sequence[PointsPlace]] | None = None


USUAL = Strictness()


def verdict(
    folder: Path,
    locate: Locate,
    served: Served,
    *,
    strictness: Strictness = USUAL,
    measured: Mapping[str, Measured] | None = None,
) -> Verdict:
    """Judges every tenant of the workload in ``folder``; nothing may write to them meanwhile."""
    description = folders.read(folder)
    servers = Servers(locate)
    try:
        tenants = tuple(
            _tenant(
                one,
                folders.logs(folder, index),
                place_of(folder, description, one, served),
                description=description,
                servers=servers,
                strictness=strictness,
                measured=(measured or {}).get(one.id),
            )
            for index, one in enumerate(description.tenants)
        )
    finally:
        servers.close()
    return Verdict(description.contract, str(folder), tenants)


def place_of(folder: Path, description: Description, tenant: Moved, served: Served) -> PointsPlace:
    """Where the application reads this tenant now."""
    if description.contract in ("dual", "reread"):
        return served(tenant.id) or tenant.place
    return folders.gates(folder, description.tenants)[tenant.id].place()


def _tenant(
    tenant: Moved,
    logs: Path,
    place: PointsPlace,
    *,
    description: Description,
    servers: Servers,
    strictness: Strictness,
    measured: Measured | None,
) -> TenantVerdict:
    history = fold(logs)
    case = Case(
        description.universe(tenant),
        history,
        place,
        exclusive=tenant.id in strictness.exclusive,
        single=tenant.id not in strictness.copies_allowed,
        emptied=(strictness.emptied or {}).get(tenant.id, ()),
        adopted=adopted.read(logs),
    )
    return TenantVerdict(
        tenant=tenant.id,
        name=tenant.name,
        place=place,
        points=sum(one.alive for one in history.last.values()),
        acknowledged=history.acknowledged,
        undecided=len(history.open),
        at_rest=judge(servers, case),
        while_running=_running(history),
        client_errors=dict(history.errors),
        second_writes_missing=dict(history.seconds_missing),
        measured=measured,
    )


def _running(history: History) -> WhileRunning:
    def finding(sort: str) -> Finding:
        return Finding(history.seen_counts[sort], tuple(history.seen.get(sort, ())))

    return WhileRunning(finding("lost"), finding("resurrected"), finding("stale"), finding("wrong"))
