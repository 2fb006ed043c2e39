"""A streamed base backup with the WAL of its own stream is a cluster again."""

import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from aeterna_cli.errors import InterruptedByUser, RefusedError, RemoteError
from aeterna_cli.stores.base.postgres import BaseBackupResult
from aeterna_cli.stores.postgres import PostgresServer
from tests.integration.stores.postgres_server import (
    LocalPostgres,
    both_majors,
    needs_debian,
    postgres,
    unpack,
)
from tests.integration.stores.test_postgres_replication import pair, writing
from tests.integration.stores.wal_folder import WalFolder, receiving

pytestmark = pytest.mark.integration

TABLE = "CREATE TABLE events (id bigserial PRIMARY KEY, v text)"


class Archives:
    """A ``BaseBackupSink`` of files; says in what order it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.files: dict[str, Path] = {}
        self.calls: list[str] = []
        self.done: list[int] = []
        self._file: BinaryIO | None = None

    def archive(self, name: str) -> None:
        self._next(name)

    def data(self, block: memoryview) -> None:
        assert self._file is not None
        self._file.write(block)

    def manifest(self, block: memoryview) -> None:
        if "backup_manifest" not in self.files:
            self._next("backup_manifest")
        self.data(block)

    def progress(self, done: int) -> None:
        self.done.append(done)

    def _next(self, name: str) -> None:
        self.close()
        self.calls.append(name)
        self.files[name] = self.folder / name
        self._file = self.files[name].open("wb")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> "Archives":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def take(server: PostgresServer, folder: Path, **asked: Any) -> tuple[Archives, BaseBackupResult]:
    with Archives(folder) as sink:
        return sink, server.base_backup("label 'x' \\ y", sink, **asked)


@pytest.fixture(scope="module", params=[18, pytest.param(15, marks=needs_debian)])
def shared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalPostgres]:
    with postgres(tmp_path_factory.mktemp("pg"), request.param) as server:
        server.execute(TABLE)
        yield server


def recover(
    source: LocalPostgres, archives: Archives, wal: Path, folder: Path, **target: str
) -> LocalPostgres:
    """The unpacked backup as a server, recovered from the streamed WAL alone."""
    other = LocalPostgres(folder, source.major)
    unpack(archives.files, other.data)
    shutil.copy(archives.files["backup_manifest"], other.data / "backup_manifest")
    (other.data / "postgresql.auto.conf").write_text("")
    (other.data / "standby.signal").unlink(missing_ok=True)
    other.configure(
        restore_command=f'cp "{wal}/%f" "%p"', recovery_target_action="promote", **target
    )
    (other.data / "recovery.signal").touch()
    other.start()
    other.wait_for("SELECT NOT pg_is_in_recovery()")
    return other


@both_majors
@pytest.mark.parametrize("from_replica", [False, True], ids=["primary", "replica"])
def test_a_backup_under_writes_is_a_cluster_again(
    tmp_path: Path, major: int, from_replica: bool
) -> None:
    wal = WalFolder(tmp_path / "wal")
    with pair(tmp_path / "pg", major) as (primary, standby):
        changes = {"replica": f"127.0.0.1:{standby.port}"} if from_replica else {}
        server = primary.server(**changes)
        server.ensure_schema()
        # a replica's backup begins at an old restartpoint, before anything that happens from now on
        primary.execute("INSERT INTO events (v) VALUES ('old')")
        with receiving(server, wal, temporary=True) as receiver, writing(primary):
            archives, result = take(server, tmp_path / "base")
            assert receiver.begin[1] <= result.start_lsn < result.end_lsn
            server.write_marker(7)
            point = server.restore_point("here")
            primary.execute("INSERT INTO events (v) VALUES ('after')")
            end = server.switch_wal()
            assert point <= end
            while wal.flushed < end:
                receiver.check()
                time.sleep(0.01)
        assert result.timeline == 1
        restored = recover(
            primary, archives, wal.folder, tmp_path / "again", recovery_target_name="here"
        )
        try:
            assert restored.server().marker() == 7
            assert restored.value("SELECT count(*) FROM events WHERE v = 'after'") == 0
            assert restored.value("SELECT count(*) FROM events") > 500
            before = "SELECT count(*), md5(string_agg(id || v, ',' ORDER BY id)) FROM events"
            last = restored.value("SELECT max(id) FROM events")
            there, here = (
                one.value(f"SELECT ({before} WHERE id <= {last})::text".replace("count(*), ", ""))
                for one in (primary, restored)
            )
            assert there == here
            identity = restored.server().identity()
            assert identity.timeline == 2
            assert identity.system_identifier == primary.server().identity().system_identifier
        finally:
            restored.stop()


def test_the_order_and_the_manifest(shared: LocalPostgres, tmp_path: Path) -> None:
    space = tmp_path / "space"
    space.mkdir()
    if os.geteuid() == 0:
        space.chmod(0o777)
    shared.execute(f"CREATE TABLESPACE far LOCATION '{space}'")
    shared.execute("CREATE TABLE afar TABLESPACE far AS SELECT 1 AS n")
    try:
        archives, result = take(shared.server(), tmp_path / "base", checkpoint_fast=True)
        (tablespace,) = result.tablespaces
        assert tablespace.path == str(space)
        assert sorted(archives.calls[:2]) == sorted(["base.tar", f"{tablespace.oid}.tar"])
        assert archives.calls[2:] == ["backup_manifest"]
        manifest = json.loads(archives.files["backup_manifest"].read_bytes())
        assert {one["Checksum-Algorithm"] for one in manifest["Files"]} == {"CRC32C"}
        (span,) = manifest["WAL-Ranges"]
        assert span["Timeline"] == result.timeline == 1
        assert int(span["Start-LSN"].split("/")[1], 16) == result.start_lsn & 0xFFFFFFFF
        assert archives.done == sorted(archives.done)
        assert archives.done[-1] > 20 << 20
    finally:
        shared.execute("DROP TABLE afar", "DROP TABLESPACE far")
    assert b"label 'x' \\ y" in archives.files["base.tar"].read_bytes()


def test_a_base_backup_can_be_stopped(shared: LocalPostgres, tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    began = time.monotonic()
    with pytest.raises(InterruptedByUser):
        take(shared.server(), tmp_path / "base", max_rate_kb=32, stop=stop.is_set)
    assert time.monotonic() - began < 3
    deadline = time.monotonic() + 20
    while shared.value("SELECT count(*) FROM pg_stat_replication"):
        assert time.monotonic() < deadline, "the server still sends"
        time.sleep(0.05)


def test_an_error_of_the_sink_passes_through(shared: LocalPostgres, tmp_path: Path) -> None:
    class Full(Archives):
        def data(self, block: memoryview) -> None:
            raise RemoteError("full", "no room")

    with Full(tmp_path / "base") as sink, pytest.raises(RemoteError, match="no room"):
        shared.server().base_backup("x", sink)


@both_majors
def test_a_damaged_page_fails_the_backup(tmp_path: Path, major: int) -> None:
    with postgres(tmp_path / "pg", major) as server:
        server.execute("CREATE TABLE t AS SELECT g FROM generate_series(1, 5000) g", "CHECKPOINT")
        path = server.data / str(server.value("SELECT pg_relation_filepath('t')"))
        with path.open("r+b") as file:
            file.seek(8192 + 4000)
            file.write(b"\xff\x00\xff")
        with pytest.raises(RemoteError) as raised:
            take(server.server(), tmp_path / "base")
        assert raised.value.code == "postgres_pages_damaged"


def test_a_replica_of_another_cluster_is_refused(shared: LocalPostgres, tmp_path: Path) -> None:
    with postgres(tmp_path / "other", 18) as other:
        server = shared.server(replica=f"127.0.0.1:{other.port}")
        with pytest.raises(RefusedError) as raised:
            take(server, tmp_path / "base")
        assert raised.value.code == "replica_of_another_cluster"
