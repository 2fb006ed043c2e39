"""``aeterna-cli shard``: where tenants' points lie."""

from typing import Annotated

import typer

from aeterna_cli.context import Context
from aeterna_cli.options import changing, group, reading

app = group("shard")

ShardName = Annotated[str, typer.Argument(help="A shard's name.")]


@reading(app, "list")
def list_(ctx: Context) -> None:
    """List the shards: tenants, points, capacity; and collections that are none.

    Example: aeterna-cli shard list -o json
    """
    from aeterna_cli.workflows.shard import list as listing

    ctx.out.result(listing.run(ctx))


@changing(app, "add")
def add_(
    ctx: Context,
    name: ShardName,
    *,
    collection: Annotated[str, typer.Option("--collection", help="The collection on the server.")],
    server: Annotated[
        str, typer.Option("--server", help="One of qdrant_servers; the profile's own by default.")
    ] = "",
    shard_key: Annotated[
        str | None, typer.Option("--shard-key", help="Where the collection has shard keys.")
    ] = None,
    capacity: Annotated[
        int, typer.Option("--capacity", min=0, help="In points; 0 for no limit.")
    ] = 0,
    create_like: Annotated[
        str | None,
        typer.Option("--create-like", metavar="NAME", help="Make it like this shard, collection."),
    ] = None,
) -> None:
    """Register a shard, once its server answers and its collection is right.

    Example: aeterna-cli shard add dedicated-1 --collection memories-large --create-like shared
    """
    from aeterna_cli.workflows.shard import add

    asked = add.options(
        name,
        server=server,
        collection=collection,
        shard_key=shard_key,
        capacity=capacity,
        create_like=create_like,
    )
    ctx.out.result(add.run(ctx, asked))


@changing(app, "drain")
def drain_(
    ctx: Context,
    name: ShardName,
    undo: Annotated[bool, typer.Option("--undo", help="Let tenants come again.")] = False,
) -> None:
    """Let no new tenant come to a shard, and show the commands that empty it.

    Example: aeterna-cli shard drain shared-1
    """
    from aeterna_cli.workflows.shard import drain

    ctx.out.result(drain.run(ctx, name, undo))


@changing(app, "remove")
def remove_(ctx: Context, name: ShardName) -> None:
    """Take an empty shard out of the registry; its collection stays.

    Example: aeterna-cli shard remove shared-1
    """
    from aeterna_cli.workflows.shard import remove

    ctx.out.result(remove.run(ctx, name))
