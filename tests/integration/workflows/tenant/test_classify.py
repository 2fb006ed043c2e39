"""``tenant classify``: classes, what is left to the next, who should move, exit 8 where asked."""

import csv
import io
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aeterna_cli.lab.seed.tenants import tenants
from tests.integration.deployment import Practice
from tests.integration.stores.tenant_lab import IDS
from tests.integration.tenant_database import SCALE
from tests.integration.workflows.tenant import seed_counts
from tests.integration.workflows.tenant.scratch import Scratch, ids

pytestmark = pytest.mark.integration

SMALL = ids(tenants(SCALE))
ACME, OTHER = SMALL["acme-corp"], SMALL["acme_corp"]


def by_slug(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["slug"]: one for one in data["tenants"]}


def test_every_tenant_has_its_class_and_the_lab_needs_no_move(practice: Practice) -> None:
    data = practice.cli.ok("tenant", "classify", "--exit-code").data
    found = by_slug(data)
    assert {slug: one["id"] for slug, one in found.items()} == IDS
    assert data["sizes"] == {"small": len(IDS), "medium": 0, "large": 0}
    assert (data["small"], data["medium"], data["to_move"]) == (10_000, 100_000, 0)
    points, rows = seed_counts.memory_points(), seed_counts.memory_rows()
    for slug, one in found.items():
        memories = max(points[slug], rows[slug])
        assert one["counts"]["memories"] == memories
        assert (one["above"], one["below"]) == (memories, 10_000 - memories)
        assert one["counts"]["rows"] is None
    assert data["taken_at"].endswith("Z")


def test_other_thresholds_are_tried_beside_those_of_the_profile(practice: Practice) -> None:
    most = seed_counts.memory_points()["large-corp"]
    words = ("--small", "1", "--medium", str(most - 1))
    found = by_slug(practice.cli.ok("tenant", "classify", *words).data)
    large = found["large-corp"]
    assert (large["size"], large["size_by_settings"]) == ("large", "small")
    assert (large["above"], large["below"], large["days_left"]) == (1, None, None)
    assert found["acme-corp"]["size"] == "medium"
    # rows and points together would be more than the threshold: nobody can tell without every id
    assert not found["acme-corp"]["certain"] or found["acme-corp"]["counts"]["memories"] * 2 < most


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--small", "0"), "threshold_out_of_range"),
        (("--small", "100", "--medium", "100"), "thresholds_inverted"),
        (("--medium", "9999"), "thresholds_inverted"),
    ],
)
def test_thresholds_that_make_no_sense(
    practice: Practice, words: tuple[str, ...], code: str
) -> None:
    ran = practice.cli("tenant", "classify", *words)
    assert (ran.code, ran.error["code"]) == (2, code)


def test_a_large_tenant_beside_others_should_move_and_exit_8_says_so(scratch: Scratch) -> None:
    scratch.prepare()
    scratch.collection("memories-shared")
    scratch.collection("dedi", indexes=False)
    scratch.shard("shared-1", "memories-shared", capacity=1000)
    scratch.points("memories-shared", ACME, 150)
    scratch.points("memories-shared", OTHER, 4)
    words = ("tenant", "classify", "--small", "10", "--medium", "100")
    ran = scratch.cli(*words, "--exit-code")
    assert (ran.code, ran.error["code"]) == (8, "tenants_should_move")
    assert (ran.data["to_move"], ran.error["next_steps"]) == (1, [])
    assert "no active shard is empty" in by_slug(ran.data)["acme-corp"]["advice"]["why"]
    scratch.shard("dedicated-1", "dedi")
    ran = scratch.cli(*words, "--exit-code")
    advice = by_slug(ran.data)["acme-corp"]["advice"]
    assert (advice["shard"], advice["placed"], advice["move"]) == ("shared-1", False, True)
    assert ran.error["next_steps"] == [advice["command"]]
    assert shlex.split(advice["command"]) == [
        "aeterna-cli", "tenant", "migrate", "--tenant-id", ACME, "--to-shard", "dedicated-1",
    ]  # fmt: skip
    assert scratch.cli(*words).code == 0
    assert advice["command"] in scratch.cli.ok(*words, "-o", "table").out
    rows = list(csv.DictReader(io.StringIO(scratch.cli.ok(*words, "-o", "csv").out)))
    assert [one["move"] for one in rows if one["tenant"] == "acme-corp"] == ["yes"]


def test_points_on_a_shard_that_no_rule_knows_are_the_placed_tenants(scratch: Scratch) -> None:
    """After a move the collection has a name of the operator's choice and no payload index."""
    scratch.prepare()
    scratch.collection("dedi", indexes=False)
    scratch.shard("dedicated-1", "dedi")
    scratch.points("dedi", ACME, 20)
    found = by_slug(scratch.data("classify"))["acme-corp"]
    assert (found["counts"]["memory_points"], found["advice"]["shard"]) == (20, "dedicated-1")


def test_days_left_follow_the_last_months_pace(scratch: Scratch) -> None:
    scratch.collection("memories-shared")
    now = datetime.now(UTC)
    scratch.points("memories-shared", ACME, 60, created=now - timedelta(days=10))
    scratch.points("memories-shared", ACME, 20, created=now - timedelta(days=60))
    data = scratch.data("classify", "--small", "10", "--medium", "100")
    found = by_slug(data)["acme-corp"]
    assert (found["size"], found["above"], found["below"]) == ("medium", 70, 20)
    assert found["days_left"] == 20 * 30 // 60


def test_a_database_without_our_tables_and_without_memories_still_answers(scratch: Scratch) -> None:
    """Schemas are partial: what is not there has nothing."""
    with scratch.sql() as server:
        server.execute("DROP TABLE memory_entries CASCADE")
    scratch.collection("memories-shared")
    scratch.points("memories-shared", ACME, 2)
    found = by_slug(scratch.data("classify"))["acme-corp"]
    assert (found["counts"]["memories"], found["counts"]["memory_rows"]) == (2, 0)
    with scratch.sql() as server:
        server.execute("DROP TABLE tenants CASCADE")
    ran = scratch.cli("tenant", "classify")
    assert (ran.code, ran.error["code"]) == (7, "root_missing")
