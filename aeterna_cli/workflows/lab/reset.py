"""``lab reset``: the lab is down and everything it kept is gone."""

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError
from aeterna_cli.output.result import Result
from aeterna_cli.workflows.lab.down import result
from aeterna_cli.workflows.lab.up import here, said


def run(ctx: Context) -> Result:
    """Wants a yes: the lab's data and its backups go for good.

    ``RefusedError('confirmation_missing')`` without one.
    """
    lab = here()
    if lab.status() is not None and not ctx.flags.dry_run:
        _want_yes(ctx, f"delete the lab in {lab.directory} with its data and its backups?")
        return result(lab.reset(said(ctx)), "aeterna.lab.reset/1")
    ctx.out.note(f"would delete {lab.directory}" if ctx.flags.dry_run else "there is no lab here")
    return Result("aeterna.lab.reset/1", {"parts": []}, lambda: "nothing was changed")


def _want_yes(ctx: Context, question: str) -> None:
    if ctx.flags.yes:
        return
    if not ctx.interactive:
        raise RefusedError(
            "confirmation_missing", "deleting the lab wants a yes", next_steps=["add --yes"]
        )
    if not ctx.out.ask(f"{question} [y/N] ").strip().lower().startswith("y"):
        raise RefusedError("not_confirmed", "not confirmed; nothing was changed")
