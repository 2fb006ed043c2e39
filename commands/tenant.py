"""``aeterna-cli tenant``: whom the deployment serves, and where their data lies."""

from typing import Annotated

import typer

from aeterna_cli.context import Context
from aeterna_cli.options import group, reading

app = group("tenant")


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
