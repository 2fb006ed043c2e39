"""Logs folded: what is certain, what is open, in whatever files and order it was written."""

from pathlib import Path

import pytest

from aeterna_cli.errors import FailedError
from aeterna_cli.lab.workload.history import fold
from aeterna_cli.lab.workload.log import Log
from aeterna_cli.lab.workload.model import Kind, Operation


def operation(number: int, version: int, kind: Kind = "update") -> Operation:
    return Operation(number, version, kind, version, 1000 + version)


def test_the_newest_acknowledged_version_wins_whichever_thread_wrote_it(tmp_path: Path) -> None:
    with Log(tmp_path / "a.log") as first, Log(tmp_path / "b.log") as second:
        for log, version in ((second, 2), (first, 3), (second, 1)):
            log.intent(operation(7, version))
            log.acknowledged(operation(7, version))
    found = fold(tmp_path)
    assert found.last == {7: operation(7, 3)}
    assert found.acknowledged == 3
    assert not found.open


def test_an_intent_without_its_acknowledgement_allows_both_states(tmp_path: Path) -> None:
    with Log(tmp_path / "a.log") as log:
        log.intent(operation(1, 1, "insert"))
        log.acknowledged(operation(1, 1, "insert"))
        log.intent(operation(1, 2, "delete"))
        log.intent(operation(2, 1, "insert"))
    found = fold(tmp_path)
    assert found.allowed(1) == (operation(1, 1, "insert"), operation(1, 2, "delete"))
    assert found.allowed(2) == (None, operation(2, 1, "insert"))
    assert sorted(found.numbers()) == [1, 2]


def test_a_torn_last_line_did_not_happen(tmp_path: Path) -> None:
    with Log(tmp_path / "a.log") as log:
        log.intent(operation(1, 1, "insert"))
        log.acknowledged(operation(1, 1, "insert"))
    path = tmp_path / "a.log"
    whole = path.read_bytes()
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        found = fold(tmp_path)
        assert not found.last
        assert len(found.open) == (b"\n" in whole[:end])


def test_a_batch_is_certain_with_its_acknowledgement_alone(tmp_path: Path) -> None:
    with Log(tmp_path / "a.log") as log:
        log.batch_intent(0, 3, 5)
        log.batch_acknowledged(0, 3)
        log.batch_intent(3, 2, 6)
    found = fold(tmp_path)
    assert found.last == {one: Operation(one, 1, "insert", 1, 5) for one in range(3)}
    assert found.open == {one: Operation(one, 1, "insert", 1, 6) for one in (3, 4)}


def test_an_open_operation_that_a_newer_acknowledged_one_covers_is_not_open(
    tmp_path: Path,
) -> None:
    with Log(tmp_path / "a.log") as first, Log(tmp_path / "b.log") as second:
        first.intent(operation(1, 1, "insert"))
        second.intent(operation(1, 2))
        second.acknowledged(operation(1, 2))
    assert not fold(tmp_path).open


def test_errors_second_writes_and_what_readers_saw_are_counted(tmp_path: Path) -> None:
    with Log(tmp_path / "a.log") as log:
        log.failed(1, 2, "qdrant_timeout")
        log.second_missing(operation(1, 2), "dropped")
        for number in range(12):
            log.seen("stale", number, "text with\nlines and ünïcödé")
    found = fold(tmp_path)
    assert found.errors == {"qdrant_timeout": 1}
    assert found.seconds_missing == {"dropped": 1}
    assert (found.seen_counts["stale"], len(found.seen["stale"])) == (12, 10)


@pytest.mark.parametrize("line", ["A 1 1", "I 1", "C 0 5", "I one two u 3 4", "S 1"])
def test_a_line_that_makes_no_sense_is_told(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.log").write_text(line + "\n")
    with pytest.raises(FailedError) as raised:
        fold(tmp_path)
    assert raised.value.code == "workload_log_damaged"
