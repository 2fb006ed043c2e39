"""``aeterna-cli restore``: back to a recovery point, and the proof of it."""

from typing import Annotated

import typer

from aeterna_cli.context import Context
from aeterna_cli.options import destroying, group, reading

app = group("restore")

Backup = Annotated[str, typer.Option("--backup", help="A backup's id, or latest.")]
At = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="PostgreSQL at this time, with offset.")
]
Lsn = Annotated[
    str | None, typer.Option("--lsn", help="PostgreSQL just before this position, as 0/1A2B3C4D.")
]
Name = Annotated[str | None, typer.Option("--name", help="PostgreSQL at this restore point.")]
Stores = Annotated[
    list[str] | None,
    typer.Option(
        "--store", metavar="STORE", help="postgres, qdrant or redis (and objects of a tenant)."
    ),
]
Into = Annotated[
    str | None, typer.Option("--into", metavar="PROFILE", help="Into another deployment.")
]
DataDirectory = Annotated[
    str | None,
    typer.Option("--data-dir", metavar="DIR", help="Leave PostgreSQL's data here, start nothing."),
]
Skew = Annotated[
    str | None,
    typer.Option("--allow-skew", metavar="DURATION", help="How far apart the stores may be: 90s."),
]
Identity = Annotated[
    str | None, typer.Option("--identity-file", metavar="FILE", help="An offline age identity.")
]
TenantId = Annotated[
    str | None,
    typer.Option("--tenant-id", metavar="TENANT", help="One tenant only: its id, slug or name."),
]
Mode = Annotated[
    str | None,
    typer.Option(
        "--mode",
        help="Of one tenant: missing adds what is gone (default), replace makes it as it was.",
    ),
]


@reading(app, "plan")
def plan_(
    ctx: Context,
    *,
    tenant: TenantId = None,
    mode: Mode = None,
    backup: Backup = "latest",
    at: At = None,
    lsn: Lsn = None,
    name: Name = None,
    store: Stores = None,
    into: Into = None,
    data_dir: DataDirectory = None,
    allow_skew: Skew = None,
    identity: Identity = None,
) -> None:
    """Show what a restore would do, overwrite and lose. Changes nothing.

    Example: aeterna-cli restore plan --at 2026-11-23T03:00:00Z --store postgres
    """
    from aeterna_cli.workflows.restore import plan
    from aeterna_cli.workflows.restore.choice import asked

    choice = asked(
        backup,
        tenant,
        mode=mode,
        at=at,
        lsn=lsn,
        name=name,
        store=store,
        into=into,
        data_dir=data_dir,
        allow_skew=allow_skew,
        identity=identity,
    )
    ctx.out.result(plan.run(ctx, choice))


@destroying(app, "run")
def run_(
    ctx: Context,
    *,
    tenant: TenantId = None,
    mode: Mode = None,
    backup: Backup = "latest",
    at: At = None,
    lsn: Lsn = None,
    name: Name = None,
    store: Stores = None,
    into: Into = None,
    data_dir: DataDirectory = None,
    allow_skew: Skew = None,
    identity: Identity = None,
) -> None:
    """Restore everything, or one tenant. Overwriting wants --confirm NAME (profile or slug).

    Example: aeterna-cli restore run --backup latest --confirm prod-eu
    """
    from aeterna_cli.workflows.restore import run
    from aeterna_cli.workflows.restore.choice import asked

    choice = asked(
        backup,
        tenant,
        mode=mode,
        at=at,
        lsn=lsn,
        name=name,
        store=store,
        into=into,
        data_dir=data_dir,
        allow_skew=allow_skew,
        identity=identity,
    )
    ctx.out.result(run.run(ctx, choice))


@reading(app, "verify")
def verify_(
    ctx: Context, backup: Backup = "latest", into: Into = None, identity: Identity = None
) -> None:
    """Compare the servers as they are now with a backup's manifest.

    Example: aeterna-cli restore verify --backup latest
    """
    from aeterna_cli.workflows.restore import verify

    ctx.out.result(verify.run(ctx, backup, into, identity))
