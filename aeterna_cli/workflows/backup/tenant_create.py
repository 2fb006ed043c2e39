"""``backup create --tenant-id``: one tenant out of every store, as one archive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aeterna_cli.context import Context
from aeterna_cli.datamap.privileges import require_readable
from aeterna_cli.errors import DegradedError, UsageError
from aeterna_cli.operations.lease import LeaseRequest
from aeterna_cli.operations.plan import Danger, Plan, Step
from aeterna_cli.operations.runner import execute
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import human_bytes, human_seconds
from aeterna_cli.stores.base.server_control import STORES
from aeterna_cli.workflows import leases, words
from aeterna_cli.workflows.backup.preflight import Preflight, preflight
from aeterna_cli.workflows.backup.tenant_running import RunningTenantBackup
from aeterna_cli.workflows.tenant.archive import STORE_OF
from aeterna_cli.workflows.tenant.whereabouts import Whereabouts, find

TENANT_STORES = (*STORES, "objects")


@dataclass(frozen=True)
class Options:
    """What was asked for. ``tenant`` is an id, a slug or a name; any text."""

    tenant: str
    stores: tuple[str, ...]
    labels: Mapping[str, str]
    note: str
    rate_limit: int


@dataclass(frozen=True)
class TenantCreated:
    """One committed backup of a tenant. ``counts`` are rows, points, keys and objects;
    ``degraded`` says what may be the tenant's and is not in it: then the exit code is 9."""

    backup: str
    operation: str
    tenant: str
    slug: str
    recovery_point: datetime
    lsn: str | None
    plain_bytes: int
    stored_bytes: int
    seconds: float
    counts: Mapping[str, int | None]
    degraded: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class TenantPlanned:
    """What a dry run would do."""

    tenant: str
    slug: str
    stores: tuple[str, ...]
    location: str
    tables: int


def options(
    tenant: str,
    stores: Sequence[str] | None,
    labels: Sequence[str] | None,
    note: str,
    rate_limit: str,
    *,
    digests: bool = True,
) -> Options:
    """The words of the command line; ``UsageError`` for what they may not say."""
    if not digests:
        raise UsageError(
            "option_for_whole_backups",
            "--no-digests cannot be used with --tenant-id: its digests are what a restore proves",
        )
    chosen = words.some_of(stores, TENANT_STORES)
    return Options(tenant, chosen, words.labels(labels), note, words.size(rate_limit))


def run(ctx: Context, asked: Options) -> Result:
    """A committed backup, or none that is listed.

    What may be the tenant's and cannot be classified is named in the manifest; the result is then
    printed and ``DegradedError('backup_incomplete')`` raised: half a rescue is better than none,
    and nobody is told that it is whole.
    """
    whereabouts = find(ctx.deployment, asked.tenant)
    ready = preflight(ctx.deployment, [one for one in STORES if one in asked.stores])
    if "postgres" in asked.stores:
        require_readable(whereabouts.map)
    with RunningTenantBackup(ctx, asked, ready, whereabouts) as backup:
        outcome = execute(plan(ctx, asked, backup, ready), ctx.run_environment())
        if outcome.dry_run:
            return _dry(ctx, asked, whereabouts)
        ctx.deployment.pins.record(ready.identities)
        done = _created(backup, outcome.operation, outcome.seconds)
    result = Result("aeterna.backup.create.tenant/1", done, lambda: _view(done))
    if done.degraded:
        ctx.out.result(result)
        raise DegradedError(
            "backup_incomplete",
            f"backup {done.backup} is good, but not all of the tenant may be in it:"
            f" {len(done.degraded)} things could not be classified",
            hint="each is named above and in the manifest; add a rule to a file of datamap.rules",
            next_steps=["aeterna-cli datamap check", "aeterna-cli backup create --tenant-id ..."],
            operation=done.operation,
            details={"backup": done.backup, "degraded": list(done.degraded)},
        )
    return result


def plan(ctx: Context, asked: Options, backup: RunningTenantBackup, ready: Preflight) -> Plan:
    """Rows come last: their snapshot is the recovery point, behind what was read by scroll."""
    tenant = backup.whereabouts.tenant
    steps = {
        "points": Step("points", backup.capture_points, note="every point with its vectors"),
        "keys": Step("keys", backup.capture_keys, note="with the moment at which each expires"),
        "objects": Step("objects", backup.capture_objects),
        "rows": Step("rows", backup.capture_rows, note="by COPY under one snapshot"),
    }
    return Plan(
        kind="backup.create.tenant",
        summary=f"back up tenant {tenant.slug!r} of {ctx.profile_name}",
        target=tenant.id,
        danger=Danger.READ,
        facts={**ready.as_facts(), "tenant": tenant.id},
        steps=(
            Step("identity", backup.make_keys, note="an identity for this backup, wrapped"),
            *(step for name, step in steps.items() if STORE_OF[name] in asked.stores),
            Step("manifest", backup.commit, note="the commit mark, written last"),
        ),
        leases=(
            LeaseRequest(leases.tenant(tenant.id), shared=True),
            LeaseRequest(leases.RESTORE, shared=True),
        ),
        restartable=False,
        notes=ready.notes,
    )


def _dry(ctx: Context, asked: Options, whereabouts: Whereabouts) -> Result:
    tenant, place = whereabouts.tenant, ctx.deployment.objects.description
    tables = len(whereabouts.map.of_tenants)
    would = TenantPlanned(tenant.id, tenant.slug, asked.stores, place, tables)
    text = f"would back up tenant {tenant.slug!r} ({tenant.id}) out of {', '.join(asked.stores)}"
    return Result("aeterna.backup.create.tenant.planned/1", would, lambda: f"{text} to {place}")


def _created(backup: RunningTenantBackup, operation: str, seconds: float) -> TenantCreated:
    from aeterna_cli.workflows.backup.describe import counts_of

    manifest, tenant = backup.manifest, backup.whereabouts.tenant
    assert manifest is not None  # noqa: S101 - every step succeeded
    return TenantCreated(
        backup=manifest.backup,
        operation=operation,
        tenant=tenant.id,
        slug=tenant.slug,
        recovery_point=manifest.recovery_point.time,
        lsn=manifest.recovery_point.lsn,
        plain_bytes=manifest.plain_bytes,
        stored_bytes=manifest.stored_bytes,
        seconds=seconds,
        counts=counts_of(manifest),
        degraded=manifest.degraded,
        notes=backup.ready.notes,
    )


def _view(done: TenantCreated) -> str:
    counts = ", ".join(f"{count:,} {what}" for what, count in done.counts.items())
    lines = [
        f"backup {done.backup} of tenant {done.slug!r} ({done.tenant})",
        f"  recovery point {done.recovery_point.isoformat(timespec='milliseconds')}"
        + (f" at {done.lsn}" if done.lsn else ""),
        f"  stored         {human_bytes(done.stored_bytes)} of {human_bytes(done.plain_bytes)}"
        f" in {human_seconds(done.seconds)}",
        f"  holds          {counts}",
        *(f"  NOT IN IT      {one}" for one in done.degraded),
        *(f"  note: {note}" for note in done.notes),
        f"  next: aeterna-cli backup verify {done.backup}",
    ]
    return "\n".join(lines)
