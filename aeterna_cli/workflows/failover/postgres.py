"""PostgreSQL under Patroni as a component: its nodes, what is wrong with them, what would be lost.

Patroni says who leads and who may; how far replicas are, PostgreSQL says itself. Both are asked,
and where they disagree that is told.
"""

from collections import Counter
from collections.abc import Sequence

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import AeternaError, AuthenticationError, RefusedError
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.patroni import Member, PatroniView
from aeterna_cli.stores.base.replication import PrimaryFacts
from aeterna_cli.stores.patroni import Patroni, living
from aeterna_cli.workflows.failover.component import (
    ComponentName,
    ComponentStatus,
    Loss,
    Node,
    Preflight,
    Request,
    Role,
    Stage,
)

_ROLES: dict[str, Role] = {
    "leader": "primary",
    "master": "primary",
    "standby_leader": "standby-leader",
    "sync_standby": "synchronous",
    "quorum_standby": "synchronous",
    "replica": "replica",
}
_RUNNING = ("running", "streaming", "in archive recovery")


class PostgresComponent:
    """See ``component.Component`` for the promises."""

    name: ComponentName = "postgres"

    def __init__(self, place: Deployment) -> None:
        """``RefusedError('not_patroni')`` where the profile names no Patroni."""
        self.place = place
        if not place.profile.patroni.urls:
            raise RefusedError(
                "not_patroni",
                f"the profile {place.name} names no Patroni (patroni.urls)",
                hint="a managed service or CloudNativePG is switched by its own console or operator"
                " (kubectl cnpg promote); this tool does not touch it",
            )
        self.patroni = Patroni(place.profile.patroni)

    def close(self) -> None:
        """Nothing is kept open."""

    # -- what is

    def status(self) -> ComponentStatus:
        views = self.patroni.views()
        members = members_of(views)
        leader = leader_of(members)
        facts, trouble = self._asked(leader)
        nodes = tuple(_node(one, views, facts) for one in members)
        findings = (*self._topology(views, members, facts), *trouble)
        return ComponentStatus(
            component=self.name,
            nodes=nodes,
            primary=leader.name if leader else None,
            findings=findings,
            loss=loss_now(facts),
            facts=self._facts(views, facts),
        )

    def _asked(self, leader: Member | None) -> tuple[PrimaryFacts | None, list[Finding]]:
        from aeterna_cli.stores.postgres_cluster import primary_facts

        if leader is None:
            return None, []
        try:
            return primary_facts(self.place.profile.postgres, leader.address), []
        except AuthenticationError:
            raise
        except AeternaError as error:
            text = f"Patroni calls it the leader, but PostgreSQL does not answer: {error.message}"
            return None, [Finding("primary_silent", "error", leader.name, text)]

    def _facts(self, views: Sequence[PatroniView], facts: PrimaryFacts | None) -> dict[str, object]:
        found: dict[str, object] = {"paused": any(one.paused for one in views)}
        scopes = sorted({one.scope for one in views if one.scope})
        if scopes:
            found["scope"] = scopes[0]
        if facts is not None:
            found |= {"position": facts.position, "timeline": facts.timeline}
            found["slots"] = [
                {"name": name, "active": active, "kept_bytes": kept}
                for name, active, kept in facts.slots
            ]
        return found

    def _topology(
        self,
        views: Sequence[PatroniView],
        members: Sequence[Member],
        facts: PrimaryFacts | None,
    ) -> list[Finding]:
        """How this differs from what the profile wants."""
        wanted = self.place.profile.failover
        found = [
            Finding("node_silent", "error", one.url, f"Patroni there {one.error}")
            for one in views
            if one.error
        ]
        if not living(views):
            return found
        leaders = [one.name for one in members if one.leads]
        if len(leaders) != 1:
            said = ", ".join(leaders) or "nobody"
            found.append(Finding("leader_unclear", "error", "postgres", f"{said} leads"))
        if {one.role for one in living(views)} >= {"primary", "master"} or _primaries(views) > 1:
            text = "more than one node says that it is the primary: fence one before anything else"
            found.append(Finding("two_primaries", "error", "postgres", text))
        healthy = [one for one in members if one.state in _RUNNING]
        if len(healthy) < wanted.postgres_members:
            text = f"{len(healthy)} of {wanted.postgres_members} members run"
            found.append(Finding("members_missing", "error", "postgres", text))
        synchronous = [one for one in members if _ROLES.get(one.role) == "synchronous"]
        if len(synchronous) < wanted.postgres_synchronous:
            text = f"{len(synchronous)} of {wanted.postgres_synchronous} synchronous standbys"
            found.append(Finding("synchronous_missing", "error", "postgres", text))
        if any(one.paused for one in views):
            text = "Patroni is paused: it will not fail over by itself"
            mend = "patronictl resume"
            found.append(Finding("paused", "error", "postgres", text, mend))
        return [*found, *self._wal(facts)]

    def _wal(self, facts: PrimaryFacts | None) -> list[Finding]:
        """Whether WAL leaves the primary, by an archiver or by our receiver's slot."""
        if facts is None:
            return []
        found = []
        if facts.archiver_failing:
            text = "the last attempt to archive WAL failed"
            found.append(Finding("archiver_failing", "error", "postgres", text))
        slot = self.place.profile.postgres.receiver_slot
        known = {name: active for name, active, _ in facts.slots}
        if slot not in known:
            text = f"the slot {slot} does not exist on the primary: no WAL is received"
            mend = "name it under slots: in Patroni's configuration; Patroni drops unknown slots"
            found.append(Finding("slot_missing", "warning", "postgres", text, mend))
        elif not known[slot]:
            text = f"nobody reads WAL from the slot {slot}"
            mend = "aeterna-cli backup wal receive"
            found.append(Finding("wal_not_received", "warning", "postgres", text, mend))
        return found

    def new_primary(self) -> str | None:
        from aeterna_cli.stores.postgres_cluster import recovering

        members = members_of(self.patroni.views())
        found = []
        for one in members:
            try:
                if not recovering(self.place.profile.postgres, one.address)[0]:
                    found.append(one.name)
            except AuthenticationError:
                raise
            except AeternaError:
                continue
        return found[0] if len(found) == 1 else None

    # -- what may be done

    def preflight(self, request: Request) -> Preflight:
        from aeterna_cli.workflows.failover.postgres_preflight import preflight

        return preflight(self, request)

    def stages(self, request: Request, found: Preflight) -> tuple[Stage, ...]:
        from aeterna_cli.workflows.failover.postgres_stages import stages

        return stages(self, request, found)


def members_of(views: Sequence[PatroniView]) -> tuple[Member, ...]:
    """As most nodes that answer see them; by name."""
    seen = [tuple(sorted(one.members, key=lambda member: member.name)) for one in living(views)]
    counted = Counter(map(_roles, seen))
    return max(seen, key=lambda members: counted[_roles(members)], default=())


def _roles(members: Sequence[Member]) -> tuple[tuple[str, str], ...]:
    return tuple((one.name, one.role) for one in members)


def leader_of(members: Sequence[Member]) -> Member | None:
    found = [one for one in members if one.leads]
    return found[0] if len(found) == 1 else None


def _primaries(views: Sequence[PatroniView]) -> int:
    return sum(one.role in ("primary", "master") for one in living(views))


def _node(member: Member, views: Sequence[PatroniView], facts: PrimaryFacts | None) -> Node:
    view = next((one for one in living(views) if one.name == member.name), None)
    replicas = facts.replicas if facts is not None else ()
    position = next((one for one in replicas if one.name == member.name), None)
    role = _ROLES.get(member.role, "unknown")
    leads = role in ("primary", "standby-leader")
    healthy = member.state in _RUNNING and view is not None and (leads or position is not None)
    return Node(
        name=member.name,
        address=member.address,
        role=role,
        state=member.state if view is not None else f"{member.state}, its Patroni is silent",
        healthy=healthy,
        lag_bytes=0 if leads else (position.behind if position else None),
        lag_seconds=0.0 if leads else (position.seconds if position else None),
        timeline=member.timeline,
        facts={"tags": dict(member.tags)} if member.tags else {},
    )


def loss_now(facts: PrimaryFacts | None) -> Loss:
    """What of acknowledged commits would be gone if the primary died now."""
    if facts is None:
        return Loss(None, None, False, "nobody can tell: the primary does not answer")
    streaming = [one for one in facts.replicas if one.state == "streaming"]
    if any(one.synchronous for one in streaming):
        return Loss(0, 0.0, True, "nothing: every commit waits for a synchronous standby")
    if not streaming:
        return Loss(None, None, False, "everything since the last backup: no replica streams")
    best = min(streaming, key=lambda one: one.behind)
    text = f"up to {best.behind:,} bytes of WAL that {best.name} does not have yet"
    return Loss(best.behind, best.seconds, False, text)
