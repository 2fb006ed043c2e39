"""``config pin``: another server than the one met first is refused until it is let go."""

import json

import pytest

from tests.integration.deployment import Practice

pytestmark = pytest.mark.integration


def test_another_cluster_than_the_pinned_one_is_refused_until_it_is_let_go(
    practice: Practice,
) -> None:
    practice.backup("--store", "redis")
    pins = practice.open().pins
    mine = pins.read()["redis"]
    assert practice.cli.ok("config", "pin").data["redis"] == mine
    pins.path.write_text(json.dumps({**pins.read(), "redis": "somebody else"}), encoding="utf-8")
    asked = practice.cli("config", "test")
    assert asked.code == 8
    assert {one["store"]: one["code"] for one in asked.data}["redis"] == "another_cluster"
    refused = practice.cli("backup", "create", "--store", "redis")
    assert (refused.code, refused.error["code"]) == (7, "another_cluster")
    shown = practice.cli.ok("config", "pin", "--forget", "redis", "--dry-run").data
    assert shown["redis"] == "somebody else"
    unsaid = practice.cli("config", "pin", "--forget", "redis")
    assert (unsaid.code, unsaid.error["code"]) == (7, "confirmation_missing")
    assert pins.read()["redis"] == "somebody else"
    assert "redis" not in practice.cli.ok("config", "pin", "--forget", "redis", "--yes").data
    practice.backup("--store", "redis")
    assert pins.read()["redis"] == mine


@pytest.mark.parametrize("words", [(), ("--dry-run",)], ids=["forget", "dry-run"])
def test_what_is_not_pinned_cannot_be_let_go(practice: Practice, words: tuple[str, ...]) -> None:
    ran = practice.cli("config", "pin", "--forget", "nothing", *words)
    assert (ran.code, ran.error["code"]) == (7, "not_pinned")
    assert "repository" in ran.error["hint"]
    assert "repository" in practice.cli.ok("config", "pin", "-o", "table").out
