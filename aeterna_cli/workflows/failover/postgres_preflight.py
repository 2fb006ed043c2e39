"""Whether PostgreSQL may be switched now, and to whom. Reads only."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from aeterna_cli.errors import AeternaError, UsageError
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.patroni import Member, PatroniView
from aeterna_cli.stores.base.replication import PrimaryFacts
from aeterna_cli.workflows.failover.component import ComponentStatus, Preflight, Request

if TYPE_CHECKING:
    from aeterna_cli.workflows.failover.postgres import PostgresComponent

_LONG = 60.0  # seconds; a transaction that is older is cut off by a switchover
_LAG = 1 << 20  # Patroni's own default of maximum_lag_on_failover


def preflight(component: "PostgresComponent", request: Request) -> Preflight:
    """Everything that is wrong is in the findings; ``UsageError('node_unknown')`` for ``to``."""
    from aeterna_cli.workflows.failover.postgres import leader_of, members_of

    views = component.patroni.views()
    members = members_of(views)
    status = component.status()
    leader = leader_of(members)
    facts = _primary(component, leader)
    if request.to is not None:
        require_known(request.to, [one.name for one in members])
    candidate = _candidate(request, members, facts, leader)
    findings = list(_common(views, members, status, request))
    if request.intent == "switchover":
        findings += _planned(component, leader, candidate, members, facts)
    else:
        findings += _unplanned(leader, candidate, request, status)
    return Preflight(
        component="postgres",
        status=status,
        leader=leader.name if leader else None,
        candidate=candidate.name if candidate else None,
        findings=tuple(findings),
        facts={
            "leader": leader.name if leader else None,
            "candidate": candidate.name if candidate else None,
            "timeline": facts.timeline if facts else None,
        },
    )


def require_known(name: str, known: Sequence[str]) -> None:
    if name not in known:
        close = get_close_matches(name, known, 3) or list(known)
        raise UsageError(
            "node_unknown",
            f"there is no node {name!r}",
            hint=f"did you mean {', '.join(close)}?" if close else "no node answers",
            next_steps=["aeterna-cli failover status"],
        )


def _primary(component: "PostgresComponent", leader: Member | None) -> PrimaryFacts | None:
    from aeterna_cli.stores.postgres_cluster import primary_facts

    if leader is None:
        return None
    try:
        return primary_facts(component.place.profile.postgres, leader.address)
    except AeternaError:
        return None  # the status says so


def _candidate(
    request: Request,
    members: Sequence[Member],
    facts: PrimaryFacts | None,
    leader: Member | None,
) -> Member | None:
    """Who is asked for, else the synchronous standby that is closest, else the closest replica."""
    if request.to is not None:
        return next(one for one in members if one.name == request.to)
    behind = {one.name: one.behind for one in facts.replicas} if facts else {}
    able = [
        one
        for one in members
        if one is not leader and one.state in ("running", "streaming") and not _barred(one.tags)
    ]
    ranked = sorted(
        able, key=lambda one: (one.role == "replica", behind.get(one.name, 1 << 62), one.name)
    )
    return ranked[0] if ranked else None


def _barred(tags: Mapping[str, Any]) -> bool:
    return bool(tags.get("nofailover")) or tags.get("failover_priority") == 0


def _common(
    views: Sequence[PatroniView],
    members: Sequence[Member],
    status: ComponentStatus,
    request: Request,
) -> Iterator[Finding]:
    if not members:
        yield _no("dcs_unreachable", "no node of Patroni answers with a cluster")
        return
    for one in status.findings:
        if one.code == "two_primaries":
            yield one
        elif one.code == "paused" and request.intent == "switchover":
            yield one  # an unplanned one may be what a paused Patroni waits for
    silent = [one.url for one in views if one.error]
    if len(silent) * 2 >= len(views):
        yield _no("no_majority", f"{len(silent)} of {len(views)} nodes do not answer")


def _planned(
    component: "PostgresComponent",
    leader: Member | None,
    candidate: Member | None,
    members: Sequence[Member],
    facts: PrimaryFacts | None,
) -> Iterator[Finding]:
    if leader is None:
        yield _no("no_leader", "nobody leads: this is a failover", "aeterna-cli failover run")
        return
    if facts is None:
        yield _no("primary_silent", f"PostgreSQL on {leader.name} does not answer")
        return
    if candidate is None:
        yield _no("no_candidate", "no replica may take over")
        return
    if candidate is leader:
        yield _no("already_primary", f"{leader.name} is the primary already")
        return
    yield from _able(component, candidate, members, facts)
    if facts.base_backups:
        yield _no("base_backup_running", "a base backup runs: it would be cut off")
    if facts.oldest_transaction > _LONG:
        text = f"a transaction of {facts.oldest_transaction:.0f} s will be cut off"
        yield Finding("long_transaction", "warning", leader.name, text)


def _able(
    component: "PostgresComponent",
    candidate: Member,
    members: Sequence[Member],
    facts: PrimaryFacts,
) -> Iterator[Finding]:
    name = candidate.name
    if _barred(candidate.tags):
        yield _no("candidate_barred", f"{name} has the tag nofailover", subject=name)
    position = next((one for one in facts.replicas if one.name == name), None)
    if position is None or position.state != "streaming":
        yield _no("candidate_not_streaming", f"{name} does not stream from the primary", name)
        return
    configuration = component.patroni.configuration()
    limit = int(configuration.get("maximum_lag_on_failover", _LAG))
    if position.behind > limit:
        text = f"{name} is {position.behind:,} bytes behind, {limit:,} are allowed"
        yield _no("candidate_lags", text, subject=name)
    if candidate.timeline not in (None, facts.timeline):
        yield _no("candidate_timeline", f"{name} is on timeline {candidate.timeline}", subject=name)
    synchronous = configuration.get("synchronous_mode")
    if synchronous and candidate.role not in ("sync_standby", "quorum_standby"):
        able = [one.name for one in members if one.role in ("sync_standby", "quorum_standby")]
        mend = f"--to {able[0]}" if able else "wait until a standby is synchronous"
        yield _no("candidate_asynchronous", f"{name} is no synchronous standby", mend, name)
    if _replay_paused(component, candidate):
        mend = "SELECT pg_wal_replay_resume()"
        yield _no("replay_paused", f"replay is paused on {name}", mend, name)


def _replay_paused(component: "PostgresComponent", candidate: Member) -> bool:
    from aeterna_cli.stores.postgres_cluster import recovering

    return recovering(component.place.profile.postgres, candidate.address)[1]


def _unplanned(
    leader: Member | None, candidate: Member | None, request: Request, status: ComponentStatus
) -> Iterator[Finding]:
    if candidate is None:
        yield _no("no_candidate", "no replica may take over")
        return
    if leader is not None and candidate is leader:
        yield _no("already_primary", f"{leader.name} is the primary already")
    elif leader is not None and _answers(status):
        mend = "aeterna-cli failover switchover"
        yield _no("primary_alive", f"{leader.name} leads and answers: switch it over", mend)
    elif not request.fenced:
        yield from _unfenced(leader, request, status)
    if _barred(candidate.tags):
        yield _no("candidate_barred", f"{candidate.name} has the tag nofailover")


def _unfenced(
    leader: Member | None, request: Request, status: ComponentStatus
) -> Iterator[Finding]:
    """A leader without its key stops itself where its Patroni lives: nobody can see that here."""
    bound = status.loss.bytes if status.loss is not None else None
    told = f"{bound:,} bytes" if bound is not None else "an unknown amount"
    if request.accept_loss is not None and (bound is None or bound <= request.accept_loss):
        text = f"{told} may be lost, and that was accepted"
        yield Finding("loss_accepted", "warning", "postgres", text)
        return
    who = leader.name if leader is not None else "the old primary"
    mend = "set failover.fence in the profile, or --accept-loss BYTES"
    text = f"nothing proves that {who} cannot write any more; {told} may be lost"
    yield _no("not_fenced", text, mend)


def _answers(status: ComponentStatus) -> bool:
    return not any(one.code == "primary_silent" for one in status.findings)


def _no(code: str, message: str, mend: str = "", subject: str = "postgres") -> Finding:
    return Finding(code, "error", subject, message, mend)
