"""WAL as it is streamed is the server's own, whatever happens on the way."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.errors import ConflictError, RefusedError, TransientError
from aeterna_cli.stores import postgres_replication
from aeterna_cli.stores.postgres import PostgresServer
from aeterna_cli.stores.postgres_wire import lsn_number, lsn_text
from tests.integration.stores.postgres_server import (
    LocalPostgres,
    both_majors,
    needs_debian,
    postgres,
)
from tests.integration.stores.wal_folder import SEGMENT, WalFolder, receiving

pytestmark = pytest.mark.integration

SLOT = "aeterna_wal"
TABLE = "CREATE TABLE events (id bigserial PRIMARY KEY, v text)"
WRITE = "INSERT INTO events (v) SELECT repeat(md5(g::text), 20) FROM generate_series(1, 500) g"


@pytest.fixture(scope="module", params=[18, pytest.param(15, marks=needs_debian)])
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalPostgres]:
    folder = tmp_path_factory.mktemp("pg")
    with postgres(folder, request.param, wal_keep_size="512MB", wal_sender_timeout="1s") as server:
        server.execute(TABLE)
        yield server


@contextmanager
def writing(server: LocalPostgres) -> Iterator[None]:
    """A session that commits all the time."""
    done = threading.Event()

    def write() -> None:
        with server.connect() as connection:
            while not done.is_set():
                connection.execute(WRITE)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def until(condition: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to this"
        time.sleep(0.01)


def until_all(server: LocalPostgres, sink: WalFolder) -> None:
    """Everything that is written now is flushed at the receiver, to the end of its segment."""
    end = -(-server.server().switch_wal() // SEGMENT) * SEGMENT
    until(lambda: sink.flushed >= end)


def same(server: LocalPostgres, sink: WalFolder, timeline: int = 1) -> int:
    """Every complete segment that both have is equal; how many. The receiver misses none."""
    theirs, ours = server.segments(), sink.segments()
    first = min(name for name in ours if int(name[:8], 16) == timeline)
    wanted = [n for n in sorted(theirs) if int(n[:8], 16) == timeline and n >= first]
    missing = [name for name in wanted if name not in ours]
    assert not missing
    for name in wanted:
        length = SEGMENT
        if name == wanted[-1] and timeline < sink.timeline:
            length = len(ours[name])  # the timeline ended inside of it
        assert ours[name] == theirs[name][:length], name
    return len(wanted)


def test_the_stream_is_the_servers_own_wal(shared: LocalPostgres, tmp_path: Path) -> None:
    server, sink = shared.server(), WalFolder(tmp_path / "wal")
    server.create_slot(SLOT)
    server.create_slot(SLOT)  # no error where it is there
    try:
        with receiving(server, sink, slot=SLOT) as receiver:
            assert receiver.begin[1] % SEGMENT == 0
            with writing(shared):
                until(lambda: len(sink.segments()) > 6)
            until_all(shared, sink)
            state = server.slot_state(SLOT)
            assert state is not None
            assert (state.active, state.status, state.name) == (True, "reserved", SLOT)
        assert same(shared, sink) > 5
        state = server.slot_state(SLOT)
        assert state is not None
        assert not state.active
        assert state.restart_lsn == sink.flushed, "the last report did not arrive"
    finally:
        server.drop_slot(SLOT)
    server.drop_slot(SLOT)  # no error where there is none
    assert server.slot_state(SLOT) is None


def test_a_receiver_that_is_killed_leaves_no_gap(shared: LocalPostgres, tmp_path: Path) -> None:
    server, sink = shared.server(), WalFolder(tmp_path / "wal")
    server.create_slot(SLOT)
    words: list[str | Path] = [
        sys.executable,
        "-m",
        "tests.integration.stores.wal_folder",
        tmp_path / "wal",
    ]
    words += ["127.0.0.1", str(shared.port), "boss", SLOT]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        with writing(shared):
            for _ in range(3):
                before = sink.resume() or (0, 0)
                with subprocess.Popen(words, env=environment) as process:
                    until(partial(progressed, sink, before[1] + 3 * SEGMENT))
                    process.send_signal(signal.SIGKILL)
        timeline, start = sink.resume() or (0, 0)
        until(lambda: not active(server))
        with receiving(server, sink, slot=SLOT, start=start, timeline=timeline) as receiver:
            assert receiver.begin == (timeline, start)
            until_all(shared, sink)
        assert same(shared, sink) > 9
    finally:
        until(lambda: not active(server))
        server.drop_slot(SLOT)


def progressed(sink: WalFolder, position: int) -> bool:
    return (sink.resume() or (0, 0))[1] > position


def active(server: PostgresServer) -> bool:
    state = server.slot_state(SLOT)
    assert state is not None
    return state.active


def test_only_what_the_sink_flushed_is_reported(shared: LocalPostgres, tmp_path: Path) -> None:
    sink = WalFolder(tmp_path / "wal")
    with receiving(shared.server(), sink) as receiver:
        sink.lazy = True
        flushed = sink.flushed
        shared.execute(WRITE)
        end = shared.server().switch_wal()
        until(lambda: sink.position >= end)
        query = "SELECT flush_lsn - '0/0' FROM pg_stat_replication"
        time.sleep(1.5)  # longer than from one report to the next
        assert shared.value(query) == flushed < end
        sink.lazy = False
        until(lambda: shared.value(query) >= end)
        assert receiver.error is None


def test_a_stream_ends_soon_after_it_is_asked_to(shared: LocalPostgres, tmp_path: Path) -> None:
    with receiving(shared.server(), WalFolder(tmp_path / "wal")) as receiver, writing(shared):
        began = time.monotonic()
        receiver.leave()
        assert time.monotonic() - began < 2


def test_a_quiet_server_is_not_taken_for_a_dead_one(
    shared: LocalPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_replication, "_QUIET", 0.6)
    monkeypatch.setattr(postgres_replication, "_PATIENCE", 2)
    monkeypatch.setattr(postgres_replication, "_STATUS", 0.2)
    with receiving(shared.server(), WalFolder(tmp_path / "wal")) as receiver:
        time.sleep(2.5)  # also longer than wal_sender_timeout
        assert receiver.error is None
        sender = shared.value("SELECT pid FROM pg_stat_replication")
        os.kill(sender, signal.SIGSTOP)
        try:
            until(lambda: receiver.error)
        finally:
            os.kill(sender, signal.SIGCONT)
        assert isinstance(receiver.error, TransientError)
        assert receiver.error.code == "postgres_silent"
        receiver.error = None


def test_a_temporary_slot_lives_as_long_as_the_stream(
    shared: LocalPostgres, tmp_path: Path
) -> None:
    query = "SELECT count(*) FROM pg_replication_slots WHERE temporary"
    with receiving(shared.server(), WalFolder(tmp_path / "wal"), temporary=True) as receiver:
        assert shared.value(query) == 1
        assert shared.value("SELECT bool_and(wal_status = 'reserved') FROM pg_replication_slots")
        assert receiver.begin[1] <= shared.server().current_lsn()
    until(lambda: shared.value(query) == 0)


@pytest.mark.parametrize("how", ["terminate", "crash", "shutdown"])
def test_a_server_that_goes_away_is_transient(tmp_path: Path, how: str) -> None:
    sink = WalFolder(tmp_path / "wal")
    with postgres(tmp_path / "pg") as server, receiving(server.server(), sink) as receiver:
        if how == "terminate":
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        elif how == "crash":
            server.kill()
        else:
            server.stop()
        until(lambda: receiver.error)
        assert isinstance(receiver.error, TransientError), receiver.error
        receiver.error = None


def test_a_slot_has_one_receiver(shared: LocalPostgres, tmp_path: Path) -> None:
    server = shared.server()
    server.create_slot(SLOT)
    try:
        with receiving(server, WalFolder(tmp_path / "one"), slot=SLOT):
            other = receiving(server, WalFolder(tmp_path / "two"), slot=SLOT)
            with pytest.raises(ConflictError) as raised, other:
                pass
            assert raised.value.code == "slot_in_use"
            with pytest.raises(ConflictError, match="slot"):
                server.drop_slot(SLOT)
    finally:
        server.drop_slot(SLOT)
    with (
        pytest.raises(RefusedError) as missing,
        receiving(server, WalFolder(tmp_path / "three"), slot=SLOT),
    ):
        pass
    assert missing.value.code == "slot_missing"
    shared.execute("SELECT pg_create_logical_replication_slot('theirs', 'test_decoding')")
    try:
        with pytest.raises(ConflictError, match="logical"):
            server.create_slot("theirs")
        server.drop_slot("theirs")
        assert shared.value("SELECT count(*) FROM pg_replication_slots") == 1, "it is not ours"
    finally:
        shared.execute("SELECT pg_drop_replication_slot('theirs')")


# -- gaps


@pytest.mark.parametrize("fresh", [False, True], ids=["resumed", "first start"])
@both_majors
def test_a_lost_slot_is_a_named_gap(tmp_path: Path, major: int, fresh: bool) -> None:
    small = "2MB"
    with postgres(
        tmp_path / "pg", major, max_slot_wal_keep_size=small, max_wal_size=small
    ) as server:
        server.execute(TABLE)
        mine, sink = server.server(), WalFolder(tmp_path / "wal")
        mine.create_slot(SLOT)
        with receiving(mine, sink, slot=SLOT):
            until_all(server, sink)
        for _ in range(8):
            server.execute(WRITE, "SELECT pg_switch_wal()")
        server.execute("CHECKPOINT")
        state = mine.slot_state(SLOT)
        assert state is not None
        assert state.status == "lost"
        timeline, start = (None, None) if fresh else (1, sink.flushed)
        with (
            pytest.raises(RefusedError) as raised,
            receiving(mine, sink, slot=SLOT, start=start, timeline=timeline),
        ):
            pass
        assert raised.value.code == "wal_gap"
        assert "backup create" in raised.value.next_steps[0]
        if not fresh:
            assert f"from {lsn_text(sink.flushed)} to" in str(raised.value)
            names = [path.name for path in (server.data / "pg_wal").iterdir()]
            oldest = min(name for name in names if len(name) == 24)[8:]
            first = int(oldest[:8], 16) << 32 | int(oldest[8:], 16) * SEGMENT
            assert raised.value.details["to"] == lsn_text(first)
        mine.drop_slot(SLOT)
        with (
            pytest.raises(RefusedError) as raised,
            receiving(mine, sink, start=sink.flushed, timeline=1),
        ):
            pass
        assert raised.value.code == "wal_gap", "a segment that is gone, without a slot"


# -- timelines


@contextmanager
def pair(folder: Path, major: int = 18) -> Iterator[tuple[LocalPostgres, LocalPostgres]]:
    """A primary and its standby."""
    with postgres(folder / "one", major, wal_keep_size="512MB") as primary:
        primary.execute(TABLE)
        standby = primary.standby(folder / "two")
        try:
            yield primary, standby
        finally:
            standby.stop()


@both_majors
def test_a_promotion_is_followed_within_the_stream(tmp_path: Path, major: int) -> None:
    sink = WalFolder(tmp_path / "wal")
    with pair(tmp_path, major) as (primary, standby):
        with receiving(standby.server(), sink) as receiver:
            primary.execute(WRITE, "SELECT pg_switch_wal()", WRITE)
            end = primary.server().current_lsn()
            until(lambda: sink.position >= end)
            standby.promote()
            standby.execute(WRITE, "SELECT pg_switch_wal()", WRITE)
            until_all(standby, sink)
            assert receiver.error is None
        assert [timeline for timeline, _ in sink.begun] == [1, 2]
        assert sink.begun[1][1] % SEGMENT == 0
        history = (standby.data / "pg_wal" / "00000002.history").read_bytes()
        assert (sink.folder / "00000002.history").read_bytes() == history
        assert same(standby, sink, 1) > 0
        assert same(standby, sink, 2) > 0
        assert standby.server().identity().timeline == 2


def test_a_receiver_comes_back_after_a_failover(tmp_path: Path) -> None:
    """It may stand before the switch, exactly at it, or beyond, in a past that is no more."""
    sink = WalFolder(tmp_path / "wal")
    with pair(tmp_path) as (primary, standby):
        with receiving(primary.server(), sink) as receiver:
            primary.execute(WRITE)
            until_all(primary, sink)
            middle = sink.flushed
            primary.execute(WRITE)
            end = primary.server().current_lsn()
            until(lambda: standby.server().current_lsn() >= end)
            standby.stop(signal.SIGKILL)
            primary.execute(WRITE, WRITE)
            until_all(primary, sink)
            assert receiver.error is None
        beyond = sink.flushed
        primary.stop()
        (standby.data / "postgresql.auto.conf").write_text("")
        standby.start()
        standby.promote()
        standby.execute(WRITE, "SELECT pg_switch_wal()", WRITE)
        words = (standby.data / "pg_wal" / "00000002.history").read_text().split()
        branch = lsn_number(words[1])
        assert middle < branch < beyond
        floor = branch - branch % SEGMENT
        for start, expected in (
            (middle, [(1, middle), (2, floor)]),
            (branch, [(2, floor)]),
            (beyond, [(2, floor)]),
        ):
            after = WalFolder(tmp_path / f"wal-{start}")
            with receiving(standby.server(), after, start=start, timeline=1):
                until_all(standby, after)
            assert after.begun == expected
            assert same(standby, after, 2) > 1
        with (
            pytest.raises(RefusedError) as raised,
            receiving(standby.server(), sink, start=beyond, timeline=7),
        ):
            pass
        assert raised.value.code == "timeline_unknown"


def test_a_server_that_went_back_is_refused(shared: LocalPostgres, tmp_path: Path) -> None:
    ahead = shared.server().current_lsn() + 10 * SEGMENT
    with (
        pytest.raises(RefusedError) as raised,
        receiving(shared.server(), WalFolder(tmp_path / "wal"), start=ahead, timeline=1),
    ):
        pass
    assert raised.value.code == "wal_ahead_of_server"
