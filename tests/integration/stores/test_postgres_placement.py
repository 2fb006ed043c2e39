"""The truth of routing on a real server: compare-and-set, locks, deaths, rights, hostile names."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    ConflictError,
    RefusedError,
    TransientError,
    UsageError,
)
from aeterna_cli.stores.base.placement import CHANNEL, Placement, PointsPlace
from aeterna_cli.stores.postgres_placement import PostgresPlacement
from aeterna_cli.stores.postgres_placement_schema import application_sql
from tests.integration.stores.placement_server import (
    DEDICATED,
    SHARED,
    PlacementServer,
    placement_server,
    record,
)
from tests.integration.stores.postgres_server import both_majors, postgres

pytestmark = pytest.mark.integration

HOSTILE = ["x'; DROP TABLE aeterna_ops.shard; --", 'a"b', "100%", "*", "ключ 🗝", "n" * 255]
FOR_SHARE = "SELECT FROM aeterna_ops.tenant_placement WHERE tenant = %s FOR SHARE"


@pytest.fixture(scope="module")
def placing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlacementServer]:
    with placement_server(tmp_path_factory.mktemp("placing") / "server") as made:
        yield made


def code(work: Callable[[], Any], kind: type[AeternaError]) -> str:
    with pytest.raises(kind) as caught:
        work()
    return caught.value.code


# -- the schema


@both_majors
def test_the_schema_is_made_once_however_many_make_it(tmp_path: Path, major: int) -> None:
    with postgres(tmp_path / "server", major) as server:
        stores = [PostgresPlacement(server.settings()) for _ in range(8)]
        assert not stores[0].prepared()
        assert code(stores[0].shards, RefusedError) == "placement_not_prepared"
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda store: store.ensure_schema(), stores))
        assert stores[0].prepared()
        stores[0].add_shard(record("one", "c"))
        stores[0].ensure_schema()
        assert [one.name for one in stores[0].shards()] == ["one"]


def test_a_role_that_may_only_create_in_our_schema_prepares_it(tmp_path: Path) -> None:
    with postgres(tmp_path / "server") as server:
        server.execute(
            "CREATE ROLE operator LOGIN", "REVOKE CREATE ON DATABASE postgres FROM PUBLIC",
            "CREATE SCHEMA aeterna_ops", "GRANT USAGE, CREATE ON SCHEMA aeterna_ops TO operator",
        )  # fmt: skip
        store = PostgresPlacement(server.settings(user="operator"))
        store.ensure_schema()
        store.add_shard(record("one", "c"))
        made = PlacementServer(server)
        made.store = store
        assert made.placed(primary=PointsPlace("one", "c")).epoch == 1
        server.execute("CREATE ROLE nobody LOGIN")
        stranger = PostgresPlacement(server.settings(user="nobody"))
        assert code(stranger.shards, AuthenticationError) == "missing_privilege"


def test_an_application_can_honour_placements_and_change_none(placing: PlacementServer) -> None:
    import psycopg

    before = placing.placed()
    allowed = [
        "SELECT * FROM aeterna_ops.shard",
        "SELECT * FROM aeterna_ops.tenant_placement FOR SHARE",
        "INSERT INTO aeterna_ops.placement_ack VALUES (gen_random_uuid(), 'i', 0, now())",
        "UPDATE aeterna_ops.placement_ack SET epoch = 1",
        f"LISTEN {CHANNEL}",
    ]
    refused = [
        "UPDATE aeterna_ops.tenant_placement SET epoch = 9",
        "UPDATE aeterna_ops.tenant_placement SET state = 'held'",
        "DELETE FROM aeterna_ops.tenant_placement",
        "DELETE FROM aeterna_ops.placement_ack",
        "UPDATE aeterna_ops.shard SET status = 'offline'",
        "CREATE TABLE aeterna_ops.more ()",
    ]
    with placing.application() as connection:
        connection.autocommit = True
        for statement in allowed:
            connection.execute(statement)
        for statement in refused:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        with pytest.raises(psycopg.errors.CheckViolation):
            connection.execute("UPDATE aeterna_ops.tenant_placement SET for_share = true")
    assert placing.store.placement(before.tenant) == before
    placing.server.execute("DELETE FROM aeterna_ops.placement_ack")
    placing.server.execute(application_sql('the "application"'))  # may be run again


# -- compare-and-set


def test_every_change_is_one_epoch_on_and_needs_the_one_before(placing: PlacementServer) -> None:
    first = placing.placed()
    assert (first.epoch, first.primary, first.state) == (1, SHARED, "serving")
    dual = placing.changed(first, state="dual", secondary=DEDICATED, operation="op-1")
    assert (dual.epoch, dual.secondary, dual.operation) == (2, DEDICATED, "op-1")
    assert placing.store.placement(first.tenant.upper()) == dual
    assert dual in placing.store.placements()
    with pytest.raises(ConflictError) as caught:
        placing.changed(first, state="held")
    assert (caught.value.code, "op-1" in caught.value.hint) == ("placement_changed", True)
    assert code(lambda: placing.placed(first.tenant), ConflictError) == "placement_changed"
    nobody = Placement(str(uuid4()), SHARED, None, "serving", 4, None, first.updated_at)
    assert code(lambda: placing.changed(nobody), ConflictError) == "placement_changed"
    assert placing.store.placement(nobody.tenant) is None


def test_of_many_operators_at_once_one_wins(placing: PlacementServer) -> None:
    def attempts(work: Callable[[], Placement]) -> list[str]:
        together = threading.Barrier(6)

        def attempt(_number: int) -> str:
            together.wait()
            try:
                return str(work().epoch)
            except ConflictError as error:
                return error.code

        with ThreadPoolExecutor(6) as pool:
            return sorted(pool.map(attempt, range(6)))

    placing.server.execute("ALTER ROLE boss SET default_transaction_isolation = 'serializable'")
    placing.store.close()
    tenant = str(uuid4())
    assert attempts(lambda: placing.placed(tenant)) == ["1"] + ["placement_changed"] * 5
    first = placing.store.placement(tenant)
    assert first is not None
    assert attempts(lambda: placing.changed(first, state="held")) == (
        ["2"] + ["placement_changed"] * 5
    )
    placing.server.execute("ALTER ROLE boss RESET default_transaction_isolation")
    placing.store.close()


def test_what_cannot_be_meant_is_refused(placing: PlacementServer) -> None:
    first = placing.placed()
    wrong: list[dict[str, Any]] = [
        {"state": "dual"},
        {"state": "serving", "secondary": DEDICATED},
        {"primary": PointsPlace("shared", "c", None, "fallback")},
        {"primary": PointsPlace("shared", "c\0d")},
    ]
    for values in wrong:
        with pytest.raises(UsageError):
            placing.changed(first, **values)
    same = {"state": "dual", "secondary": first.primary}
    assert code(lambda: placing.changed(first, **same), RefusedError) == "placement_inconsistent"
    nowhere = {"primary": PointsPlace("no such shard", "c")}
    assert code(lambda: placing.changed(first, **nowhere), RefusedError) == "shard_unknown"
    assert placing.store.placement(first.tenant) == first


@pytest.mark.parametrize("tenant", ["large-corp", "' OR true --", "%", "*", "", "ü" * 100, "a\0b"])
def test_a_tenant_that_is_no_uuid_is_wrong_usage(placing: PlacementServer, tenant: str) -> None:
    assert code(lambda: placing.store.placement(tenant), UsageError) == "tenant_not_a_uuid"
    assert code(lambda: placing.store.acknowledgements(tenant, 1), UsageError) == (
        "tenant_not_a_uuid"
    )
    for made in (f"{{{uuid4()}}}", f"urn:uuid:{uuid4()}", uuid4().hex):
        assert code(lambda made=made: placing.store.placement(made), UsageError)


def test_the_news_comes_with_the_commit_and_never_without(placing: PlacementServer) -> None:
    name = HOSTILE[4] + "\U0001f511" * 240
    placing.store.add_shard(record(name, "🗝" * 255))
    with placing.application() as connection:
        connection.autocommit = True
        connection.execute(f"LISTEN {CHANNEL}")
        first = placing.placed(primary=PointsPlace(name, "🗝" * 255))
        code(lambda: placing.changed(first, primary=PointsPlace("nowhere", "c")), RefusedError)
        second = placing.changed(first, primary=SHARED)
        heard = [told.payload for told in connection.notifies(timeout=30, stop_after=2)]
    assert heard == [first.news, second.news]
    assert json.loads(heard[1]) == {
        "tenant": first.tenant, "epoch": 2, "state": "serving", "shard": "shared",
        "collection": "memories-shared",
    }  # fmt: skip
    placing.store.remove_shard(name)


# -- writers of contract reread


def test_a_change_waits_for_writers_and_gives_up(placing: PlacementServer) -> None:
    first = placing.placed()
    with placing.application() as writer:
        writer.execute(FOR_SHARE, (first.tenant,))
        with pytest.raises(TransientError) as caught:
            placing.changed(first, state="held", lock_timeout=0.05)
        assert caught.value.code == "placement_locked"
        assert placing.store.placement(first.tenant) == first
        with ThreadPoolExecutor(1) as pool:
            changing = pool.submit(placing.changed, first, state="held", lock_timeout=60)
            placing.server.wait_for(
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            )
            assert not changing.done()
            writer.rollback()
            assert changing.result().epoch == 2


def test_a_reader_of_any_isolation_level_is_fenced(placing: PlacementServer) -> None:
    """One whose snapshot is older than the change cannot lock what it does not see."""
    import psycopg

    first = placing.placed()
    with placing.application() as writer:
        writer.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        writer.execute("SELECT 1 FROM aeterna_ops.shard")  # the snapshot
        placing.changed(first, state="held")
        with pytest.raises(psycopg.errors.SerializationFailure):
            writer.execute(FOR_SHARE, (first.tenant,))


_HOLDER = """
import sys, time, psycopg
connection = psycopg.connect(f"host=127.0.0.1 port={sys.argv[1]} dbname=postgres user=boss")
connection.execute(sys.argv[2], (sys.argv[3],))
print("held", flush=True)
time.sleep(600)
"""


def test_a_killed_writer_frees_the_row(placing: PlacementServer) -> None:
    first = placing.placed()
    words = [sys.executable, "-c", _HOLDER, str(placing.server.port), FOR_SHARE, first.tenant]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "held\n"
        locked = {"state": "held", "lock_timeout": 0.05}
        assert code(lambda: placing.changed(first, **locked), TransientError) == "placement_locked"
        os.kill(writer.pid, signal.SIGKILL)
        assert placing.changed(first, state="held", lock_timeout=60).epoch == 2


# -- a server that dies


def test_a_death_between_update_and_commit_is_told_as_unknown(tmp_path: Path) -> None:
    with placement_server(tmp_path / "server") as placing:
        placing.server.execute(
            """CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
               'BEGIN PERFORM pg_advisory_xact_lock(77); RETURN NULL; END'""",
            """CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON aeterna_ops.tenant_placement
               DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit()""",
        )
        first = placing.placed()
        with placing.server.connect() as blocker, ThreadPoolExecutor(1) as pool:
            blocker.execute("SELECT pg_advisory_lock(77)")
            changing = pool.submit(placing.changed, first, state="held", lock_timeout=60)
            placing.server.wait_for(
                "SELECT count(*) > 0 FROM pg_stat_activity"
                " WHERE query = 'COMMIT' AND wait_event_type = 'Lock'"
            )
            placing.server.kill()
            assert code(changing.result, TransientError) == "placement_unknown"
        assert code(lambda: placing.store.placement(first.tenant), TransientError) == (
            "postgres_unreachable"
        )
        placing.server.start()
        placing.server.execute("DROP TRIGGER late ON aeterna_ops.tenant_placement")
        assert placing.store.placement(first.tenant) == first
        assert placing.changed(first, state="held").epoch == 2


def test_a_commit_that_no_replica_confirmed_is_told_as_unknown(tmp_path: Path) -> None:
    """The server answers it with a warning: a failover to the replica would lose it."""
    with placement_server(tmp_path / "server") as placing:
        first = placing.placed()
        placing.server.execute(
            "ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()"
        )
        placing.server.wait_for("SELECT current_setting('synchronous_standby_names') = 'nobody'")
        with ThreadPoolExecutor(1) as pool:
            changing = pool.submit(placing.changed, first, state="held")
            waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            placing.server.wait_for(f"SELECT count(*) > 0 {waiting}")
            placing.server.value(f"SELECT count(pg_cancel_backend(pid)) {waiting}")
            assert code(changing.result, TransientError) == "placement_unknown"


def test_a_restart_between_two_calls_is_not_noticed(tmp_path: Path) -> None:
    with placement_server(tmp_path / "server") as placing:
        first = placing.placed()
        placing.server.stop()
        placing.server.start()
        assert placing.changed(first, state="held").epoch == 2


# -- shards


def test_a_shard_is_added_once_and_means_one_place(placing: PlacementServer) -> None:
    store = placing.store
    one = record("eu-1", "memories-eu", server="eu", shard_key="k", capacity=10)
    store.add_shard(one)
    store.add_shard(one)
    assert store.shard("eu-1") == one
    for change in ({"capacity": 11}, {"server": ""}, {"shard_key": None}):
        other = record("eu-1", "memories-eu", **{"server": "eu", "shard_key": "k", "capacity": 10,
                                                 **change})  # fmt: skip
        assert code(lambda other=other: store.add_shard(other), ConflictError) == "shard_exists"
    taken = record("eu-2", "memories-eu", server="eu", shard_key="k")
    assert code(lambda: store.add_shard(taken), ConflictError) == "shard_place_taken"
    store.remove_shard("eu-1")
    assert store.shard("eu-1") is None
    assert code(lambda: store.remove_shard("eu-1"), RefusedError) == "shard_unknown"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_names(placing: PlacementServer, name: str) -> None:
    made = record(name, name, server=name, shard_key=name)
    placing.store.add_shard(made)
    place = PointsPlace(name, name, name, name)
    first = placing.placed(primary=place)
    assert placing.store.placement(first.tenant) == first
    assert first.primary == place
    with pytest.raises(RefusedError) as caught:
        placing.store.remove_shard(name)
    assert caught.value.details["tenants"] == [first.tenant]
    placing.changed(first, primary=SHARED)
    placing.store.remove_shard(name)
    assert placing.store.shard("shared") is not None


def test_status_moves_by_the_table_only(placing: PlacementServer) -> None:
    store = placing.store
    store.add_shard(record("moving", "m", status="provisioning"))
    first = placing.placed(primary=PointsPlace("moving", "m"))

    def go(status: Any) -> str:
        store.set_shard_status("moving", status)
        found = store.shard("moving")
        assert found is not None
        return found.status

    assert code(lambda: go("draining"), RefusedError) == "shard_status_move"
    assert [go("active"), go("active"), go("draining"), go("active"), go("draining")][-1]
    assert code(lambda: go("offline"), RefusedError) == "shard_in_use"
    moved = placing.changed(first, state="dual", primary=SHARED,
                            secondary=PointsPlace("moving", "m"))  # fmt: skip
    assert code(lambda: store.remove_shard("moving"), RefusedError) == "shard_in_use"
    placing.changed(moved, state="serving", secondary=None)
    assert go("offline") == "offline"
    assert code(lambda: go("active"), RefusedError) == "shard_status_move"
    store.remove_shard("moving")


# -- acknowledgements


def test_who_is_alive_is_judged_by_the_servers_clock(placing: PlacementServer) -> None:
    tenant = str(uuid4())
    seen = """INSERT INTO aeterna_ops.placement_ack
              VALUES (%s, %s, %s, clock_timestamp() - %s::interval)"""
    with placing.application() as connection:
        connection.execute(seen, (tenant, "new", 3, "19 s"))
        connection.execute(seen, (tenant, "old", 2, "21 s"))
        connection.execute(seen, (str(uuid4()), "other", 9, "0 s"))
    found = placing.store.acknowledgements(tenant, 10)
    assert [(one.instance, one.epoch, one.alive) for one in found] == [
        ("new", 3, True), ("old", 2, False),
    ]  # fmt: skip
    assert placing.store.forget_instances(20) == 1
    assert [one.instance for one in placing.store.acknowledgements(tenant, 10)] == ["new"]
