"""The table of phases, every pair of it."""

from itertools import product

import pytest

from aeterna_cli.errors import RefusedError
from aeterna_cli.stores import postgres_moves
from aeterna_cli.workflows.tenant.move_phases import (
    ALLOWED,
    BEFORE_THE_SWITCH,
    ENDED,
    Phase,
    next_commands,
    require,
)

#: written down a second time on purpose: a change of the table is a change of this list
PAIRS = {
    ("plan", "prepare"), ("prepare", "copy"), ("copy", "catch-up"), ("catch-up", "verify"),
    ("verify", "warm"), ("verify", "catch-up"), ("warm", "cutover"), ("warm", "catch-up"),
    ("cutover", "soak"), ("cutover", "catch-up"),
    ("plan", "cancelling"), ("prepare", "cancelling"), ("copy", "cancelling"),
    ("catch-up", "cancelling"), ("verify", "cancelling"), ("warm", "cancelling"),
    ("cutover", "cancelling"), ("cancelling", "cancelled"),
    ("soak", "completing"), ("completing", "complete"),
    ("soak", "rolling-back"), ("rolling-back", "rolled-back"), ("rolling-back", "soak"),
}  # fmt: skip


@pytest.mark.parametrize(("one", "other"), list(product(Phase, Phase)))
def test_every_pair(one: Phase, other: Phase) -> None:
    if (one.value, other.value) in PAIRS:
        require(one, other)
        return
    with pytest.raises(RefusedError) as caught:
        require(one, other)
    assert caught.value.code == "move_phase"


def test_the_table_has_every_phase_and_ends_where_it_says() -> None:
    assert set(ALLOWED) == set(Phase)
    assert {one for one in Phase if not ALLOWED[one]} == ENDED
    assert {one.value for one in ENDED} == set(postgres_moves.ENDED)


def test_cancel_is_possible_exactly_before_the_switch() -> None:
    assert {one for one in Phase if Phase.CANCELLING in ALLOWED[one]} == BEFORE_THE_SWITCH


@pytest.mark.parametrize("phase", Phase)
def test_every_phase_but_the_last_says_what_to_type(phase: Phase) -> None:
    found = next_commands(phase, "t")
    assert bool(found) == (phase not in ENDED)
    assert all(one.startswith("aeterna-cli tenant mi") for one in found)
