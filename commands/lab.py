"""``aeterna-cli lab``: real servers on this machine to learn, test and drill with."""

from pathlib import Path
from typing import Annotated

import typer

from aeterna_cli.context import Context
from aeterna_cli.options import changing, group, reading

app = group("lab")


@reading(app, "up", needs_profile=False)
def up_(
    ctx: Context,
    without: Annotated[
        list[str] | None, typer.Option("--without", metavar="PART", help="Leave a part out.")
    ] = None,
    ha: Annotated[
        bool, typer.Option("--ha", help="Three Patroni nodes, three Valkeys, three Sentinels.")
    ] = False,
) -> None:
    """Start the lab, or what of it does not run. Its data stays from the last time.

    Example: aeterna-cli lab up --without qdrant
    """
    from aeterna_cli.workflows.lab import up

    ctx.out.result(up.run(ctx, without or (), ha=ha))


@reading(app, "down", needs_profile=False)
def down_(ctx: Context) -> None:
    """Stop every process of the lab. The data stays.

    Example: aeterna-cli lab down
    """
    from aeterna_cli.workflows.lab import down

    ctx.out.result(down.run(ctx))


@reading(app, "status", needs_profile=False)
def status_(ctx: Context) -> None:
    """Show every part as it answers now.

    Example: aeterna-cli lab status -o json
    """
    from aeterna_cli.workflows.lab import status

    ctx.out.result(status.run())


@reading(app, "env", needs_profile=False)
def env_(ctx: Context) -> None:
    """Print variables for psql, S3 clients and others; file names instead of secrets.

    Example: aeterna-cli lab env -o table >lab.env && . ./lab.env
    """
    from aeterna_cli.workflows.lab import env

    ctx.out.result(env.run())


@reading(app, "seed", needs_profile=False)
def seed_(
    ctx: Context,
    scale: Annotated[float, typer.Option("--scale", help="1 is about 6,000 memories.")] = 1.0,
    number: Annotated[int, typer.Option("--seed", help="Another number, other data.")] = 1,
    extra: Annotated[int, typer.Option("--tenants", help="So many small tenants more.")] = 0,
    schema: Annotated[
        str, typer.Option("--schema", help="complete, fresh-rc12 or no-bypass: see the runbook.")
    ] = "complete",
) -> None:
    """Fill the lab with tenants; the same data for the same seed and scale.

    Example: aeterna-cli lab seed --scale 10 --tenants 100
    """
    from aeterna_cli.workflows.lab import seed

    ctx.out.result(seed.run(ctx, seed.Wanted(scale, number, extra, schema)))


@changing(app, "reset", needs_profile=False)
def reset_(ctx: Context) -> None:
    """Stop the lab and delete its data, secrets and backups.

    Example: aeterna-cli lab reset --yes
    """
    from aeterna_cli.workflows.lab import reset

    ctx.out.result(reset.run(ctx))


@reading(app, "demo", needs_profile=False)
def demo_(
    ctx: Context,
    scale: Annotated[float, typer.Option("--scale", help="1 is about 6,000 memories.")] = 1.0,
) -> None:
    """Seed, back up, kill and wipe, restore and prove: all on real servers of this machine.

    Example: aeterna-cli lab demo
    """
    from aeterna_cli.workflows.lab import demo

    ctx.out.result(demo.run(ctx, scale))


Tenants = Annotated[list[str] | None, typer.Option("--tenant", help="Slug or id; repeatable.")]
Judged = Annotated[
    Path | None, typer.Option("--judge", help="Judge the logs in this folder, run nothing.")
]
Seconds = Annotated[float | None, typer.Option("--seconds", help="None: until a signal.")]
Contracts = Annotated[str, typer.Option("--contract", help="dual, reread, none or naive.")]
Collection = Annotated[str | None, typer.Option("--collection", help="Else one of its own.")]
Rate = Annotated[float | None, typer.Option("--rate", help="Writes a second; else at full speed.")]
Delay = Annotated[float, typer.Option("--delay", help="Seconds from first to second write.")]
Drop = Annotated[float, typer.Option("--drop", help="Share of second writes never sent.")]
Logs = Annotated[Path | None, typer.Option("--folder", help="Where the logs go.")]
Keep = Annotated[bool, typer.Option("--keep", help="Leave its own collection there.")]


@reading(app, "workload")
def workload_(
    ctx: Context,
    *,
    tenant: Tenants = None,
    judge: Judged = None,
    seconds: Seconds = None,
    points: Annotated[int, typer.Option("--points", help="Inserted first.")] = 500,
    dimensions: Annotated[int, typer.Option("--dimensions")] = 384,
    contract: Contracts = "none",
    collection: Collection = None,
    writers: Annotated[int, typer.Option("--writers", help="Threads a tenant.")] = 2,
    readers: Annotated[int, typer.Option("--readers", help="Threads a tenant.")] = 1,
    rate: Rate = None,
    delay: Delay = 0.0,
    drop: Drop = 0.0,
    number: Annotated[int, typer.Option("--seed", help="Another number, other data.")] = 1,
    folder: Logs = None,
    keep: Keep = False,
) -> None:
    """Write and read as an application does, then judge every point by what was acknowledged.

    Example: aeterna-cli lab workload --tenant acme-corp --seconds 10
    """
    from aeterna_cli.workflows.lab import workload

    if judge is not None:
        ctx.out.result(workload.judge(ctx, judge))
        return
    wanted = workload.Options(
        tenant or (), seconds=seconds, points=points, dimensions=dimensions, contract=contract,
        collection=collection, writers=writers, readers=readers, rate=rate, delay=delay, drop=drop,
        seed=number, folder=folder, keep=keep,
    )  # fmt: skip
    ctx.out.result(workload.run(ctx, wanted))
