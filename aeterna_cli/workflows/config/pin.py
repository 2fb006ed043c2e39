"""``config pin``: which servers this profile is bound to, and how to let go of one."""

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError
from aeterna_cli.operations.confirm import confirm
from aeterna_cli.operations.plan import Danger, Plan
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table


def run(ctx: Context, forget: str | None) -> Result:
    """Shows the pins. With ``forget`` one is dropped after a yes: the next change pins what it then
    meets. ``RefusedError('not_pinned')``, and as of ``confirm``.
    """
    pins = ctx.deployment.pins
    found = pins.read()
    if forget is not None and forget not in found:
        raise RefusedError(
            "not_pinned",
            f"{forget!r} is not pinned in profile {ctx.profile_name}",
            hint=f"pinned: {', '.join(found) or 'nothing'}",
        )
    if forget is not None and not ctx.flags.dry_run:
        question = Plan(
            kind="config.pin",
            summary=f"let go of the pin of {forget} ({found[forget]})",
            target=forget,
            danger=Danger.REVERSIBLE,
            facts={},
            steps=(),
        )
        confirm(
            question, ctx.answers, profile=ctx.profile_name, environment=ctx.profile.environment
        )
        pins.forget(forget)
        found = pins.read()
    return Result(
        "aeterna.config.pin/1",
        found,
        lambda: Table(["store", "identity"], [list(pair) for pair in found.items()]),
    )
