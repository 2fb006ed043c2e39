"""``aeterna-cli tenant``: whom the deployment serves, and where their data lies."""

from typing import Annotated

import typer

from aeterna_cli.context import Context
from aeterna_cli.options import changing, destroying, group, reading

app = group("tenant")
migration = group("migration", "Steer the move of a tenant that `tenant migrate` began.")
app.add_typer(migration, name="migration")

TenantId = Annotated[
    str, typer.Option("--tenant-id", metavar="TENANT", help="A tenant's id, slug or name.")
]


@reading(app, "list")
def list_(
    ctx: Context,
    *,
    size: Annotated[
        str | None, typer.Option("--class", help="Only these: small, medium or large.")
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", help="Only these: active, inactive.")
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort", help="memories, growth, points, rows, slug, name or created (newest first)."
        ),
    ] = "memories",
    limit: Annotated[int, typer.Option("--limit", help="So many tenants; 0 for all.")] = 0,
    everything: Annotated[
        bool, typer.Option("--all-stores", help="Keys, objects and bytes as well.")
    ] = False,
) -> None:
    """List the tenants: what each has, how large it is, where it lies; and what is nobody's.

    Example: aeterna-cli tenant list --class large --sort growth
    """
    from aeterna_cli.workflows.tenant import list as listing

    asked = listing.wanted(size, status, sort, limit, everything=everything)
    ctx.out.result(listing.run(ctx, asked))


@reading(app, "show")
def show_(
    ctx: Context,
    tenant: Annotated[
        str | None, typer.Argument(metavar="TENANT", help="Its id, its slug or its name.")
    ] = None,
    tenant_id: Annotated[
        str | None, typer.Option("--tenant-id", metavar="TENANT", help="The same as an option.")
    ] = None,
) -> None:
    """Show all that one tenant has, in every table, collection, key rule and bucket.

    Example: aeterna-cli tenant show acme-corp
    """
    from aeterna_cli.workflows.tenant import show

    ctx.out.result(show.run(ctx, show.asked(tenant, tenant_id)))


@reading(app, "classify")
def classify_(
    ctx: Context,
    *,
    small: Annotated[
        int | None, typer.Option("--small", help="Try: small is up to so many memories.")
    ] = None,
    medium: Annotated[
        int | None, typer.Option("--medium", help="Try: medium is up to so many memories.")
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 8 where a tenant should move.")
    ] = False,
) -> None:
    """Sort the tenants by size, and say which should be on another shard.

    Example: aeterna-cli tenant classify --medium 50000 --exit-code
    """
    from aeterna_cli.workflows.tenant import classify

    limits = classify.limits_of(ctx, small, medium)
    ctx.out.result(classify.run(ctx, limits, exit_code=exit_code))


@changing(app, "migrate")
def migrate_(
    ctx: Context,
    *,
    tenant_id: TenantId,
    to_shard: Annotated[str, typer.Option("--to-shard", metavar="SHARD", help="See shard list.")],
    wait: Annotated[bool, typer.Option("--wait", help="Go on through the cutover.")] = False,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="COLLECTION", help="Where several hold its points."),
    ] = None,
    pace: Annotated[
        int,
        typer.Option("--pace", min=1, max=100, help="Percent of the time to work; others' rest."),
    ] = 100,
    allow: Annotated[
        list[str] | None,
        typer.Option("--allow", metavar="RISK", help="qdrant-1.16: its transfers lose updates."),
    ] = None,
) -> None:
    """Move a tenant's points to another shard while the application writes; or go on with it.

    Example: aeterna-cli tenant migrate --tenant-id large-corp --to-shard dedicated-1
    """
    from aeterna_cli.workflows.tenant import migrate

    asked = migrate.options(
        tenant_id, to_shard, collection=from_, wait=wait, allow=allow or (), percent=pace
    )
    ctx.out.result(migrate.run(ctx, asked))


@reading(migration, "status")
def migration_status_(ctx: Context, *, tenant_id: TenantId) -> None:
    """Show what a tenant's move is at, what it measured, and what to type next.

    Example: aeterna-cli tenant migration status --tenant-id large-corp
    """
    from aeterna_cli.workflows.tenant import migration_status

    ctx.out.result(migration_status.run(ctx, tenant_id))


@changing(migration, "verify")
def migration_verify_(ctx: Context, *, tenant_id: TenantId) -> None:
    """Compare every point of both ends; the proof is good for a day.

    Example: aeterna-cli tenant migration verify --tenant-id large-corp
    """
    from aeterna_cli.workflows.tenant import migration_verify

    ctx.out.result(migration_verify.run(ctx, tenant_id))


@changing(migration, "cutover")
def migration_cutover_(ctx: Context, *, tenant_id: TenantId) -> None:
    """Let the target serve, all or nothing: writes are held for a moment.

    Example: aeterna-cli tenant migration cutover --tenant-id large-corp
    """
    from aeterna_cli.workflows.tenant import migration_cutover

    ctx.out.result(migration_cutover.run(ctx, tenant_id))


@changing(migration, "rollback")
def migration_rollback_(ctx: Context, *, tenant_id: TenantId) -> None:
    """Let the source serve again, with everything written since, and remove the copy.

    Example: aeterna-cli tenant migration rollback --tenant-id large-corp
    """
    from aeterna_cli.workflows.tenant import migration_rollback

    ctx.out.result(migration_rollback.run(ctx, tenant_id))


@destroying(migration, "complete")
def migration_complete_(ctx: Context, *, tenant_id: TenantId) -> None:
    """Delete the source's points, prove that none is left, and sign the certificate.

    Example: aeterna-cli tenant migration complete --tenant-id large-corp --confirm large-corp
    """
    from aeterna_cli.workflows.tenant import migration_complete

    ctx.out.result(migration_complete.run(ctx, tenant_id))


@changing(migration, "cancel")
def migration_cancel_(ctx: Context, *, tenant_id: TenantId) -> None:
    """Before the switch: take away what the move made, and nothing else.

    Example: aeterna-cli tenant migration cancel --tenant-id large-corp
    """
    from aeterna_cli.workflows.tenant import migration_cancel

    ctx.out.result(migration_cancel.run(ctx, tenant_id))
