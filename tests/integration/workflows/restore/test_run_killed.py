"""kill -9 at every point of a restore: resumed, it ends with the same data."""

import pytest

from aeterna_cli.context import Context, Flags
from aeterna_cli.operations.runner import kill_points
from aeterna_cli.output.console import Output
from aeterna_cli.workflows.restore import run
from aeterna_cli.workflows.restore.choice import choose
from aeterna_cli.workflows.restore.opened import OpenedBackup
from aeterna_cli.workflows.restore.preview import preview
from aeterna_cli.workflows.restore.steps import RestoreSteps
from tests.integration.deployment import NAME, Practice

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def points(*stores: str) -> list[str]:
    """Every kill point, enumerated from the workflow's own plan."""
    ctx = Context(Flags(), Output(), None)
    nothing = dict.fromkeys(("at", "lsn", "name", "into", "data_dir", "allow_skew", "identity"))
    choice = choose("latest", store=stores, **nothing)
    opened = OpenedBackup.open(ctx.deployment, "latest")
    found = preview(ctx.deployment, opened, choice)
    steps = RestoreSteps(ctx, ctx.deployment, opened, choice, found.prepared)
    made = list(kill_points(run.plan(NAME, opened, choice, found, steps)))
    ctx.close()
    return made


def go_on(practice: Practice, *words: str) -> None:
    """What an operator does: resume what was cut off, or start anew where nothing was begun."""
    unfinished = practice.operations("--unfinished")
    if unfinished:
        practice.cli.ok("operation", "resume", unfinished[-1]["operation"], "--confirm", NAME)
    else:
        practice.cli.ok(*words)


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.soak)])
def test_the_points_of_a_small_restore(practice: Practice, every: int) -> None:
    """Every fourth one here, all of them in `make soak`."""
    practice.backup("--store", "redis")
    words = ("restore", "run", "--store", "redis", "--confirm", NAME)
    survived = []
    for point in list(points("redis"))[::every]:
        if practice.killed_at(point, *words):
            go_on(practice, *words)
        else:
            survived.append(point)
        assert practice.operations("--unfinished") == [], point
    assert all(point.endswith(":middle") for point in survived)
    practice.cli.ok("restore", "verify")


@pytest.mark.parametrize(
    "point",
    [
        "step:unpack-postgres:after",
        "step:recover-postgres:middle",
        "step:recover-postgres:after",
        "step:restore-qdrant:middle",
        "step:serve-postgres:middle",
        "step:serve-postgres:after",
    ],
)
def test_the_long_steps_of_a_whole_restore(practice: Practice, point: str) -> None:
    practice.backup()
    before = restoring(practice)  # other tests of this session may have given up in the middle
    practice.destroy("postgres", "qdrant", "redis")
    words = ("restore", "run", "--confirm", NAME)
    assert practice.killed_at(point, *words)
    go_on(practice, *words)
    practice.cli.ok("restore", "verify")
    assert restoring(practice) <= before


def restoring(practice: Practice) -> set[str]:
    """Folders that an unfinished restore of PostgreSQL unpacked into."""
    names = [path.name for path in (practice.lab.directory / "postgres").iterdir()]
    return {name for name in names if "restoring" in name}
