"""Before a tenant's restore: which backup, which tenant, and the tenant's part of it at hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError, RemoteError
from aeterna_cli.repository.manifest import Manifest, load
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows.backup.verify_restore import space_needed
from aeterna_cli.workflows.restore.opened import OpenedBackup
from aeterna_cli.workflows.restore.tenant_choice import TenantChoice
from aeterna_cli.workflows.restore.tenant_extract import TenantExtract
from aeterna_cli.workflows.restore.tenant_slice import ArchivedSlice, TenantSlice
from aeterna_cli.workflows.scratch import scratch
from aeterna_cli.workflows.tenant.archive import ROWS, STORE_OF
from aeterna_cli.workflows.tenant.whereabouts import Whereabouts, find
from aeterna_cli.workflows.workspace import want_space


@dataclass(frozen=True)
class OpenedTenant:
    """``source`` is what was saved, ``whereabouts`` where the tenant is now; ``work`` is a private
    folder. ``parts`` are those that are asked for and saved. ``skew``: how many milliseconds each
    store lies before (or after, negative) the rows."""

    opened: OpenedBackup
    choice: TenantChoice
    source: TenantSlice
    whereabouts: Whereabouts
    work: Path
    parts: tuple[str, ...]
    skew: dict[str, int]
    notes: tuple[str, ...]

    @property
    def tenant(self) -> TenantIdentity:
        return self.whereabouts.tenant

    @property
    def moment(self) -> datetime:
        moments = self.source.facts.moments
        return moments.get(ROWS) or max(moments.values())


@contextmanager
def opened_tenant(ctx: Context, choice: TenantChoice) -> Iterator[OpenedTenant]:
    """Everything a restore of the tenant needs, until the block is left; nothing live was changed.

    Out of a whole backup the slice is extracted first, which takes as long as restoring it to
    scratch servers. ``RefusedError``: ``stores_would_differ``, ``skew_too_large``,
    ``store_not_in_backup``, ``at_without_whole_backup``, and what opening raises.
    """
    opened, now = _opened(ctx, choice)
    _refuse_skew(opened.manifest, choice)
    parent = ctx.deployment.cache_directory / "work"
    if opened.manifest.scope is None:
        want_space(parent, space_needed(opened), "extracting the tenant")
    with scratch(parent) as work:
        source, notes = _source(ctx, opened, choice, now, work)
        whereabouts = now or _added(ctx, source.facts.tenant)
        moments = source.facts.moments
        rows = moments.get(ROWS)
        skew = {
            STORE_OF[part]: round((rows - moment).total_seconds() * 1000)
            for part, moment in moments.items()
            if rows is not None and part != ROWS
        }
        if source.facts.tenant.slug != whereabouts.tenant.slug:
            notes.append(f"its slug was {source.facts.tenant.slug!r} then")
        parts = tuple(part for part in choice.parts if part in moments)
        yield OpenedTenant(opened, choice, source, whereabouts, work, parts, skew, tuple(notes))


def _opened(ctx: Context, choice: TenantChoice) -> tuple[OpenedBackup, Whereabouts | None]:
    """The backup, and where the tenant is now; None where the live database knows no such tenant:
    then the backup has to."""
    place = ctx.deployment
    try:
        now = find(place, choice.tenant)
    except RefusedError as error:
        if error.code != "tenant_unknown" or choice.backup == "latest":
            raise
        manifest = load(place.repository, choice.backup)
        scope = manifest.scope
        if scope is not None and choice.tenant not in (scope.tenant, scope.slug, scope.name):
            raise
        return OpenedBackup(place, manifest, choice.identity_file), None
    whole = _before(ctx, choice.at) if choice.at is not None and choice.backup == "latest" else None
    backup = whole or choice.backup
    return OpenedBackup.open(place, backup, choice.identity_file, tenant=now.tenant.id), now


def _before(ctx: Context, at: datetime) -> str:
    """The newest backup of the whole deployment whose base copy ended before ``at``."""
    repository = ctx.deployment.repository
    for entry in reversed(repository.backups()):
        if entry.fault or entry.tenant is not None:
            continue
        try:
            manifest = load(repository, entry.backup)
        except (RefusedError, RemoteError):
            continue
        part = manifest.stores.get("postgres")
        if part is not None and part.window.end <= at:
            return entry.backup
    raise RefusedError(
        "no_backup_before",
        f"there is no backup of the whole deployment from before {at.isoformat()}",
        next_steps=["aeterna-cli backup list", "aeterna-cli backup wal status"],
    )


def _refuse_skew(manifest: Manifest, choice: TenantChoice) -> None:
    if choice.at is None:
        return
    if manifest.scope is not None:
        raise RefusedError(
            "at_without_whole_backup",
            f"backup {manifest.backup} is of one tenant and has one moment only",
            hint="a time is reached from a backup of the whole deployment and the WAL behind it",
            next_steps=["leave --backup out", "or leave --at out"],
        )
    others = [store for store in choice.stores if store in manifest.stores and store != "postgres"]
    if not others:
        return
    if not choice.allow_skew:
        raise RefusedError(
            "stores_would_differ",
            "the rows would be of another moment than points and keys",
            hint="those only have the moment of the backup",
            next_steps=["add --store postgres", "or --allow-skew DURATION"],
        )
    apart = abs((choice.at - manifest.recovery_point.time).total_seconds())
    if apart > choice.allow_skew:
        raise RefusedError(
            "skew_too_large",
            f"the stores would be {apart:.0f} s apart, {choice.allow_skew:.0f} s are allowed",
            next_steps=["add --store postgres", "or choose a backup nearer to that moment"],
        )


def _source(
    ctx: Context,
    opened: OpenedBackup,
    choice: TenantChoice,
    now: Whereabouts | None,
    work: Path,
) -> tuple[TenantSlice, list[str]]:
    _ = opened.identity  # a restore that cannot read the backup must not begin
    stores = opened.manifest.stores
    if opened.manifest.scope is not None:
        found = [part for part in choice.parts if part in stores]
        source: TenantSlice = ArchivedSlice(opened)
    else:
        found = [part for part, store in choice.parts.items() if store in stores]
        text = now.tenant.id if now is not None else choice.tenant
        extract = TenantExtract(ctx, opened, text, choice.at, work)
        source = extract.run({part: STORE_OF[part] for part in found})
    notes = list(opened.manifest.degraded)
    missing = [store for part, store in choice.parts.items() if part not in found]
    if not found:
        raise RefusedError(
            "store_not_in_backup",
            f"backup {opened.id} holds none of {', '.join(choice.stores)}",
            next_steps=["aeterna-cli backup list  # choose another backup"],
        )
    notes += [f"not in the backup, left as it is: {store}" for store in missing]
    return source, notes


def _added(ctx: Context, tenant: TenantIdentity) -> Whereabouts:
    """A tenant whom the live database does not know any more, among those it knows."""
    from aeterna_cli.workflows.tenant.whereabouts import everyone

    known = everyone(ctx.deployment)
    return replace(known, tenant=tenant, everyone=(*known.everyone, tenant))
