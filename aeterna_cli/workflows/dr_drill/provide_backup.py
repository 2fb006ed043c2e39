"""Providers about backups: take one, store WAL, make data wrong, bring it back beside the real."""

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from aeterna_cli.context import Context
from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import AeternaError, ConflictError, FailedError, RefusedError
from aeterna_cli.workflows.dr_drill.limits import Limit
from aeterna_cli.workflows.dr_drill.restored import Restoring
from aeterna_cli.workflows.dr_drill.scenario import STORES, Part, StoreName
from aeterna_cli.workflows.dr_drill.surroundings import RestoredStore, Surroundings
from aeterna_cli.workflows.dr_drill.writers import open_markers


class Nothing(Part):
    """No arguments."""


class Create(Part):
    stores: Annotated[list[StoreName], Field(default=list(STORES), min_length=1)]


class Restore(Part):
    """``backup``: ``latest``, ``drill`` (the last one that this drill took), ``random`` or an id.
    ``at`` is for PostgreSQL: ``random`` between the backup and the failure, or
    ``before-corruption``. ``into`` is a profile of other servers; without it servers are started
    beside the real ones, that only this drill can reach."""

    backup: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,40}$")] = "latest"
    stores: Annotated[list[StoreName], Field(min_length=1)]
    at: Literal["random", "before-corruption"] | None = None
    into: Annotated[str, Field(max_length=100)] | None = None


def repository_reachable(around: Surroundings, _asked: Nothing, _limit: Limit) -> Any:
    """True where the repository gives its own description; its errors say why not."""
    from aeterna_cli.repository import layout

    around.ctx.deployment.objects.read(layout.REPOSITORY)
    return True


def create(around: Surroundings, asked: Create, limit: Limit) -> Any:
    """The id of a committed backup."""
    from aeterna_cli.workflows.backup import create as creating

    options = creating.options(asked.stores, [f"drill={around.drill}"], "", "0")
    done = creating.run(around.limited(limit), options).data
    around.backups.append(done.backup)
    return {"backup": done.backup, "recovery_point": done.recovery_point.isoformat(),
            "seconds": round(done.seconds, 3)}  # fmt: skip


def store_wal(around: Surroundings, _asked: Nothing, limit: Limit) -> Any:
    """Everything that PostgreSQL has written until now is in the repository."""
    from aeterna_cli.workflows.backup import wal_receive

    try:
        done = wal_receive.run(around.limited(limit), until_idle=True).data
    except ConflictError as error:
        if error.code != "lease_held":
            raise
        return {"by": "the receiver that is at work here"}
    return {"position": done.position, "bytes": done.received_bytes}


def corrupt_markers(around: Surroundings, _asked: Nothing, _limit: Limit) -> Any:
    """The drill's own rows are made wrong, as a bad deployment would; nobody else's are touched."""
    from aeterna_cli.stores.drill_postgres import PostgresMarkers

    markers = PostgresMarkers(around.ctx.profile.postgres, around.drill, 10)
    try:
        before, changed = markers.corrupt()
    finally:
        markers.close()
    if not changed:
        raise FailedError("fault_without_effect", "there was no marker to make wrong")
    around.corrupted_at = before
    return {"rows": changed, "before": before.isoformat()}


def restore(around: Surroundings, asked: Restore, limit: Limit) -> Any:
    """Every store is back beside the real one, compared, and its markers were read.

    ``FailedError('drill_restore_failed')`` where one did not come back or is not what the
    manifest says.
    """
    target = segregated(around.ctx, asked.into)
    ctx = around.limited(limit)
    restoring = Restoring(ctx, around.drill, _backup(around, asked.backup), asked.stores)
    moment = _moment(around, asked, restoring)
    if target is not None:
        found, findings = restoring.into(target)
    else:
        found, findings = restoring.scratch(moment)
    at = None if moment is None else moment.timestamp()
    skew = _skew(around) if moment is not None else 0.0
    for store, numbers in found.items():
        around.restored.append(
            RestoredStore(
                store, numbers, time.monotonic(), at if store == "postgres" else None, skew,
                restoring.backup, restoring.checks.get(store, {}),
            )
        )  # fmt: skip
    if findings:
        raise FailedError(
            "drill_restore_failed", f"the restored copy is not good: {'; '.join(findings[:5])}"
        )
    return {"backup": restoring.backup, "stores": list(found),
            "at": moment.isoformat() if moment else None, "checks": restoring.checks}  # fmt: skip


def segregated(ctx: Context, into: str | None) -> Deployment | None:
    """The deployment to restore into, None for servers of our own.

    ``RefusedError('drill_target_not_segregated')`` where any of it is the real one's.
    """
    if into is None:
        return None
    real, other = ctx.deployment, ctx.deployment_of(into)
    shared = sorted(_places(real) & _places(other))
    if shared or other.name == real.name:
        raise RefusedError(
            "drill_target_not_segregated",
            f"the profile {into!r} is no place to restore a drill into:"
            f" it has {', '.join(shared) or 'the same name'} in common with {real.name}",
            hint="a drill never restores over what it is a drill for",
        )
    if other.profile.environment == "production":
        raise RefusedError(
            "drill_target_not_segregated", f"the profile {into!r} is a production profile"
        )
    return other


def _places(one: Deployment) -> set[str]:
    profile = one.profile
    nodes = profile.postgres.hosts or (f"{profile.postgres.host}:{profile.postgres.port}",)
    caches = profile.redis.sentinels or (f"{profile.redis.host}:{profile.redis.port}",)
    return {
        *(f"PostgreSQL {node}" for node in nodes),
        *(f"Redis {node}" for node in caches),
        *(f"Qdrant {url}" for url in (profile.qdrant.url, *profile.qdrant.peers)),
    }


def _backup(around: Surroundings, word: str) -> str:
    if word == "drill":
        if not around.backups:
            raise FailedError("no_backup_of_this_drill", "this drill has taken no backup yet")
        return around.backups[-1]
    if word != "random":
        return word
    from aeterna_cli.workflows.backup.list import GOOD
    from aeterna_cli.workflows.backup.list import run as listed

    found = [one.backup for one in listed(around.ctx, False).data
             if one.state in GOOD and one.scope is None]  # fmt: skip
    if not found:
        raise RefusedError("no_backups", "there is no backup to restore")
    chosen = str(around.random.choice(sorted(found)))
    around.say("backup_chosen", backup=chosen, of=len(found))
    return chosen


def _moment(around: Surroundings, asked: Restore, restoring: Restoring) -> datetime | None:
    if asked.at is None:
        return None
    if asked.at == "before-corruption":
        if around.corrupted_at is None:
            raise FailedError("nothing_corrupted", "this drill has made nothing wrong yet")
        return around.corrupted_at
    first, last = restoring.recovery_point, _last_moment(around)
    if last <= first:
        raise FailedError("no_moment_to_restore", "nothing was written after the backup")
    chosen = first + timedelta(seconds=around.random.uniform(0, (last - first).total_seconds()))
    around.say("moment_chosen", moment=chosen.isoformat(), first=first.isoformat(),
               last=last.isoformat())  # fmt: skip
    return chosen


def _last_moment(around: Surroundings) -> datetime:
    """The time of the last acknowledged marker: recovery needs a commit behind its moment."""
    from aeterna_cli.workflows.dr_drill.marker_log import log_name, read

    events = read(around.folder / log_name("postgres")).acknowledged
    if not events:
        raise FailedError("no_moment_to_restore", "no marker was acknowledged")
    return datetime.fromtimestamp(max(one.wall for one in events.values()) - 0.5, UTC)


def _skew(around: Surroundings) -> float:
    """How far PostgreSQL's clock may lie from ours, in seconds."""
    markers = open_markers(around.ctx.profile, "postgres", around.drill, 10)
    try:
        asked = time.time()
        theirs = markers.clock().timestamp()  # type: ignore[attr-defined]
        answered = time.time()
    except AeternaError:
        return 1.0
    finally:
        markers.close()
    return float(max(abs(theirs - asked), abs(theirs - answered)))
