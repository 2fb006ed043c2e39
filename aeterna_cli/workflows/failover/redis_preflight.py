"""Whether Redis may be switched now, and how. Reads only.

A plain ``SENTINEL FAILOVER`` looks perfect and loses what was written in ten seconds: it is no
planned way. Source: measured; valkey#1238, valkey#1292.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.sentinel import Address, SentinelView
from aeterna_cli.stores.redis_node import RedisNode, can_coordinate
from aeterna_cli.workflows.failover.component import ComponentStatus, Preflight, Request
from aeterna_cli.workflows.failover.postgres_preflight import require_known

if TYPE_CHECKING:
    from aeterna_cli.workflows.failover.redis import RedisComponent

#: bytes that a replica may be behind where a switchover begins
NEAR = 1 << 20
#: What a switchover does not survive, of what a status finds.
_FORBIDS = frozenset(
    {
        "sentinels_disagree",
        "two_primaries",
        "primary_silent",
        "link_down",
        "node_silent",
        "sentinel_silent",
        "no_quorum",
        "failover_under_way",
        "sentinel_unreachable",
    }
)


def preflight(component: "RedisComponent", request: Request) -> Preflight:
    """Everything that is wrong is in the findings; ``UsageError('node_unknown')`` for ``to``."""
    from aeterna_cli.workflows.failover.redis import agreed, named

    views = component.views()
    asked = component.nodes(views)
    status = component.judged(views, asked)
    primary = agreed(views)
    nodes = {named(address): one for address, one in asked.items() if isinstance(one, RedisNode)}
    if request.to is not None:
        require_known(request.to, [named(address) for address in asked])
    lead = nodes.get(named(primary)) if primary else None
    candidate = request.to or _closest(nodes)
    if request.intent == "switchover":
        findings = list(_planned(status, lead, nodes, candidate))
    else:
        findings = list(_unplanned(status, lead, views, candidate, request))
    way = _way(lead, views) if request.intent == "switchover" else "plain"
    return Preflight(
        component="redis",
        status=status,
        leader=named(primary) if primary else None,
        candidate=request.to,  # else the Sentinels choose
        findings=tuple(findings),
        facts={
            "leader": named(primary) if primary else None,
            "to": request.to,
            "way": way,
            "sentinels": [one.address for one in views if not one.error],
        },
    )


def _way(lead: RedisNode | None, views: Sequence[SentinelView]) -> str:
    """``coordinated`` where the server and every Sentinel know how, else ``paused``."""
    if lead is None or not can_coordinate(lead.version, lead.flavour):
        return "paused"
    return "coordinated"


def _closest(nodes: dict[str, RedisNode]) -> str | None:
    replicas = {name: one for name, one in nodes.items() if not one.primary and one.link_up}
    return max(replicas, key=lambda name: replicas[name].offset, default=None)


def _planned(
    status: ComponentStatus,
    lead: RedisNode | None,
    nodes: dict[str, RedisNode],
    candidate: str | None,
) -> Iterator[Finding]:
    yield from (one for one in status.findings if one.code in _FORBIDS)
    if lead is None:
        if not any(one.code == "primary_silent" for one in status.findings):
            yield _no("primary_silent", "the primary does not answer: this is a failover")
        return
    if candidate is None:
        yield _no("no_candidate", "no replica is linked: nobody can take over")
        return
    if nodes[candidate].primary if candidate in nodes else False:
        yield _no("already_primary", f"{candidate} is the primary already")
        return
    for name, one in nodes.items():
        behind = lead.offset - one.offset
        if not one.primary and behind > NEAR:
            yield _no("candidate_lags", f"{name} is {behind:,} bytes behind")


def _unplanned(
    status: ComponentStatus,
    lead: RedisNode | None,
    views: Sequence[SentinelView],
    candidate: str | None,
    request: Request,
) -> Iterator[Finding]:
    if lead is not None and lead.primary:
        mend = "aeterna-cli failover switchover --component redis"
        yield Finding("primary_alive", "error", "redis", "the primary answers", mend)
    if candidate is None:
        yield _no("no_candidate", "no replica answers: nobody can take over")
    if not any(one.usable for one in views):
        yield _no("no_quorum", "no Sentinel could agree on a failover with the others")
    if not request.fenced and request.accept_loss is None:
        text = f"nothing proves that the old primary cannot write; {_lost(status)}"
        mend = "set failover.fence in the profile, or --accept-loss BYTES"
        yield Finding("not_fenced", "error", "redis", text, mend)


def _lost(status: ComponentStatus) -> str:
    return f"lost would be {status.loss.message}" if status.loss else "how much is lost is unknown"


def _no(code: str, message: str) -> Finding:
    return Finding(code, "error", "redis", message)


def address_of(name: str) -> Address:
    """The other way round of ``redis.named``."""
    from aeterna_cli.stores.addresses import split_address

    return split_address(name, 6379)
