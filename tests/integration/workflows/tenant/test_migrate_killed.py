"""kill -9 at every point of a move: the same command goes on, and nothing is left behind."""

import sys
from pathlib import Path

import pytest

from tests.integration.workflows.tenant.conftest import Begin
from tests.integration.workflows.tenant.moves import SLUG, SOURCE, TARGET, Moves

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

STEPS = ("record", "prepare", "copy", "catch-up", "verify", "warm", "cutover")
POINTS = [
    *(f"step:{step}:{where}" for step in STEPS for where in ("before", "after")),
    "step:copy:middle",
    "move:held",
    "move:settled",
    "move:switched",
    "journal:0:after",
    "journal:3:before",
]


def unheld(move: Moves) -> None:
    placement = move.placement
    assert placement is not None
    assert placement.state != "held"


@pytest.mark.parametrize("contract", ["dual", "reread"])
def test_one_move_killed_everywhere_on_its_way(begin: Begin, contract: str) -> None:
    """Each command dies at the next point; each one goes on from where the last one died."""
    reached = []
    with begin(contract, hold_limit=5.0) as move, move.instance():
        move.fill(300)
        words = ("migrate", "--to-shard", "to", "--wait")
        for point in sorted(POINTS, key=order):
            if move.killed_at(point, *words):
                reached.append(point)
        done = move.migrate("--wait")
        assert (done["phase"], done["served_by"]) == ("soak", "to")
        unheld(move)
        assert len(move.contents(TARGET)) == 300
        for point in ("step:serve-alone:after", "step:delete-source:before",
                      "step:delete-source:after", "step:certify:before"):  # fmt: skip
            words = ("migration", "complete", "--confirm", SLUG)
            assert move.killed_at(point, *words), point
        complete = move.steer("complete", "--confirm", SLUG)
        assert complete["phase"] == "complete"
        signed = complete["evidence"]["certificate"]["certificate"]
        assert signed["removed_from_source"] >= 0
        assert move.count(SOURCE) == 0
        assert len(move.contents(TARGET)) == 300
        assert move.practice.operations("--unfinished") == []
    assert {"move:held", "move:settled", "move:switched"} <= set(reached)
    assert len(reached) >= len(POINTS) - 2, sorted(set(POINTS) - set(reached))


def order(point: str) -> tuple[int, int]:
    """As a move comes by them."""
    if point.startswith("journal"):
        return (-1, 0)
    if point.startswith("move"):
        return (STEPS.index("cutover"), ("move:held", "move:settled", "move:switched").index(point))
    _, step, where = point.split(":")
    places = ("before", "middle", "after")
    return (STEPS.index(step), -1 if where == "before" else 5 + places.index(where))


@pytest.mark.parametrize("point", ["step:prepare:after", "step:copy:after", "step:warm:after"])
def test_a_move_that_was_killed_can_be_cancelled_and_so_can_a_cancel(
    begin: Begin, point: str
) -> None:
    with begin("dual") as move, move.instance():
        move.fill(60)
        before = move.contents(SOURCE)
        assert move.killed_at(point, "migrate", "--to-shard", "to")
        assert move.killed_at("move:emptied", "migration", "cancel")
        assert move.steer("status")["phase"] == "cancelling"
        assert move.refused("migrate", "--to-shard", "to")[0] in (3, 7)
        assert move.steer("cancel")["phase"] == "cancelled"
        assert move.count(TARGET) == 0
        assert move.indexes(TARGET) == set()
        assert move.contents(SOURCE) == before
        placement = move.placement
        assert placement is not None
        assert placement.secondary is None


@pytest.mark.parametrize(
    "point",
    ["move:held", "move:settled", "move:application-switched", "move:switched", "move:released"],
)
def test_the_hold_of_a_platform_outlives_us_and_is_ended_by_the_same_command(
    begin: Begin, tmp_path: Path, point: str
) -> None:
    gate = tmp_path / "held"
    script = (
        "import os, pathlib, sys; verb, gate = sys.argv[1:];"
        " pathlib.Path(gate).write_text(verb if verb != 'switch' else 'hold')"
    )
    hooks = {
        verb: (sys.executable, "-c", script, verb, str(gate))
        for verb in ("hold", "switch", "release")
    }
    with begin("maintenance", **hooks) as move:
        move.fill(60)
        move.migrate()
        assert move.killed_at(point, "migration", "cutover")
        assert gate.read_text() == ("release" if point == "move:released" else "hold")
        done = move.steer("cutover")
        assert (done["phase"], done["served_by"]) == ("soak", "to")
        assert gate.read_text() == "release"
        assert len(move.contents(TARGET)) == 60


def test_killed_while_it_rolls_back(begin: Begin) -> None:
    with begin("dual", hold_limit=5.0) as move, move.instance():
        move.fill(60)
        move.migrate("--wait")
        words = ("migration", "rollback")
        for point in ("move:held", "move:switched", "move:emptied", "step:undo:after"):
            assert move.killed_at(point, *words), point
            unheld(move) if point == "move:emptied" else None
        done = move.steer("status")
        assert (done["phase"], done["served_by"]) == ("rolled-back", "from")
        assert move.count(TARGET) == 0
        assert move.count(SOURCE) == 60
