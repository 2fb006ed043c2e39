"""``aeterna-cli dr-drill``: recovery, rehearsed, measured and signed."""

from typing import Annotated

import typer

from aeterna_cli.context import Context
from aeterna_cli.options import destroying, group, reading

app = group("dr-drill")


@reading(app, "list")
def list_(ctx: Context) -> None:
    """List the drills, what each needs and when it last passed.

    Example: aeterna-cli dr-drill list
    """
    from aeterna_cli.workflows.dr_drill import list as listing

    ctx.out.result(listing.run(ctx))


@destroying(app, "run")
def run_(
    ctx: Context,
    drill: Annotated[
        str | None, typer.Argument(metavar="DRILL", help="Its name, or a scenario file's path.")
    ] = None,
    *,
    rollback: Annotated[
        str | None,
        typer.Option("--rollback", metavar="ID", help="Mend what a drill left that was cut off."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Repeat the random choices of another run.")
    ] = None,
    approver: Annotated[str, typer.Option("--approver", help="Who approved it.")] = "",
    observer: Annotated[str, typer.Option("--observer", help="Who watched.")] = "",
    owner: Annotated[str, typer.Option("--owner", help="Who mends what is found.")] = "",
    due_days: Annotated[
        int, typer.Option("--due-days", min=1, max=365, help="Until findings are to be mended.")
    ] = 30,
) -> None:
    """Break something on purpose, measure RTO and RPO, roll back, sign it. Exit 8 where it failed.

    Example: aeterna-cli dr-drill run postgres-primary-crash --approver "Ada L." --yes
    """
    from aeterna_cli.workflows.dr_drill import run
    from aeterna_cli.workflows.dr_drill.drill_steps import People

    people = People(approver, observer, owner, due_days, ctx.reason, ctx.change)
    ctx.out.result(run.run(ctx, run.Options(drill, rollback, seed, people)))


@reading(app, "report", needs_profile=False)
def report_(
    ctx: Context,
    drill: Annotated[str, typer.Argument(metavar="ID", help="A drill's id, or latest.")] = "latest",
    *,
    form: Annotated[
        str | None, typer.Option("--format", help="html, md, json or junit, as it is.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="DIR", help="Write it, or everything, there.")
    ] = None,
    verify: Annotated[
        str | None, typer.Option("--verify", metavar="DIR", help="Check such a folder anywhere.")
    ] = None,
    public_key: Annotated[
        str | None, typer.Option("--public-key", metavar="FILE", help="Of the repository.")
    ] = None,
) -> None:
    """Show a drill's signed evidence, or check a folder of it on any machine.

    Example: aeterna-cli dr-drill report latest --format html --to ./drill
    """
    from aeterna_cli.workflows.dr_drill import report

    if verify is not None:
        ctx.out.result(report.verify(verify, public_key))
    elif (found := report.run(ctx, drill, form, to)) is not None:
        ctx.out.result(found)


@reading(app, "history")
def history_(
    ctx: Context,
    overdue: Annotated[
        bool, typer.Option("--overdue", help="Exit 8 where a drill is overdue.")
    ] = False,
) -> None:
    """Show past drills, the trend of RTO and RPO, and what is due.

    Example: aeterna-cli dr-drill history --overdue
    """
    from aeterna_cli.workflows.dr_drill import history

    ctx.out.result(history.run(ctx, overdue))
