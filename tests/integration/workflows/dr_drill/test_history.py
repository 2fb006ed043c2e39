"""``dr-drill history``: the trend, and what is overdue."""

from pathlib import Path

import pytest

from aeterna_cli import context
from tests.integration.deployment import Practice
from tests.integration.workflows.dr_drill.scenarios import pause, program, scenario

pytestmark = pytest.mark.integration


def test_the_trend_and_what_is_overdue(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = practice.cli("dr-drill", "history", "--overdue")
    assert (empty.code, empty.error["code"]) == (8, "drills_overdue")
    steps = [program("pass", fault=True), pause(0.2)]
    path = scenario(tmp_path, "quick", method=steps, needs=[])
    first = practice.cli.ok("dr-drill", "run", path, "--yes").data["id"]
    second = practice.cli.ok("dr-drill", "run", path, "--yes").data["id"]
    found = practice.cli.ok("dr-drill", "history", "--overdue").data
    assert [one["id"] for one in found["drills"]] == [first, second]
    (before,), (after,) = (one["stores"] for one in found["drills"])
    assert before["rto_change"] is None
    assert after["rto_change"] == pytest.approx(after["rto"] - before["rto"], abs=1e-3)
    assert [(one["scenario"], one["overdue"]) for one in found["due"]] == [("quick", False)]
    assert "quick" in practice.cli.ok("dr-drill", "history", "-o", "table").out
    monkeypatch.setenv("AETERNA_DRILLS__ALLOWED", '["never-run"]')
    late = practice.cli("dr-drill", "history", "--overdue")
    assert late.code == 8
    assert "never-run" in late.error["message"]


def test_a_drill_that_failed_leaves_its_scenario_due(practice: Practice, tmp_path: Path) -> None:
    bad = program("raise SystemExit(3)", fault=True)
    path = scenario(tmp_path, "bad", method=[bad], needs=[])
    assert practice.cli("dr-drill", "run", path, "--yes").code == 8
    found = practice.cli("dr-drill", "history", "--overdue")
    assert found.code == 8
    assert found.data["due"] == [{"scenario": "bad", "due": None, "overdue": True}]


def test_time_makes_it_overdue(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    path = scenario(tmp_path, "quick", method=[program("pass", fault=True)], needs=[])
    practice.cli.ok("dr-drill", "run", path, "--yes")
    now = context.utc_now()
    monkeypatch.setattr(context, "utc_now", lambda: now + timedelta(days=29))
    practice.cli.ok("dr-drill", "history", "--overdue")
    monkeypatch.setattr(context, "utc_now", lambda: now + timedelta(days=31))
    assert practice.cli("dr-drill", "history", "--overdue").code == 8
