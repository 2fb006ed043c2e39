"""``aeterna-cli datamap``: where the data of tenants and persons lives."""

from typing import Annotated

import typer

from aeterna_cli.context import Context
from aeterna_cli.options import group, reading

app = group("datamap")

Store = Annotated[
    str | None,
    typer.Option("--store", help="Only this one: postgres, qdrant, redis or objects."),
]


@reading(app, "show")
def show_(
    ctx: Context,
    store: Store = None,
    table: Annotated[
        str | None, typer.Option("--table", metavar="NAME", help="Everything about one table.")
    ] = None,
    tenant: Annotated[
        str | None,
        typer.Option("--tenant", metavar="TENANT", help="As it is for this id, slug or name."),
    ] = None,
) -> None:
    """Show whose data each table, collection, key and object has, and how one tenant's is selected.

    Example: aeterna-cli datamap show --table users
    """
    from aeterna_cli.workflows.datamap import show

    ctx.out.result(show.run(ctx, show.asked(store, table, tenant)))


@reading(app, "check")
def check_(
    ctx: Context,
    store: Store = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", help="Only N keys, and N objects of a bucket."),
    ] = None,
    names: Annotated[
        bool,
        typer.Option(
            "--names", help="Show one real name of each unknown form: may tell of people."
        ),
    ] = False,
) -> None:
    """Judge the map: what no rule knows, missing privileges, rules that do not fit.

    Example: aeterna-cli datamap check -o json
    """
    from aeterna_cli.workflows.datamap import check

    ctx.out.result(check.run(ctx, check.asked(store, sample, names)))
