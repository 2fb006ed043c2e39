"""The client on a real server: no write by an old placement, no acknowledgement too early."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from aeterna_cli.client import (
    HeldTooLong,
    Placement,
    PlacementClient,
    PlacementLapsed,
    PlacementUnavailable,
)
from aeterna_cli.client.route import steady_clock
from aeterna_cli.errors import TransientError
from tests.integration.stores.placement_server import (
    DEDICATED,
    SHARED,
    PlacementServer,
    placement_server,
)

pytestmark = pytest.mark.integration
CUT = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
          WHERE usename <> current_user AND backend_type = 'client backend'"""


class LeapingClock:
    """The steady clock, and what a test adds to it: a process that was stopped for so long."""

    def __init__(self) -> None:
        self.leap = 0.0

    def __call__(self) -> float:
        return steady_clock() + self.leap


@pytest.fixture(scope="module")
def placing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlacementServer]:
    with placement_server(tmp_path_factory.mktemp("placing") / "server") as made:
        yield made


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never became true"
        threading.Event().wait(0.005)


def client(placing: PlacementServer, **values: Any) -> PlacementClient:
    return PlacementClient(placing.application, **{"route_ttl": 30, "hold_limit": 30, **values})


# -- contract dual


def test_a_tenant_without_a_row_is_the_applications_own_and_known_to_the_mover(
    placing: PlacementServer,
) -> None:
    tenant = str(uuid4())
    with client(placing, instance="web-7") as one:
        with one.writing(tenant) as placement:
            assert placement is None
        assert one.reading(tenant) is None
        assert placing.acknowledged(tenant) == [0]
        assert one.instance.startswith("web-7/")
        first = placing.placed(tenant)
        until(lambda: placing.acknowledged(tenant) == [1])
        with one.writing(tenant.upper()) as placement:
            assert placement == first


def test_an_instance_is_registered_before_it_reads(placing: PlacementServer) -> None:
    first = placing.placed()
    with client(placing) as one, ThreadPoolExecutor(1) as pool:
        with placing.server.connect() as blocker, blocker.transaction():
            blocker.execute("LOCK TABLE aeterna_ops.tenant_placement")
            reading = pool.submit(one.reading, first.tenant)
            until(lambda: placing.acknowledged(first.tenant) == [0])
            assert not reading.done()
        assert reading.result() == SHARED


def test_an_epoch_is_acknowledged_when_no_older_write_runs(placing: PlacementServer) -> None:
    first = placing.placed()
    with client(placing) as one:
        old, older_still = one.writing(first.tenant), one.writing(first.tenant)
        assert old.__enter__() == older_still.__enter__() == first
        dual = placing.changed(first, state="dual", secondary=DEDICATED)
        until(lambda: one.reading(first.tenant) and _seen(one, dual.tenant) == 2)
        with one.writing(first.tenant) as placement:
            assert placement == dual
        assert placing.acknowledged(first.tenant) == [1]
        old.__exit__(None, None, None)
        _refreshed(one, first.tenant)
        assert placing.acknowledged(first.tenant) == [1]
        older_still.__exit__(None, None, None)
        until(lambda: placing.acknowledged(first.tenant) == [2])


def _seen(one: PlacementClient, tenant: str) -> int:
    with one._keeping.changed:
        return one._keeping.route(tenant).epoch


def _refreshed(one: PlacementClient, tenant: str) -> None:
    one._keeping.refresh([tenant])


def test_no_write_starts_while_the_tenant_is_held(placing: PlacementServer) -> None:
    held = placing.changed(placing.placed(), state="held")
    with client(placing) as one, ThreadPoolExecutor(1) as pool:

        def write() -> object:
            with one.writing(held.tenant) as placement:
                return placement

        writing = pool.submit(write)
        until(lambda: placing.acknowledged(held.tenant) == [2])
        assert one.reading(held.tenant) == SHARED
        assert not writing.done()
        moved = placing.changed(held, state="serving", primary=DEDICATED)
        assert writing.result(30) == moved
        assert one.reading(held.tenant) == DEDICATED


@pytest.mark.parametrize("contract", ["dual", "reread"])
def test_a_hold_above_the_bound_is_an_error_and_writes_nothing(
    placing: PlacementServer, contract: Any
) -> None:
    held = placing.changed(placing.placed(), state="held")
    with (
        client(placing, contract=contract, hold_limit=0.15) as one,
        pytest.raises(HeldTooLong),
        one.writing(held.tenant),
    ):
        pytest.fail("a write began while the tenant was held")


def test_acknowledgements_hold_under_many_writers(placing: PlacementServer) -> None:
    """The mover's point of view: once epoch n is acknowledged, no write of an older one runs."""
    placement, running, guard = placing.placed(), Counter[int](), threading.Lock()
    stop, written = threading.Event(), Counter[int]()

    with client(placing) as one, ThreadPoolExecutor(6) as pool:

        def write() -> None:
            while not stop.is_set():
                with one.writing(placement.tenant) as found:
                    assert found is not None
                    with guard:
                        running[found.epoch] += 1
                    threading.Event().wait(0.002)
                    with guard:
                        running[found.epoch] -= 1
                        written[found.epoch] += 1

        writers = [pool.submit(write) for _ in range(6)]
        try:
            until(lambda: written[1] > 0)
            latest = placement
            for turn in range(12):
                latest = placing.changed(latest, state="held" if turn % 2 == 0 else "serving")
                until(lambda now=latest: placing.acknowledged(now.tenant) == [now.epoch])
                with guard:
                    old = {epoch: count for epoch, count in running.items() if count}
                assert not [epoch for epoch in old if epoch < latest.epoch]
                if latest.state == "held":
                    assert not old
                else:
                    until(lambda now=latest: written[now.epoch] > 0)
        finally:
            stop.set()
        for writer in writers:
            writer.result(30)
    assert not [epoch for epoch in written if epoch % 2 == 0], "written while held"


# -- what is too old is never used


def test_a_cut_connection_is_made_again_and_nothing_old_is_used(placing: PlacementServer) -> None:
    placement = placing.placed()
    with client(placing, route_ttl=0.4) as one:
        with one.writing(placement.tenant):
            pass
        for _ in range(3):
            placing.server.value(CUT)
            placement = placing.changed(placement, operation=f"after {placement.epoch}")
            until(lambda now=placement: placing.acknowledged(now.tenant) == [now.epoch])
            with one.writing(placement.tenant) as found:
                assert found == placement
        placing.server.wait_for(
            "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
        )


def test_a_cut_is_no_error_of_the_next_write(placing: PlacementServer) -> None:
    with client(placing) as one:
        with one.writing(placing.placed().tenant):
            pass
        for _ in range(5):
            another = placing.placed()
            placing.server.value(CUT)
            with one.writing(another.tenant) as found:
                assert found == another


def test_without_the_server_what_is_cached_ends_with_its_time_to_live(tmp_path: Path) -> None:
    clock = LeapingClock()
    with placement_server(tmp_path / "server") as placing:
        placement = placing.placed()
        with client(placing, route_ttl=20, clock=clock) as one:
            assert one.reading(placement.tenant) == SHARED
            placing.server.kill()
            with one.writing(placement.tenant) as found:
                assert found == placement
            clock.leap += 21
            with pytest.raises(PlacementUnavailable):
                one.reading(placement.tenant)
            with pytest.raises(PlacementUnavailable), one.writing(placement.tenant):
                pytest.fail("a write began by what was too old")
            placing.server.start()
            with one.writing(placement.tenant) as found:
                assert found == placement


def test_a_process_that_was_stopped_reads_again_before_it_writes(
    placing: PlacementServer,
) -> None:
    clock, placement = LeapingClock(), placing.placed()
    with client(placing, clock=clock) as one:
        with one.writing(placement.tenant):
            pass
        one._keeping._ended.set()  # stopped: its threads hear of nothing
        for thread in one._keeping._threads:
            thread.join()
        one._keeping._ended.clear()
        moved = placing.changed(placement, primary=DEDICATED)
        clock.leap += 31
        with one.writing(placement.tenant) as found:
            assert found == moved


def _leaps_and_looks(one: PlacementClient, clock: LeapingClock, tenant: str) -> None:
    clock.leap += 61
    _refreshed(one, tenant)


def _leaps_and_raises(clock: LeapingClock) -> None:
    clock.leap += 61
    raise KeyError("the application's own error goes first")


def _cut_and_changed(placing: PlacementServer, placement: Placement) -> Placement:
    placing.server.value(CUT)
    return placing.changed(placement, state="serving")


def test_a_write_that_nobody_could_vouch_for_is_told(placing: PlacementServer) -> None:
    clock, placement = LeapingClock(), placing.placed()
    with client(placing, clock=clock) as one:
        with pytest.raises(PlacementLapsed), one.writing(placement.tenant):
            clock.leap += 61
        with pytest.raises(PlacementLapsed), one.writing(placement.tenant):
            _leaps_and_looks(one, clock, placement.tenant)  # alive again, and was dead meanwhile
        with pytest.raises(KeyError), one.writing(placement.tenant):
            _leaps_and_raises(clock)
        with one.writing(placement.tenant):
            clock.leap += 20


def test_close_says_goodbye_and_a_fork_is_refused(placing: PlacementServer) -> None:
    placement = placing.placed()
    one = client(placing)
    with one.writing(placement.tenant):
        pass
    child = os.fork()
    if child == 0:
        try:
            one.reading(placement.tenant)
        except PlacementUnavailable:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert placing.acknowledged(placement.tenant) == [1]
    one.close()
    one.close()
    assert placing.acknowledged(placement.tenant) == []
    with pytest.raises(PlacementUnavailable):
        one.reading(placement.tenant)


@pytest.mark.parametrize("tenant", ["large-corp", "'", "%", "", "ü" * 100, "a\0"])
def test_only_a_uuid_is_a_tenant(placing: PlacementServer, tenant: str) -> None:
    with client(placing) as one, pytest.raises(ValueError, match="uuid"):
        one.writing(tenant)


def test_a_database_without_our_tables_is_no_default(tmp_path: Path) -> None:
    """Else a write could begin by the default, unknown to a mover that makes the tables now."""
    from tests.integration.stores.postgres_server import postgres

    with (
        postgres(tmp_path / "server") as server,
        PlacementClient(server.connect) as one,
        pytest.raises(PlacementUnavailable),
    ):
        one.reading(str(uuid4()))


# -- contract reread


def test_a_change_waits_for_the_write(placing: PlacementServer) -> None:
    placement = placing.placed()
    with client(placing, contract="reread") as one:
        with one.writing(placement.tenant) as found:
            assert found == placement
            with pytest.raises(TransientError) as caught:
                placing.changed(placement, state="held", lock_timeout=0.05)
            assert caught.value.code == "placement_locked"
        held = placing.changed(placement, state="held")
        with ThreadPoolExecutor(1) as pool:

            def write() -> object:
                with one.writing(placement.tenant) as found:
                    return found

            writing = pool.submit(write)
            assert one.reading(placement.tenant) == SHARED
            moved = placing.changed(held, state="serving", primary=DEDICATED)
            assert one.reading(placement.tenant) == DEDICATED, "nothing is cached"
            assert writing.result(30) == moved
        assert placing.acknowledged(placement.tenant) == []


def test_the_first_row_waits_for_writes_that_found_none(placing: PlacementServer) -> None:
    tenant = str(uuid4())
    with client(placing, contract="reread") as one, ThreadPoolExecutor(1) as pool:
        with one.writing(tenant) as placement:
            assert placement is None
            making = pool.submit(placing.placed, tenant)
            placing.server.wait_for(
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'advisory'"
            )
            assert not making.done()
        first = making.result(30)
        with one.writing(tenant) as placement:
            assert placement == first


def test_a_stream_of_writers_does_not_keep_a_change_waiting(placing: PlacementServer) -> None:
    """FOR SHARE alone lets every newcomer pass a waiting UPDATE; the gate queues."""
    placement, stop = placing.placed(), threading.Event()
    started = threading.Semaphore(0)
    with client(placing, contract="reread") as one, ThreadPoolExecutor(8) as pool:

        def write(turn: int) -> None:
            while not stop.is_set():
                with one.writing(placement.tenant):
                    started.release()
                    threading.Event().wait(0.05 + turn / 400)

        writers = [pool.submit(write, turn) for turn in range(8)]
        try:
            for _ in range(8):
                started.acquire()
            for _ in range(3):
                placement = placing.changed(placement, lock_timeout=10)
        finally:
            stop.set()
        for writer in writers:
            writer.result(30)
    assert placement.epoch == 4


def test_a_lock_that_was_lost_during_the_write_is_told(placing: PlacementServer) -> None:
    placement = placing.placed()
    with client(placing, contract="reread") as one:
        with pytest.raises(PlacementLapsed), one.writing(placement.tenant):
            placement = _cut_and_changed(placing, placement)
        with one.writing(placement.tenant) as found:  # and the kept connections were cut as well
            assert found == placement
