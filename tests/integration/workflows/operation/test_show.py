"""``operation show``: every record, its chain checked; unknown ids for all commands."""

import shutil

import pytest

from tests.integration.deployment import Practice

pytestmark = pytest.mark.integration

COMMANDS = ("show", "resume", "abort")


def test_every_record_is_shown_and_the_chain_is_checked(practice: Practice, killed: str) -> None:
    shown = practice.cli.ok("operation", "show", killed).data
    assert [record["kind"] for record in shown["records"]] == ["started", "intent"]
    text = practice.cli.ok("operation", "show", killed, "-o", "table").out
    assert "reason: OPS-7" in text
    assert "the hash chain is whole" in text


@pytest.mark.parametrize(
    "name", ["nonsense", "../../etc/passwd", "01a209e1-3b34-7227-b501-55221c131f23"]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_id_is_refused(practice: Practice, command: str, name: str) -> None:
    ran = practice.cli("operation", command, name)
    assert (ran.code, ran.error["code"]) == (7, "operation_unknown")
    assert "Traceback" not in ran.err


def test_a_changed_record_is_not_gone_on_with(practice: Practice, killed: str) -> None:
    shutil.rmtree(practice.open().state_directory / "operations")
    record = practice.repository / "operations" / killed / "000000.json"
    record.chmod(0o600)
    record.write_bytes(record.read_bytes().replace(b"OPS-7", b"OPS-8"))
    for command in COMMANDS:
        ran = practice.cli("operation", command, killed)
        assert (ran.code, ran.error["code"]) == (5, "journal_damaged")
