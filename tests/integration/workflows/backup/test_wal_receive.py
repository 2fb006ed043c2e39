"""``backup wal receive`` on a real server: nothing is ever left out, whatever dies."""

import json
import re
import signal
import time

import pytest

from aeterna_cli.repository.wal_archive import covered, list_chunks, lsn_number
from aeterna_cli.workflows.backup.wal_position import list_gaps
from tests.command_line import CommandLine
from tests.integration.workflows.backup.wal_lab import (
    SEGMENT,
    WalLab,
    Writer,
    lose_the_slot,
    postgres_lab,
    promote,
    s3_wal_lab,
    until,
    wal_lab,
)

__all__ = ["postgres_lab", "s3_wal_lab", "wal_lab"]

pytestmark = pytest.mark.integration


def test_once_stores_everything_and_ends(wal_lab: WalLab, cli: CommandLine) -> None:
    before = wal_lab.sql("INSERT INTO written (filler) VALUES ('x')", "SELECT pg_switch_wal()")
    ran = cli.ok("backup", "wal", "receive", "--once")
    assert ran.schema == "aeterna.backup.wal.receive/1"
    assert ran.data["received_bytes"] > 0
    assert lsn_number(ran.data["position"]) >= lsn_number(str(before))
    assert wal_lab.assert_same_as_server() >= 1
    again = cli.ok("backup", "wal", "receive", "--once")
    assert again.data["received_bytes"] < SEGMENT  # not from the beginning again
    lines = wal_lab.place.state_directory.joinpath("audit.log").read_text().splitlines()
    outcomes = [json.loads(line)["outcome"] for line in lines]
    assert outcomes == ["started", "finished"] * 2


def test_a_dry_run_makes_no_slot(wal_lab: WalLab, cli: CommandLine) -> None:
    ran = cli.ok("backup", "wal", "receive", "--dry-run")
    assert (ran.data["slot_exists"], ran.data["position"]) == (False, None)
    assert wal_lab.place.postgres.slot_state("aeterna_wal") is None
    assert wal_lab.stored() == 0
    assert "would be made" in cli.ok("backup", "wal", "receive", "--dry-run", "-o", "table").out


def test_kill_the_receiver_again_and_again(wal_lab: WalLab) -> None:
    with Writer(wal_lab) as writer:
        for round_ in range(4):
            with wal_lab.receiving() as receiver:
                wal_lab.more_stored()
                time.sleep(0.3 * round_)  # another moment of its work each time
                receiver.process.kill()
        assert writer.rows
    wal_lab.cli.ok("backup", "wal", "receive", "--once")
    assert wal_lab.assert_same_as_server() >= 2


def test_only_stored_wal_is_called_flushed(wal_lab: WalLab) -> None:
    with Writer(wal_lab), wal_lab.receiving():
        for _ in range(20):
            state = wal_lab.place.postgres.slot_state("aeterna_wal")
            if state is not None and state.restart_lsn is not None and wal_lab.stored():
                assert state.restart_lsn <= wal_lab.stored()
            time.sleep(0.1)
        assert wal_lab.stored()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stores_what_is_pending(wal_lab: WalLab, number: int, code: int) -> None:
    with wal_lab.receiving() as receiver:
        wal_lab.catch_up()
        wal_lab.sql("INSERT INTO written (filler) VALUES ('pending')")
        reached = wal_lab.place.postgres.current_lsn()
        time.sleep(0.4)  # received, and too young to be a chunk
        assert wal_lab.stored() < reached
        begun = time.monotonic()
        assert receiver.end(number) == code
        assert time.monotonic() - begun < 10
    assert wal_lab.stored() >= reached
    line = wal_lab.place.state_directory.joinpath("audit.log").read_text().splitlines()[-1]
    assert json.loads(line)["outcome"] == "stopped"


def test_a_second_receiver_is_refused(wal_lab: WalLab, cli: CommandLine) -> None:
    with wal_lab.receiving() as receiver:
        until(lambda: "receiving WAL from" in receiver.said, "it streams")
        ran = cli("backup", "wal", "receive", "--once")
        assert (ran.code, ran.error["code"]) == (3, "lease_held")
        assert receiver.end(signal.SIGTERM) == 143
    cli.ok("backup", "wal", "receive", "--once")  # the lease was given back


def test_the_server_dies_and_comes_back(wal_lab: WalLab) -> None:
    with Writer(wal_lab), wal_lab.receiving() as receiver:
        until(lambda: wal_lab.stored() > 0, "the first chunk")
        for _ in range(2):
            wal_lab.control.kill("postgres")
            wal_lab.control.start("postgres")
            wal_lab.catch_up()
        assert "[postgres_unreachable]; again in" in receiver.said
        assert receiver.end(signal.SIGTERM) == 143
    wal_lab.assert_same_as_server()


def test_what_a_dead_server_had_sent_is_stored(wal_lab: WalLab) -> None:
    """Younger than a chunk has to be when its server dies for good: nobody else has it."""
    with wal_lab.receiving():
        wal_lab.catch_up()
        wal_lab.sql("INSERT INTO written (filler) VALUES ('the last')")
        reached = wal_lab.place.postgres.current_lsn()
        time.sleep(0.3)
        wal_lab.control.kill("postgres")
        until(lambda: wal_lab.stored() >= reached, "the last commit", 1.5)


def test_s3_goes_away_and_comes_back(s3_wal_lab: WalLab) -> None:
    with Writer(s3_wal_lab) as writer, s3_wal_lab.receiving() as receiver:
        until(lambda: s3_wal_lab.stored() > 0, "the first chunk")
        s3_wal_lab.control.stop("s3")
        until(lambda: "again in" in receiver.said, "it notices", 60)
        written = writer.rows
        s3_wal_lab.control.start("s3")
        s3_wal_lab.catch_up(60)
        assert writer.rows > written
        assert receiver.end(signal.SIGTERM) == 143
    s3_wal_lab.assert_same_as_server()


def test_a_promotion_is_followed(wal_lab: WalLab) -> None:
    """The server goes on as a replica and is promoted, with the receiver connected."""
    old = wal_lab.place.postgres.identity().timeline
    with wal_lab.receiving() as receiver:
        with Writer(wal_lab):
            until(lambda: wal_lab.stored() > 0, "the first chunk")
            wal_lab.catch_up()
        promote(wal_lab, lambda: until(lambda: receiver.said.count("receiving WAL") > 1, "again"))
        with Writer(wal_lab):
            until(lambda: timelines_of(wal_lab) == {old, old + 1}, "the new timeline")
        wal_lab.catch_up()
        assert receiver.end(signal.SIGTERM) == 143
    wal_lab.assert_same_as_server(old + 1)
    assert_joined(wal_lab, old)


def test_a_promotion_while_nobody_receives(wal_lab: WalLab, cli: CommandLine) -> None:
    old = wal_lab.place.postgres.identity().timeline
    cli.ok("backup", "wal", "receive", "--once")
    with Writer(wal_lab) as writer:
        until(lambda: writer.rows > 400, "rows that nobody has received")
    promote(wal_lab)
    ran = cli.ok("backup", "wal", "receive", "--once")
    assert ran.data["timeline"] == old + 1
    wal_lab.assert_same_as_server(old + 1)
    assert_joined(wal_lab, old)
    cli.ok("backup", "wal", "receive", "--once")


def test_a_lost_slot_is_a_gap_once(wal_lab: WalLab, cli: CommandLine) -> None:
    cli.ok("backup", "wal", "receive", "--once")
    end = wal_lab.stored()
    lose_the_slot(wal_lab)
    ran = cli("backup", "wal", "receive", "--once")
    assert (ran.code, ran.error["code"]) == (7, "wal_gap")
    gap = ran.error["details"]
    assert lsn_number(gap["start"]) == end
    assert "aeterna-cli backup create" in ran.error["next_steps"]
    timeline = wal_lab.place.postgres.identity().timeline
    assert [one.end for one in list_gaps(wal_lab.place.objects, wal_lab.wal, timeline)] == [
        lsn_number(gap["end"])
    ]
    held = wal_lab.place.postgres.slot_state("aeterna_wal")
    assert held is not None
    assert held.status == "reserved"
    # Again: behind the gap, from a whole segment on, and no second complaint.
    cli.ok("backup", "wal", "receive", "--once")
    ranges = covered(list_chunks(wal_lab.place.objects, wal_lab.wal))
    assert [(one.start, one.end) for one in ranges[:-1]] == [(ranges[0].start, end)]
    assert ranges[-1].start == lsn_number(gap["end"])
    assert ranges[-1].start % SEGMENT == 0


def test_a_dropped_slot_is_no_gap_while_the_wal_is_there(wal_lab: WalLab, cli: CommandLine) -> None:
    cli.ok("backup", "wal", "receive", "--once")
    wal_lab.place.postgres.drop_slot("aeterna_wal")
    with Writer(wal_lab) as writer:
        until(lambda: writer.rows > 400, "rows")
    wal_lab.sql("SELECT pg_switch_wal()", "CHECKPOINT")
    cli.ok("backup", "wal", "receive", "--once")
    wal_lab.assert_same_as_server(wal_lab.place.postgres.identity().timeline)


def test_it_begins_where_the_newest_backup_ends(wal_lab: WalLab, cli: CommandLine) -> None:
    """WAL between a backup and the first start of the receiver is fetched while it is there."""
    cli.ok("backup", "create", "--store", "postgres")
    wal_lab.sql("INSERT INTO written (filler) VALUES ('x')")
    for _ in range(3):
        wal_lab.sql("SELECT pg_switch_wal()", "CHECKPOINT")
        wal_lab.sql("INSERT INTO written (filler) VALUES ('x')")
    cli.ok("backup", "wal", "receive", "--once")
    assert cli.ok("backup", "wal", "status").data["gaps"] == []


def test_another_cluster_is_refused(wal_lab: WalLab, cli: CommandLine) -> None:
    wal_lab.place.pins.record({"postgres": "4711"})
    ran = cli("backup", "wal", "receive", "--once")
    assert (ran.code, ran.error["code"]) == (7, "another_cluster")


def test_a_server_that_went_back_is_refused(wal_lab: WalLab, cli: CommandLine) -> None:
    """Its WAL would be other bytes under names that are stored already."""
    cli.ok("backup", "wal", "receive", "--once")
    timeline = wal_lab.place.postgres.identity().timeline
    chunk = list_chunks(wal_lab.place.objects, wal_lab.wal)[-1]
    ahead = chunk.end // SEGMENT * SEGMENT + 50 * SEGMENT
    name = f"{timeline:08X}{ahead >> 32:08X}{(ahead & 0xFFFFFFFF) // SEGMENT:08X}"
    key = f"{wal_lab.wal}/{timeline:08X}/{name}/{ahead:016X}-{ahead + 100:016X}"
    wal_lab.place.objects.create(key, b"from a future that this server never had")
    ran = cli("backup", "wal", "receive", "--once")
    assert (ran.code, ran.error["code"]) == (7, "wal_ahead_of_server")


def timelines_of(lab: WalLab) -> set[int]:
    return {chunk.timeline for chunk in list_chunks(lab.place.objects, lab.wal)}


def assert_joined(lab: WalLab, old: int) -> None:
    """The new timeline begins with a whole segment that the old one reaches into, and the stored
    history says where it branched off."""
    ranges = covered(list_chunks(lab.place.objects, lab.wal))
    before = max(one.end for one in ranges if one.timeline == old)
    after = min(one.start for one in ranges if one.timeline == old + 1)
    history = lab.reader().history(old + 1)
    assert history is not None
    found = re.search(rb"^%d\t(\S+)" % old, history, re.MULTILINE)
    assert found is not None
    switch = lsn_number(found.group(1).decode())
    assert after == switch - switch % SEGMENT
    assert before >= after
