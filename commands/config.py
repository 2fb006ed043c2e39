"""``aeterna-cli config``: profiles, and where their values come from."""

from typing import Annotated

import typer

from aeterna_cli.context import Context
from aeterna_cli.options import changing, group, reading

app = group("config")


@reading(app, "init", needs_profile=False)
def init_(
    ctx: Context,
    name: Annotated[str, typer.Argument(help="The new profile's name.")] = "production",
    environment: Annotated[
        str, typer.Option("--environment", help="lab, development, staging or production.")
    ] = "production",
) -> None:
    """Write a commented profile to fill in. An existing one is never touched.

    Example: aeterna-cli config init prod-eu --environment production
    """
    from aeterna_cli.workflows.config import init

    ctx.out.result(init.run(name, environment))


@reading(app, "show")
def show_(
    ctx: Context,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say for each value which layer set it.")
    ] = False,
) -> None:
    """Show the profile as it is in force; secrets are named, never shown.

    Example: aeterna-cli config show --origin -o json
    """
    from aeterna_cli.workflows.config import show

    ctx.out.result(show.run(ctx.loaded, origin))


@reading(app, "test")
def test_(ctx: Context) -> None:
    """Ask every store of the profile once, and compare with the pins.

    Example: aeterna-cli config test --profile prod-eu
    """
    from aeterna_cli.workflows.config import test

    ctx.out.result(test.run(ctx))


@changing(app, "pin")
def pin_(
    ctx: Context,
    forget: Annotated[
        str | None, typer.Option("--forget", metavar="STORE", help="Let go of one pin.")
    ] = None,
) -> None:
    """Show which servers this profile is bound to.

    Example: aeterna-cli config pin --forget redis
    """
    from aeterna_cli.workflows.config import pin

    ctx.out.result(pin.run(ctx, forget))
