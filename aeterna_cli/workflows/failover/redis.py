"""Redis under Sentinels as a component. A node is called by its address: Redis gives no names."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import AeternaError, AuthenticationError, RefusedError
from aeterna_cli.settings import RedisSettings
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.sentinel import Address, SentinelView
from aeterna_cli.stores.redis_node import RedisNode
from aeterna_cli.workflows.failover.component import (
    ComponentName,
    ComponentStatus,
    Loss,
    Node,
    Preflight,
    Request,
    Stage,
)

Asked = RedisNode | str  # or why it did not answer


def named(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class RedisComponent:
    """See ``component.Component`` for the promises."""

    name: ComponentName = "redis"

    def __init__(self, place: Deployment) -> None:
        """``RefusedError('not_sentinel')`` where the profile names no Sentinels."""
        self.place = place
        if not place.profile.redis.sentinels:
            raise RefusedError(
                "not_sentinel",
                f"the profile {place.name} names no Sentinels (redis.sentinels)",
                hint="a single server has nobody to switch to; a managed one has its own console",
            )

    @property
    def settings(self) -> RedisSettings:
        return self.place.profile.redis

    def close(self) -> None:
        """Nothing is kept open."""

    def views(self) -> tuple[SentinelView, ...]:
        """``AuthenticationError`` where every Sentinel refuses our login."""
        from aeterna_cli.stores.sentinel import primary_address, views

        found = views(self.settings)
        if all(one.error for one in found):
            primary_address(self.settings)  # says why, in the right kind of error
        return found

    def nodes(self, views: Sequence[SentinelView]) -> dict[Address, Asked]:
        """Every server that a Sentinel knows, asked as itself."""
        addresses = sorted({one for view in views for one in _addresses(view)})
        with ThreadPoolExecutor(max(1, len(addresses)), "redis") as threads:
            return dict(zip(addresses, threads.map(self._ask, addresses), strict=True))

    def _ask(self, address: Address) -> Asked:
        from aeterna_cli.stores.redis_node import node

        try:
            return node(self.settings, address)
        except AuthenticationError:
            raise
        except AeternaError as error:
            return error.message

    # -- what is

    def status(self) -> ComponentStatus:
        try:
            views = self.views()
        except AuthenticationError:
            raise
        except AeternaError as error:
            silent = Finding(error.code, "error", "redis", error.message, error.hint)
            return ComponentStatus("redis", (), None, (silent,))
        return self.judged(views, self.nodes(views))

    def judged(self, views: Sequence[SentinelView], asked: dict[Address, Asked]) -> ComponentStatus:
        primary = agreed(views)
        serving = asked.get(primary) if primary else None
        lead = serving if isinstance(serving, RedisNode) else None
        replicas = [_node(address, one, primary, lead) for address, one in asked.items()]
        return ComponentStatus(
            component="redis",
            nodes=(*replicas, *(_sentinel(one) for one in views)),
            primary=named(primary) if primary else None,
            findings=tuple(self._findings(views, asked, primary)),
            loss=loss_now(primary, asked),
            facts={"name": self.settings.sentinel_name, "epoch": max(one.epoch for one in views)},
        )

    def _findings(
        self,
        views: Sequence[SentinelView],
        asked: dict[Address, Asked],
        primary: Address | None,
    ) -> Iterable[Finding]:
        wanted = self.place.profile.failover
        yield from _of_sentinels(views, wanted.sentinels)
        if primary is None:
            names = {named(view.primary) for view in views if view.primary is not None}
            yield _no(
                "sentinels_disagree", f"Sentinels name {', '.join(sorted(names)) or 'nobody'}"
            )
        masters = [named(one.address) for one in _living(asked) if one.primary]
        if len(masters) > 1:
            text = f"{' and '.join(masters)} all say that they are the primary"
            yield _no("two_primaries", text)
        if primary is not None and named(primary) not in masters:
            yield _no("primary_silent", f"{named(primary)} does not answer as a primary")
        for address, one in asked.items():
            if isinstance(one, str):
                yield _no("node_silent", one, named(address))
            elif not one.primary and not one.link_up:
                yield _no("link_down", "has no link to its primary", named(address))
        if len(_living(asked)) < wanted.redis_members:
            text = f"{len(_living(asked))} of {wanted.redis_members} servers answer"
            yield _no("members_missing", text)

    def new_primary(self) -> str | None:
        views = self.views()
        masters = [one for one in _living(self.nodes(views)) if one.primary]
        found = agreed(views)
        if found is None or [one.address for one in masters] != [found]:
            return None
        return named(found)

    # -- what may be done

    def preflight(self, request: Request) -> Preflight:
        from aeterna_cli.workflows.failover.redis_preflight import preflight

        return preflight(self, request)

    def stages(self, request: Request, found: Preflight) -> tuple[Stage, ...]:
        from aeterna_cli.workflows.failover.redis_stages import stages

        return stages(self, request, found)


def agreed(views: Sequence[SentinelView]) -> Address | None:
    """Whom every Sentinel that answers calls the primary; None where they differ."""
    names = {one.primary for one in views if one.primary is not None}
    return names.pop() if len(names) == 1 else None


def _addresses(view: SentinelView) -> set[Address]:
    found = {one.address for one in view.replicas}
    return found | {view.primary} if view.primary is not None else found


def _living(asked: dict[Address, Asked]) -> list[RedisNode]:
    return [one for one in asked.values() if isinstance(one, RedisNode)]


def _of_sentinels(views: Sequence[SentinelView], wanted: int) -> Iterable[Finding]:
    for one in views:
        if one.error:
            yield _no("sentinel_silent", one.error, one.address)
        elif not one.usable:
            yield _no("no_quorum", one.quorum, one.address)
        elif one.others < wanted - 1:
            text = f"knows {one.others} other Sentinels, {wanted - 1} are wanted"
            yield Finding("sentinels_unknown", "warning", one.address, text)
        if {"failover_in_progress", "o_down", "s_down"} & one.flags:
            yield _no("failover_under_way", f"says {', '.join(sorted(one.flags))}", one.address)


def _node(address: Address, one: Asked, primary: Address | None, lead: RedisNode | None) -> Node:
    if isinstance(one, str):
        return Node(named(address), named(address), "unknown", one, healthy=False)
    behind = max(0, lead.offset - one.offset) if lead is not None and not one.primary else None
    seconds = one.facts.get("master_last_io_seconds_ago")
    return Node(
        name=named(address),
        address=named(address),
        role="primary" if one.primary else "replica",
        state="serving" if one.primary else ("linked" if one.link_up else "link down"),
        healthy=address == primary if one.primary else one.link_up,
        lag_bytes=0 if one.primary else behind,
        lag_seconds=0.0 if one.primary else float(seconds) if seconds else None,
        facts={"version": f"{one.flavour} {one.version}"},
    )


def _sentinel(one: SentinelView) -> Node:
    state = one.error or one.quorum
    return Node(one.address, one.address, "sentinel", state, healthy=one.usable)


def loss_now(primary: Address | None, asked: dict[Address, Asked]) -> Loss:
    """What of acknowledged writes would be gone if the primary died now: at least what the closest
    replica lacks, for replication is asynchronous."""
    lead = asked.get(primary) if primary else None
    replicas = [one for one in _living(asked) if not one.primary and one.link_up]
    if not isinstance(lead, RedisNode):
        return Loss(None, None, False, "nobody can tell: the primary does not answer")
    if not replicas:
        return Loss(None, None, False, "everything since the last backup: no replica is linked")
    best = max(replicas, key=lambda one: one.offset)
    behind = max(0, lead.offset - best.offset)
    text = f"about {behind:,} bytes that {named(best.address)} does not have yet: asynchronous"
    return Loss(behind, None, False, text)


def _no(code: str, message: str, subject: str = "redis") -> Finding:
    return Finding(code, "error", subject, message)
