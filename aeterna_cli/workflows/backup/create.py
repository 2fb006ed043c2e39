"""``backup create``: one backup id, one recovery point over all stores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aeterna_cli.context import Context
from aeterna_cli.operations.lease import LeaseRequest
from aeterna_cli.operations.plan import Danger, Plan, Step
from aeterna_cli.operations.runner import execute
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import human_bytes, human_seconds
from aeterna_cli.stores.base.server_control import StoreName
from aeterna_cli.workflows import words
from aeterna_cli.workflows.backup.preflight import Preflight, preflight
from aeterna_cli.workflows.backup.running import RunningBackup
from aeterna_cli.workflows.leases import BACKUPS, RESTORE


@dataclass(frozen=True)
class Options:
    """What was asked for. ``rate_limit`` is bytes per second over all stores, 0 for none. Without
    ``digests`` no row of PostgreSQL is read: a restore then has nothing to compare rows with."""

    stores: tuple[StoreName, ...]
    labels: Mapping[str, str]
    note: str
    rate_limit: int
    digests: bool = True


@dataclass(frozen=True)
class Created:
    """One committed backup. Bytes are before and after compression and encryption; seconds are
    the whole command's; ``skew_milliseconds`` is how far a store's image may lie before the
    recovery point."""

    backup: str
    operation: str
    recovery_point: datetime
    lsn: str | None
    plain_bytes: int
    stored_bytes: int
    seconds: float
    skew_milliseconds: Mapping[str, int]
    counts: Mapping[str, int | None]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Planned:
    """What a dry run would do. ``estimated_bytes`` are before compression, as the stores tell."""

    stores: tuple[StoreName, ...]
    location: str
    estimated_bytes: int
    identities: Mapping[str, str | None]
    versions: Mapping[str, str]


def options(
    stores: Sequence[str] | None,
    labels: Sequence[str] | None,
    note: str,
    rate_limit: str,
    *,
    digests: bool = True,
) -> Options:
    return Options(
        words.stores(stores), words.labels(labels), note, words.size(rate_limit), digests
    )


def plan(ctx: Context, asked: Options, backup: RunningBackup, ready: Preflight) -> Plan:
    """What will be done. So far the stores were only asked who they are."""
    steps = [
        Step("keys", backup.make_keys, note="an identity for this backup, wrapped"),
        *([Step("postgres", backup.capture_postgres)] if "postgres" in asked.stores else []),
        Step("markers", backup.start_markers, note="a numbered marker every 200 ms"),
        Step("images", backup.capture_images, note="Redis and Qdrant at once"),
        Step("recovery-point", backup.reach_recovery_point),
        Step("manifest", backup.commit, note="the commit mark, written last"),
    ]
    return Plan(
        kind="backup.create",
        summary=f"back up {', '.join(asked.stores)} of {ctx.profile_name}",
        target=ctx.deployment.id,
        danger=Danger.READ,
        facts=ready.as_facts(),
        steps=tuple(steps),
        leases=(LeaseRequest(BACKUPS), LeaseRequest(RESTORE, shared=True)),
        restartable=False,
        notes=ready.notes,
    )


def run(ctx: Context, asked: Options) -> Result:
    """A committed backup, or none that is listed; see ``runbooks/backup.md`` for the exit codes."""
    ready = preflight(ctx.deployment, asked.stores)
    with RunningBackup(ctx, asked, ready) as backup:
        outcome = execute(plan(ctx, asked, backup, ready), ctx.run_environment())
        if outcome.dry_run:
            return _dry(ctx, asked, ready)
        ctx.deployment.pins.record(ready.identities)
        done = backup.summary(outcome.operation, outcome.seconds)
    return Result("aeterna.backup.create/1", done, lambda: _view(done))


def _dry(ctx: Context, asked: Options, ready: Preflight) -> Result:
    place = ctx.deployment.objects.description
    would = Planned(asked.stores, place, ready.estimated_bytes, ready.identities, ready.versions)
    size = human_bytes(would.estimated_bytes)
    text = f"would back up {', '.join(would.stores)} ({size}) to {place}"
    return Result("aeterna.backup.create.planned/1", would, lambda: text)


def _view(done: Created) -> str:
    skew = ", ".join(f"{store} {value} ms" for store, value in done.skew_milliseconds.items())
    counts = ", ".join(
        f"{count:,} {what}" if count is not None else f"unknown {what}"
        for what, count in done.counts.items()
    )
    lines = [
        f"backup {done.backup}",
        f"  recovery point {done.recovery_point.isoformat(timespec='milliseconds')}"
        + (f" at {done.lsn}" if done.lsn else ""),
        f"  stored         {human_bytes(done.stored_bytes)} of {human_bytes(done.plain_bytes)}"
        f" in {human_seconds(done.seconds)}",
        f"  holds          {counts}",
        *([f"  skew at most   {skew}"] if skew else []),
        *(f"  note: {note}" for note in done.notes),
        f"  next: aeterna-cli backup verify {done.backup}",
    ]
    return "\n".join(lines)
