"""``operation abort``: given up with a yes, and for good."""

import pytest

from tests.integration.deployment import NAME, Practice

pytestmark = pytest.mark.integration


def test_a_killed_restore_is_given_up_with_a_yes_only(practice: Practice, killed: str) -> None:
    refused = practice.cli("operation", "abort", killed)
    assert (refused.code, refused.error["code"]) == (7, "confirmation_missing")
    practice.cli.ok("operation", "abort", killed, "--dry-run")
    assert len(practice.operations("--unfinished")) == 1
    data = practice.cli.ok("operation", "abort", killed, "--yes").data
    assert data == {"operation": killed, "state": "abandoned"}
    assert practice.operations("--unfinished") == []
    for words in (("resume", "--confirm", NAME), ("abort", "--yes"), ("abort", "--dry-run")):
        ran = practice.cli("operation", words[0], killed, *words[1:])
        assert (ran.code, ran.error["code"]) == (7, "operation_ended"), words
    practice.cli.ok("restore", "run", "--store", "redis", "--confirm", NAME)
