"""What ``doctor`` sees in a server that is not well: lost and idle slots, archiver, replicas."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores import postgres_condition
from tests.integration.stores.postgres_server import LocalPostgres, postgres

pytestmark = pytest.mark.integration


def codes(server: LocalPostgres, **changes: object) -> dict[str, str]:
    settings = server.server().settings.model_dump() | changes
    found = postgres_condition.examine(PostgresSettings.model_validate(settings))
    return {one.code: one.subject for one in found}


def test_slots_archiver_and_replica(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_condition, "_HELD_BACK", 1 << 20)
    with postgres(
        tmp_path / "one",
        max_slot_wal_keep_size="6MB",
        max_wal_size="2MB",
        archive_mode="on",
        archive_command="false",
    ) as server:
        assert codes(server) == {}
        server.execute(
            "SELECT pg_create_physical_replication_slot('old', true)", "CREATE TABLE t (x text)"
        )
        write = "INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 1000)"
        server.execute(write, "SELECT pg_switch_wal()", write)
        assert codes(server)["slot_holds_wal"] == "postgres: slot old"
        for _ in range(8):
            server.execute(write, "SELECT pg_switch_wal()")
        server.execute("CHECKPOINT")
        server.wait_for("SELECT wal_status = 'lost' FROM pg_replication_slots")
        server.wait_for("SELECT failed_count > 0 FROM pg_stat_archiver")
        seen = codes(server)
        assert seen == {
            "slot_lost": "postgres: slot old",
            "archiver_fails": "postgres: archive_command",
        }
        assert "slot_lost" not in codes(server, receiver_slot="old"), "told by findings('receive')"
        apart = postgres_condition.server_time(server.server().settings) - datetime.now(UTC)
        assert abs(apart) < timedelta(seconds=2)


def test_a_replica_is_no_primary_and_another_cluster_no_replica(tmp_path: Path) -> None:
    with (
        postgres(tmp_path / "one", wal_keep_size="64MB") as primary,
        postgres(tmp_path / "two") as other,
    ):
        standby = primary.standby(tmp_path / "standby")
        try:
            assert set(codes(standby)) == {"postgres_is_replica"}
            assert codes(primary, replica=f"127.0.0.1:{standby.port}") == {}
            assert set(codes(primary, replica=f"127.0.0.1:{other.port}")) == {
                "replica_of_another_cluster"
            }
        finally:
            standby.stop()
