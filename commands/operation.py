"""``aeterna-cli operation``: what was done, and what was cut off."""

from typing import Annotated

import typer

from aeterna_cli.context import Context
from aeterna_cli.options import changing, destroying, group, reading

app = group("operation")

OperationId = Annotated[str, typer.Argument(help="An operation's id.")]


@reading(app, "list")
def list_(
    ctx: Context,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Only those that can be resumed or given up.")
    ] = False,
) -> None:
    """List operations, oldest first.

    Example: aeterna-cli operation list --unfinished
    """
    from aeterna_cli.workflows.operation import list as listing

    ctx.out.result(listing.run(ctx, unfinished))


@reading(app, "show")
def show_(ctx: Context, operation: OperationId) -> None:
    """Show every record of one operation; the hash chain is checked.

    Example: aeterna-cli operation show 019ab3c1-7e2a-7c3e-9b1f-3d5c7a9e1f20
    """
    from aeterna_cli.workflows.operation import show

    ctx.out.result(show.run(ctx, operation))


@destroying(app, "resume")
def resume_(ctx: Context, operation: OperationId) -> None:
    """Go on with an operation that was cut off; what destroyed data wants --confirm again.

    Example: aeterna-cli operation resume 019ab3c1-7e2a-7c3e-9b1f-3d5c7a9e1f20
    """
    from aeterna_cli.workflows.operation import resume

    ctx.out.result(resume.run(ctx, operation))


@changing(app, "abort")
def abort_(ctx: Context, operation: OperationId) -> None:
    """Give an unfinished operation up: it is marked, its lease ends, it cannot be resumed.

    Example: aeterna-cli operation abort 019ab3c1-7e2a-7c3e-9b1f-3d5c7a9e1f20
    """
    from aeterna_cli.workflows.operation import abort

    ctx.out.result(abort.run(ctx, operation))
