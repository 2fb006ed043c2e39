"""``operation resume``: goes on where a kill cut off, and only there."""

import pytest

from tests.integration.deployment import NAME, Practice

pytestmark = pytest.mark.integration


def test_a_killed_restore_goes_on_by_name_only(practice: Practice, killed: str) -> None:
    refused = practice.cli("operation", "resume", killed, "--yes")
    assert (refused.code, refused.error["code"]) == (7, "confirmation_missing")
    practice.cli.ok("operation", "resume", killed, "--confirm", NAME)
    assert practice.operations("--unfinished") == []
    assert "result" in practice.cli.ok("operation", "show", killed, "-o", "table").out
    practice.cli.ok("restore", "verify")


def test_a_backup_is_not_resumed(practice: Practice) -> None:
    practice.backup("--store", "redis")
    (one,) = practice.operations()
    ran = practice.cli("operation", "resume", one["operation"], "--confirm", NAME)
    assert (ran.code, ran.error["code"]) == (7, "operation_not_restartable")
