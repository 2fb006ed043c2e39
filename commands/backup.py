"""``aeterna-cli backup``: recovery points over all stores."""

from typing import Annotated

import typer

from aeterna_cli.context import Context
from aeterna_cli.options import changing, group, reading

app = group("backup")
wal = group("wal", "The stream of WAL that makes any moment after a backup restorable.")
app.add_typer(wal, name="wal")

Stores = Annotated[
    list[str] | None,
    typer.Option("--store", metavar="STORE", help="postgres, qdrant or redis; all by default."),
]
TenantId = Annotated[
    str | None,
    typer.Option("--tenant-id", metavar="TENANT", help="One tenant only: its id, slug or name."),
]
BackupId = Annotated[str, typer.Argument(help="A backup's id, or latest.")]


@changing(app, "create")
def create_(
    ctx: Context,
    *,
    tenant: TenantId = None,
    store: Stores = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="K=V", help="Kept in the manifest.")
    ] = None,
    note: Annotated[str, typer.Option("--note", help="A sentence for whoever restores.")] = "",
    rate_limit: Annotated[
        str, typer.Option("--rate-limit", metavar="SIZE", help="Bytes per second: 50M, 1G.")
    ] = "0",
    digests: Annotated[
        bool,
        typer.Option(
            "--digests/--no-digests", help="Read every row once, so that a restore can be proven."
        ),
    ] = True,
) -> None:
    """Take one backup of every store with one recovery point, or of one tenant only.

    Example: aeterna-cli backup create --label reason=upgrade --rate-limit 200M
    """
    from aeterna_cli.workflows.backup import create, tenant_create

    if tenant is not None:
        asked = tenant_create.options(tenant, store, label, note, rate_limit, digests=digests)
        ctx.out.result(tenant_create.run(ctx, asked))
        return
    ctx.out.result(create.run(ctx, create.options(store, label, note, rate_limit, digests=digests)))


@reading(app, "list")
def list_(
    ctx: Context,
    *,
    every: Annotated[bool, typer.Option("--all", help="Pruned and unfinished ones too.")] = False,
    tenant: TenantId = None,
) -> None:
    """List the backups that can be restored, newest last.

    Example: aeterna-cli backup list -o json
    """
    from aeterna_cli.workflows.backup import list as listing

    ctx.out.result(listing.run(ctx, every, tenant))


@reading(app, "show")
def show_(ctx: Context, backup: BackupId = "latest") -> None:
    """Show one backup: recovery point, stores, volumes, what was left out.

    Example: aeterna-cli backup show latest
    """
    from aeterna_cli.workflows.backup import show

    ctx.out.result(show.run(ctx, backup))


@reading(app, "verify")
def verify_(
    ctx: Context,
    backup: BackupId = "latest",
    restore: Annotated[
        bool, typer.Option("--restore", help="Restore to scratch servers and look inside.")
    ] = False,
    identity: Annotated[
        str | None,
        typer.Option("--identity-file", metavar="FILE", help="An offline age identity."),
    ] = None,
) -> None:
    """Check that every object of a backup is whole, opens, and (--restore) can be restored.

    Example: aeterna-cli backup verify latest --restore
    """
    from aeterna_cli.workflows.backup import verify

    ctx.out.result(verify.run(ctx, backup, restore, identity))


@changing(app, "prune")
def prune_(
    ctx: Context,
    window: Annotated[
        int | None, typer.Option("--window-days", help="Keep everything younger.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option("--keep-last", help="Keep at least this many.")
    ] = None,
    minimum: Annotated[
        int | None, typer.Option("--minimum", help="Never go below, whatever else is said.")
    ] = None,
) -> None:
    """Delete backups that the policy no longer keeps, and WAL that no backup needs.

    Example: aeterna-cli backup prune --dry-run
    """
    from aeterna_cli.workflows.backup import prune

    ctx.out.result(prune.run(ctx, window, keep, minimum))


@changing(wal, "receive")
def wal_receive_(
    ctx: Context,
    until_idle: Annotated[
        bool, typer.Option("--once", help="End when everything there is now is stored.")
    ] = False,
) -> None:
    """Stream WAL into the repository until stopped: a service.

    Example: aeterna-cli backup wal receive --profile prod-eu
    """
    from aeterna_cli.workflows.backup import wal_receive

    ctx.out.result(wal_receive.run(ctx, until_idle))


@reading(wal, "status")
def wal_status_(
    ctx: Context,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 8 on gaps or an RPO above target.")
    ] = False,
) -> None:
    """Show gaps, lag and the age of the last restorable moment of every store.

    Example: aeterna-cli backup wal status --exit-code
    """
    from aeterna_cli.workflows.backup import wal_status

    ctx.out.result(wal_status.run(ctx, exit_code))
