"""What is asked before a change, and what answers it, with and without a terminal."""

from collections.abc import Callable

import pytest

from aeterna_cli.errors import RefusedError
from aeterna_cli.operations.confirm import Answers, confirm
from aeterna_cli.operations.plan import Danger
from tests.unit.operations.given import no_terminal, plan_of

NAME = "prod-eu"


def ask(
    danger: Danger,
    *,
    yes: bool = False,
    name: str | None = None,
    answer: str | None = None,
    asked: list[str] | None = None,
    wanted: str = NAME,
) -> None:
    def answering(question: str) -> str:
        if asked is not None:
            asked.append(question)
        assert answer is not None
        return answer

    terminal: Callable[[str], str] = no_terminal if answer is None else answering
    plan = plan_of(danger=danger, confirm_name=wanted, summary="restore over live data")
    answers = Answers(yes, name, answer is not None, terminal)
    confirm(plan, answers, profile="prod-eu", environment="production")


def refused(danger: Danger, **given: object) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        ask(danger, **given)  # type: ignore[arg-type]  # the keywords of ask
    return caught.value


def test_reading_asks_nothing() -> None:
    ask(Danger.READ)


@pytest.mark.parametrize("answer", ["y", "Y", "yes", " yes "])
def test_a_yes_on_the_terminal_is_enough_for_what_can_be_taken_back(answer: str) -> None:
    asked: list[str] = []
    ask(Danger.REVERSIBLE, answer=answer, asked=asked)
    assert asked == ["[prod-eu, production] restore over live data? [y/N] "]


@pytest.mark.parametrize("answer", ["", "n", "no", "x", "ay"])
def test_anything_else_is_a_no(answer: str) -> None:
    assert refused(Danger.REVERSIBLE, answer=answer).code == "not_confirmed"


def test_flags_answer_without_asking() -> None:
    ask(Danger.REVERSIBLE, yes=True)
    ask(Danger.REVERSIBLE, name=NAME)
    ask(Danger.REVERSIBLE, yes=True, answer="n")
    ask(Danger.DESTRUCTIVE, name=NAME)
    ask(Danger.DESTRUCTIVE, name=NAME, answer="wrong")


@pytest.mark.parametrize(
    ("danger", "flag"),
    [(Danger.REVERSIBLE, "add --yes"), (Danger.DESTRUCTIVE, f"add --confirm {NAME}")],
)
def test_without_a_terminal_the_flag_is_named(danger: Danger, flag: str) -> None:
    error = refused(danger)
    assert (error.code, error.next_steps) == ("confirmation_missing", (flag,))


def test_an_empty_name_confirms_nothing() -> None:
    """``--confirm ''`` where the plan has no name."""
    assert refused(Danger.REVERSIBLE, name="", wanted="").code == "confirmation_missing"


def test_yes_never_covers_a_name() -> None:
    error = refused(Danger.DESTRUCTIVE, yes=True)
    assert (error.code, error.hint) == ("confirmation_missing", "--yes does not cover this")
    assert refused(Danger.DESTRUCTIVE, yes=True, answer="y").code == "wrong_name"


def test_the_name_may_be_typed() -> None:
    asked: list[str] = []
    ask(Danger.DESTRUCTIVE, answer=f" {NAME}\n", asked=asked)
    assert asked[0].startswith("[prod-eu, production] restore over live data. This destroys data.")
    assert repr(NAME) in asked[0]


@pytest.mark.parametrize("typed", ["", "prod", "PROD-EU", "prod-eu2"])
def test_another_name_is_refused(typed: str) -> None:
    assert refused(Danger.DESTRUCTIVE, answer=typed).code == "wrong_name"
    error = refused(Danger.DESTRUCTIVE, name=typed)
    assert (error.code, error.next_steps) == ("wrong_name", (f"--confirm {NAME}",))


def test_a_destructive_plan_without_a_name_is_never_confirmed_by_nothing() -> None:
    assert refused(Danger.DESTRUCTIVE, name="", wanted="").code == "wrong_name"
    assert refused(Danger.DESTRUCTIVE, answer="", wanted="").code == "wrong_name"
