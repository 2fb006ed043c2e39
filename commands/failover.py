"""``aeterna-cli failover``: who serves, and somebody else from now on."""

from typing import Annotated

import typer

from aeterna_cli.context import Context
from aeterna_cli.options import changing, destroying, group, reading

app = group("failover")

Component = Annotated[
    str, typer.Option("--component", metavar="NAME", help="postgres, redis, qdrant or all.")
]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="NODE", help="The node to serve (of Qdrant: to be emptied)."),
]


@reading(app, "status")
def status_(
    ctx: Context,
    component: Component = "all",
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds.")] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 8 where something is wrong.")
    ] = False,
) -> None:
    """Show every node, its role and lag, what deviates, and what would be lost now.

    Example: aeterna-cli failover status --component postgres
    """
    from aeterna_cli.workflows.failover import status

    ctx.out.result(status.run(ctx, component, exit_code=exit_code, watch=watch))


@changing(app, "switchover")
def switchover_(
    ctx: Context,
    component: Component = "all",
    to: To = None,
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Do not measure the gap with writes of our own.")
    ] = False,
) -> None:
    """Let another node serve, planned: nothing acknowledged is lost, or nothing is changed.

    Example: aeterna-cli failover switchover --component postgres --dry-run
    """
    from aeterna_cli.workflows.failover import switchover

    ctx.out.result(switchover.run(ctx, component, to, probe=not no_probe))


@destroying(app, "run")
def run_(
    ctx: Context,
    component: Component = "all",
    to: To = None,
    accept_loss: Annotated[
        int | None,
        typer.Option("--accept-loss", metavar="BYTES", min=0, help="So much may be lost."),
    ] = None,
) -> None:
    """Promote another node because the primary is gone. Wants a fence, or the loss accepted.

    Example: aeterna-cli failover run --component postgres --confirm prod-eu
    """
    from aeterna_cli.workflows.failover import run

    ctx.out.result(run.run(ctx, component, to, accept_loss))
