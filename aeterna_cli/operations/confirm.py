"""Asking before a change: nothing for reading, y/N for what can be taken back, a name otherwise."""

from collections.abc import Callable
from dataclasses import dataclass

from aeterna_cli.errors import RefusedError
from aeterna_cli.operations.plan import Danger, Plan


@dataclass(frozen=True)
class Answers:
    """What the command line said already, and whom to ask. ``ask`` is only used when
    ``interactive``: without a terminal nothing ever asks."""

    yes: bool
    confirm_name: str | None
    interactive: bool
    ask: Callable[[str], str]


def confirm(plan: Plan, answers: Answers, *, profile: str, environment: str) -> None:
    """Returns when the plan may be carried out.

    ``RefusedError('confirmation_missing' | 'wrong_name' | 'not_confirmed')``; the message names the
    flag that is wanted. ``--yes`` never covers a name.
    """
    if plan.danger is Danger.READ:
        return
    where = f"[{profile}, {environment}]"
    if plan.danger is Danger.REVERSIBLE:
        _yes(plan, answers, where)
    else:
        _name(plan, answers, where)


def _yes(plan: Plan, answers: Answers, where: str) -> None:
    if answers.yes or (plan.confirm_name and answers.confirm_name == plan.confirm_name):
        return
    if not answers.interactive:
        raise RefusedError(
            "confirmation_missing",
            f"to {plan.summary} wants a yes, and there is no terminal to ask on",
            next_steps=["add --yes"],
        )
    if not answers.ask(f"{where} {plan.summary}? [y/N] ").strip().lower().startswith("y"):
        raise RefusedError("not_confirmed", "not confirmed; nothing was changed")


def _name(plan: Plan, answers: Answers, where: str) -> None:
    typed = answers.confirm_name
    if typed is None:
        if not answers.interactive:
            raise RefusedError(
                "confirmation_missing",
                f"to {plan.summary} destroys data: the name must be given",
                hint="--yes does not cover this",
                next_steps=[f"add --confirm {plan.confirm_name}"],
            )
        typed = answers.ask(
            f"{where} {plan.summary}. This destroys data. Type {plan.confirm_name!r} to go on: "
        ).strip()
    if not plan.confirm_name or typed != plan.confirm_name:  # an empty name is nobody's consent
        raise RefusedError(
            "wrong_name",
            f"{typed!r} is not the name that was asked for; nothing was changed",
            next_steps=[f"--confirm {plan.confirm_name}"],
        )
