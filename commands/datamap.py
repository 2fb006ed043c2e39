"""``aeterna-cli datamap``: where the data of tenants and persons lives."""

from typing import Annotated

import typer

from aeterna_cli.context import Context
from aeterna_cli.options import group, reading

app = group("datamap")


@reading(app, "show")
def show_(
    ctx: Context,
    store: Annotated[
        str | None,
        typer.Option("--store", help="Only this one: postgres, qdrant, redis or objects."),
    ] = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="NAME", help="Everything about one table.")
    ] = None,
) -> None:
    """Show whose rows each table has, and how one tenant's are selected.

    Example: aeterna-cli datamap show --table users
    """
    from aeterna_cli.workflows.datamap import show

    ctx.out.result(show.run(ctx, store, table))


@reading(app, "check")
def check_(ctx: Context) -> None:
    """Judge the map: unclassified tables, missing privileges, rules that do not fit.

    Example: aeterna-cli datamap check -o json
    """
    from aeterna_cli.workflows.datamap import check

    ctx.out.result(check.run(ctx))
