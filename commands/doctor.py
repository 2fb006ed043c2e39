"""``aeterna-cli doctor``: is everything in place for backup and restore?"""

from typing import Annotated

import typer

from aeterna_cli.context import Context
from aeterna_cli.options import reading


def register(root: typer.Typer) -> None:
    """Add the one command of this module to the root."""
    reading(root, "doctor")(doctor_)


def doctor_(
    ctx: Context,
    grants: Annotated[
        bool, typer.Option("--grants", help="Print the least privileges to grant instead.")
    ] = False,
    purpose: Annotated[
        str | None,
        typer.Option(
            "--purpose",
            help="backup (what --grants means) or restore only; with --grants also read,"
            " tenant-restore or move.",
        ),
    ] = None,
) -> None:
    """Check everything that backup and restore need; every finding says what mends it.

    Example: aeterna-cli doctor --grants --purpose restore
    """
    from aeterna_cli.workflows.doctor import doctor
    from aeterna_cli.workflows.doctor import grants as least

    ctx.out.result(least.run(ctx, purpose or "backup") if grants else doctor.run(ctx, purpose))
