"""``backup wal status`` on real servers: what it says is so, with the server and without."""

import time
from typing import Any

import pytest

from aeterna_cli.repository.wal_archive import list_chunks, lsn_number
from tests.command_line import CommandLine
from tests.integration.workflows.backup.wal_lab import (
    SEGMENT,
    WalLab,
    Writer,
    lose_the_slot,
    postgres_lab,
    promote,
    until,
    wal_lab,
)

__all__ = ["postgres_lab", "wal_lab"]

pytestmark = pytest.mark.integration


def status(cli: CommandLine) -> dict[str, Any]:
    ran = cli.ok("backup", "wal", "status")
    assert ran.schema == "aeterna.backup.wal.status/1"
    found: dict[str, Any] = ran.data
    return found


def backup(cli: CommandLine) -> str:
    return str(cli.ok("backup", "create", "--store", "postgres").data["backup"])


def age(found: dict[str, Any], store: str = "postgres") -> dict[str, Any]:
    (one,) = [one for one in found["stores"] if one["store"] == store]
    return dict(one)


def test_without_anything(wal_lab: WalLab, cli: CommandLine) -> None:
    found = status(cli)
    assert found["server"]["reachable"]
    assert (found["slot"], found["stored"], found["windows"], found["gaps"]) == (None, [], [], [])
    assert found["lag"] == {"bytes": None, "seconds": None}
    assert {one["seconds"] for one in found["stores"]} == {None}
    ran = cli("backup", "wal", "status", "--exit-code")
    assert (ran.code, ran.error["code"]) == (8, "wal_findings")
    assert "no backup of PostgreSQL" in ran.error["message"]
    assert ran.data["findings"]  # the result is printed before it is judged


def test_everything_is_stored(wal_lab: WalLab, cli: CommandLine) -> None:
    made = backup(cli)
    with wal_lab.receiving():
        wal_lab.sql("INSERT INTO written (filler) VALUES ('x')")
        wal_lab.catch_up()
        found = status(cli)
        assert found["slot"]["active"]
        assert found["slot"]["safe_bytes"] > 0
        assert (found["lag"], found["gaps"]) == ({"bytes": 0, "seconds": 0.0}, [])
        assert (age(found)["seconds"], age(found)["from_backup"]) == (0.0, made)
        (window,) = found["windows"]
        assert window["whole"]
        assert lsn_number(window["until_lsn"]) >= lsn_number(found["server"]["position"])
        assert cli("backup", "wal", "status", "--exit-code").code == 0
        table = cli.ok("backup", "wal", "status", "-o", "table").out
        assert "no backup holds qdrant" in table
        assert made in table


def test_what_is_not_stored_makes_it_old(
    wal_lab: WalLab, cli: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup(cli)
    cli.ok("backup", "wal", "receive", "--once")
    with Writer(wal_lab) as writer:
        until(lambda: writer.rows > 100, "rows")
    time.sleep(1.2)
    found = status(cli)
    assert found["lag"]["bytes"] > 0
    assert 1.0 < age(found)["seconds"] < 60
    assert "no receiver is connected to slot aeterna_wal" in found["notes"]
    monkeypatch.setenv("AETERNA_TARGETS__RPO", "1")
    ran = cli("backup", "wal", "status", "--exit-code")
    assert ran.code == 8
    assert "the last restorable moment of postgres" in ran.error["message"]


def test_a_gap_is_open_until_a_newer_backup(wal_lab: WalLab, cli: CommandLine) -> None:
    first = backup(cli)
    cli.ok("backup", "wal", "receive", "--once")
    end = wal_lab.stored()
    lose_the_slot(wal_lab)
    assert any("is lost" in one for one in status(cli)["findings"])
    assert cli("backup", "wal", "receive", "--once").code == 7
    (gap,) = status(cli)["gaps"]  # on record, before anything behind it is stored
    assert (lsn_number(gap["start"]), gap["backups"], gap["open"]) == (end, [first], True)
    cli.ok("backup", "wal", "receive", "--once")
    assert status(cli)["gaps"] == [gap]
    ran = cli("backup", "wal", "status", "--exit-code")
    assert ran.code == 8
    assert "gap in the WAL" in ran.error["message"]
    second = backup(cli)
    cli.ok("backup", "wal", "receive", "--once")
    found = status(cli)
    assert found["gaps"] == [{**gap, "open": False}]
    assert age(found)["from_backup"] == second
    assert cli("backup", "wal", "status", "--exit-code").code == 0
    old = next(one for one in found["windows"] if one["backup"] == first)
    assert lsn_number(old["until_lsn"]) == end
    assert "closed by a newer backup" in cli.ok("backup", "wal", "status", "-o", "table").out


def test_a_missing_chunk_is_a_gap(wal_lab: WalLab, cli: CommandLine) -> None:
    made = backup(cli)
    for _ in range(3):
        cli.ok("backup", "wal", "receive", "--once")
        wal_lab.sql("INSERT INTO written (filler) VALUES ('x')", "SELECT pg_switch_wal()")
    cli.ok("backup", "wal", "receive", "--once")
    chunks = list_chunks(wal_lab.place.objects, wal_lab.wal)
    victim = [one for one in chunks if one.start % SEGMENT == 0][-2]
    wal_lab.place.objects.delete([victim.key])
    (gap,) = status(cli)["gaps"]
    assert (lsn_number(gap["start"]), lsn_number(gap["end"])) == (victim.start, victim.end)
    assert (gap["backups"], gap["open"]) == ([made], True)


def test_a_backup_that_lacks_its_own_wal(wal_lab: WalLab, cli: CommandLine) -> None:
    made = backup(cli)
    own = f"backups/{made}/postgres/wal"
    chunks = list_chunks(wal_lab.place.objects, own)
    wal_lab.place.objects.delete([one.key for one in chunks])
    found = status(cli)
    assert (found["windows"][0]["whole"], found["windows"][0]["until"]) == (False, None)
    assert age(found)["seconds"] is None
    assert any("lacks WAL" in one for one in found["findings"])


def test_a_window_goes_on_over_a_promotion(wal_lab: WalLab, cli: CommandLine) -> None:
    made = backup(cli)
    cli.ok("backup", "wal", "receive", "--once")
    promote(wal_lab)
    with Writer(wal_lab) as writer:
        until(lambda: writer.rows > 100, "rows")
    cli.ok("backup", "wal", "receive", "--once")
    found = status(cli)
    assert found["gaps"] == []
    (window,) = found["windows"]
    assert lsn_number(window["until_lsn"]) == wal_lab.stored()
    assert len({one["timeline"] for one in found["stored"]}) == 2
    assert age(found)["from_backup"] == made
    # The repository alone knows the same: the history is stored beside the WAL.
    wal_lab.control.stop("postgres")
    alone = status(cli)
    assert (alone["server"]["reachable"], alone["lag"]["bytes"]) == (False, None)
    assert alone["windows"][0]["until_lsn"] == window["until_lsn"]
    assert (alone["system"], alone["gaps"]) == (found["system"], [])
    assert any("what the repository knows" in one for one in alone["notes"])
    assert "does not answer" in cli.ok("backup", "wal", "status", "-o", "table").out


def test_another_cluster_is_refused(wal_lab: WalLab, cli: CommandLine) -> None:
    wal_lab.place.pins.record({"postgres": "4711"})
    ran = cli("backup", "wal", "status")
    assert (ran.code, ran.error["code"]) == (7, "another_cluster")
