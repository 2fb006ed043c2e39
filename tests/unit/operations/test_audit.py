"""The audit log: private, chained, whole."""

import hashlib
import json
import os
import resource
import signal
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.errors import FailedError
from aeterna_cli.operations.audit import AuditLog
from tests.unit.operations.given import Child, Say, Wait

TIME = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def write(folder: Path, operation: str = "op", reason: str = "ticket") -> None:
    AuditLog(folder).write(
        time=TIME,
        actor="ada@host",
        profile="prod-eu",
        kind="backup.create",
        target="all stores",
        operation=operation,
        outcome="finished",
        reason=reason,
        change="CHG-1",
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "audit.log").read_bytes().splitlines()]


def test_a_line_says_who_did_what_why_and_how_it_ended(tmp_path: Path) -> None:
    write(tmp_path / "state", reason='Grüße\n"quoted"')
    assert lines(tmp_path / "state") == [
        {
            "time": "2026-01-02T03:04:05.678+00:00",
            "actor": "ada@host",
            "profile": "prod-eu",
            "kind": "backup.create",
            "target": "all stores",
            "operation": "op",
            "outcome": "finished",
            "reason": 'Grüße\n"quoted"',
            "change": "CHG-1",
            "previous": "0" * 64,
        }
    ]


def test_nobody_else_reads_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write(tmp_path / "state")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / "audit.log").stat().st_mode) == 0o600


def test_a_log_that_was_opened_up_is_closed_again(tmp_path: Path) -> None:
    (tmp_path / "audit.log").touch(mode=0o644)
    write(tmp_path)
    assert stat.S_IMODE((tmp_path / "audit.log").stat().st_mode) == 0o600


def test_every_line_has_the_hash_of_the_one_before(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path, str(number))
    raw = (tmp_path / "audit.log").read_bytes().splitlines()
    for before, after in zip(raw, lines(tmp_path)[1:], strict=False):
        assert after["previous"] == hashlib.sha256(before).hexdigest()


def test_a_log_longer_than_its_tail_goes_on_with_its_last_line(tmp_path: Path) -> None:
    write(tmp_path, reason="x" * (1 << 19))
    write(tmp_path, reason="y" * (1 << 19))
    write(tmp_path)
    raw = (tmp_path / "audit.log").read_bytes().splitlines()
    assert lines(tmp_path)[-1]["previous"] == hashlib.sha256(raw[-2]).hexdigest()


def test_processes_that_write_at_once_keep_the_chain(tmp_path: Path) -> None:
    def many(_say: Say, wait: Wait) -> None:
        wait()
        for number in range(20):
            write(tmp_path, f"{os.getpid()}-{number}")

    children = [Child(many) for _ in range(3)]
    for child in children:
        child.go()
    assert [child.end() for child in children] == [0, 0, 0]
    raw = (tmp_path / "audit.log").read_bytes().splitlines()
    assert len(raw) == 60
    for before, after in zip(raw, lines(tmp_path)[1:], strict=False):
        assert after["previous"] == hashlib.sha256(before).hexdigest()


def test_a_line_cut_short_does_not_swallow_the_next(tmp_path: Path) -> None:
    write(tmp_path)
    log = tmp_path / "audit.log"
    log.write_bytes(log.read_bytes()[:-20])
    write(tmp_path, "after")
    torn, after = log.read_bytes().splitlines()
    assert json.loads(after)["operation"] == "after"
    assert json.loads(after)["previous"] == hashlib.sha256(torn).hexdigest()


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "audit.log").mkdir()
    with pytest.raises(FailedError) as caught:
        write(tmp_path)
    assert caught.value.code == "audit_failed"
    assert "audit.log" in caught.value.message


def test_a_full_disk_is_an_error(tmp_path: Path) -> None:
    def full(say: Say, _wait: Wait) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        with pytest.raises(FailedError) as caught:
            write(tmp_path)
        say(caught.value.code)

    child = Child(full)
    assert child.line() == "audit_failed"
    assert child.end() == 0
    write(tmp_path, "after")
    assert lines_after(tmp_path)["operation"] == "after"


def lines_after(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "audit.log").read_bytes().splitlines()[-1])
    return found
