"""``operation abort``: given up with a yes, and for good."""

import shutil
from pathlib import Path

import pytest

from aeterna_cli.lab.control import LabControl
from tests.integration.deployment import NAME, Practice

pytestmark = pytest.mark.integration


def test_a_killed_restore_is_given_up_with_a_yes_only(practice: Practice, killed: str) -> None:
    refused = practice.cli("operation", "abort", killed)
    assert (refused.code, refused.error["code"]) == (7, "confirmation_missing")
    assert practice.cli.ok("operation", "abort", killed, "--dry-run").data["dry_run"] is True
    assert len(practice.operations("--unfinished")) == 1
    data = practice.cli.ok("operation", "abort", killed, "--yes").data
    assert data == {"operation": killed, "dry_run": False, "left": []}
    assert practice.operations("--unfinished") == []
    for words in (("resume", "--confirm", NAME), ("abort", "--yes"), ("abort", "--dry-run")):
        ran = practice.cli("operation", words[0], killed, *words[1:])
        assert (ran.code, ran.error["code"]) == (7, "operation_ended"), words
    practice.cli.ok("restore", "run", "--store", "redis", "--confirm", NAME)


@pytest.mark.parametrize(
    ("point", "left"), [("step:recover-postgres:before", True), ("step:clean-up:before", False)]
)
def test_data_in_the_clear_that_it_leaves_behind_are_named(
    practice: Practice, point: str, left: bool
) -> None:
    """And never those that are served by now."""
    practice.backup("--store", "postgres")
    folder = LabControl(practice.lab).data_dir("postgres").parent
    before = set(folder.glob("*.restoring-*"))  # what other tests of this session gave up
    assert practice.killed_at(point, "restore", "run", "--store", "postgres", "--confirm", NAME)
    (one,) = practice.operations("--unfinished")
    ran = practice.cli.ok("operation", "abort", str(one["operation"]), "--yes")
    found = [Path(name) for name in ran.data["left"]]
    assert set(found) == set(folder.glob("*.restoring-*")) - before
    assert bool(found) is left
    for path in found:
        shutil.rmtree(path)
