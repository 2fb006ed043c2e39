"""A tenant's rows back: a session with everything staged, ready to be looked at or applied."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aeterna_cli.datamap.privileges import require_classified, require_writable
from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import ConflictError
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.workflows.datamap.build import build
from aeterna_cli.workflows.restore.tenant_slice import TenantSlice, blocks
from aeterna_cli.workflows.tenant.archive import ROWS
from aeterna_cli.workflows.tenant.rows import judge, matched

if TYPE_CHECKING:
    from aeterna_cli.stores.postgres_slice import SliceSession


@contextmanager
def staged(
    place: Deployment,
    source: TenantSlice,
    tenant: TenantIdentity,
    stop: Callable[[], None],
) -> Iterator[tuple["SliceSession", tuple[str, ...]]]:
    """The session, and the live tables that the backup does not know.

    Refused before anything is staged: a role that sees or may write only some of it, triggers that
    cannot be silenced, tables that nobody classified, another schema.
    """
    from aeterna_cli.stores.postgres_slice import SliceSession

    settings = place.profile.postgres.for_writing()
    map_ = build(place, settings)
    require_classified(map_)
    tables, unknown = matched(map_, source.facts.tables)
    require_writable(map_, [map_.tables[one.label] for one in tables])
    archived = {one.label: one for one in source.facts.tables}
    with SliceSession(settings, tables, judge(map_, tenant)) as session:
        session.require_silent()
        for table in tables:
            stop()
            saved = archived[table.label]
            with source.open(ROWS, saved.volume) as stream:
                session.stage(table, blocks(stream), rows=saved.rows, lines=saved.lines)
        yield session, tuple(unknown)


def refuse_moving(place: Deployment, tenant: TenantIdentity) -> None:
    """``ConflictError('tenant_is_moving')`` while a move of this tenant has not ended."""
    from aeterna_cli.stores.postgres_slice_checks import unfinished_move

    operation = unfinished_move(place.profile.postgres.for_writing(), tenant.id)
    if operation is not None:
        raise ConflictError(
            "tenant_is_moving",
            f"tenant {tenant.slug!r} is being moved: it is in two places",
            hint="end or cancel the move first",
            next_steps=[f"aeterna-cli tenant migration status --tenant-id {tenant.id}"],
            details={"operation": operation},
        )
