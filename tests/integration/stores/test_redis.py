"""The Redis driver on a real server: who it is, how faults are told, the RDB over the wire."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    InterruptedByUser,
    RefusedError,
    RemoteError,
    TransientError,
)
from aeterna_cli.settings import TlsSettings
from aeterna_cli.stores import binaries, redis_info
from aeterna_cli.stores.redis_scratch import ScratchRedis
from tests.integration.stores.redis_server import PASSWORD, LabRedis, certificate, free_port, proxy

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabRedis]:
    server = LabRedis(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
def redis(shared: LabRedis) -> LabRedis:
    """The module's server, emptied and with its usual configuration."""
    shared.call("FLUSHALL")
    shared.call("CONFIG", "SET", "repl-diskless-sync", "yes", "maxmemory", 0)
    return shared


def captured(server: LabRedis, **changes: Any) -> tuple[bytes, Any]:
    data = bytearray()
    with server.server(**changes) as client:
        result = client.capture_rdb(data.extend)
    return bytes(data), result


def fill(server: LabRedis, keys: int, size: int = 100) -> None:
    connection = server.connection()
    connection.batch([["SET", f"k:{number}", b"x" * size] for number in range(keys)])
    connection.close()


def test_identity_is_made_once_and_the_marker_is_kept(redis: LabRedis) -> None:
    with redis.server() as server, redis.server() as other:
        assert server.identity().identity_key is None
        assert server.marker() is None
        assert server.is_empty()
        made = server.ensure_identity()
        server.write_marker(41)
        assert other.ensure_identity() == made
        assert other.marker() == 41
        found = other.identity()
        assert (found.identity_key, found.keys) == (made, 2)
        assert (found.flavour, found.role, found.mode) == ("valkey", "master", "standalone")
        assert found.version.startswith("9.")
        assert found.used_memory > 1000
        assert len(found.run_id) == 40
        assert other.is_empty(), "our own keys are no data"


def test_counts_are_by_database_without_our_own_keys(redis: LabRedis) -> None:
    fill(redis, 3)
    with redis.server(database=3) as server:
        server.ensure_identity()
        server.connection.call("SET", "x", "y")
        assert server.counts() == {0: 3, 3: 1}
        assert not server.is_empty()


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_both_forms_of_the_stream_give_the_whole_rdb(redis: LabRedis, diskless: str) -> None:
    redis.call("CONFIG", "SET", "repl-diskless-sync", diskless)
    fill(redis, 5000, 1000)
    data, result = captured(redis)
    assert data.startswith(b"REDIS0011")
    assert result.bytes == len(data)
    assert result.crc64 == int.from_bytes(data[-8:], "little") != 0
    assert result.version == "REDIS0011"
    assert result.written_by.startswith("9.")
    assert result.replication_offset is not None
    clients = redis.call("INFO", "replication")
    assert b"connected_slaves:0" in clients, "the connection is closed when the RDB has ended"


def test_pieces_are_bounded_and_values_of_20_mb_pass(redis: LabRedis) -> None:
    value = bytes(range(256)) * (20 * 4096)
    redis.call("SET", "large", value)
    redis.call("CONFIG", "SET", "rdbcompression", "no")
    sizes, data = [], bytearray()

    def sink(piece: memoryview) -> None:
        sizes.append(len(piece))
        data.extend(piece)

    with redis.server() as server:
        server.capture_rdb(sink)
    redis.call("CONFIG", "SET", "rdbcompression", "yes")
    assert max(sizes) <= 1 << 20
    assert value in data


def test_field_times_make_the_rdb_the_server_s_own(redis: LabRedis) -> None:
    redis.call("HSET", "h", "a", "1", "b", "2")
    redis.call("HPEXPIRE", "h", 1_000_000, "FIELDS", 1, "a")
    data, result = captured(redis)
    assert result.version == "VALKEY080"
    assert data.startswith(b"VALKEY080")


def test_a_field_time_set_at_the_last_moment(
    redis: LabRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.call("HSET", "h", "a", "1", "b", "2")
    redis.call("HPEXPIRE", "h", 1_000_000, "FIELDS", 1, "a")
    monkeypatch.setattr(redis_info, "has_field_times", lambda facts: False)
    data, _ = captured(redis)
    assert data.startswith(b"VALKEY080")


def test_an_rdb_without_checksum_says_so(tmp_path: Path) -> None:
    server = LabRedis(tmp_path / "redis", "rdbchecksum no").start()
    try:
        data, result = captured(server)
        with server.server() as client:
            assert "redis_no_checksum" in {one.code for one in client.findings("backup")}
        assert result.crc64 is None
        assert data[-8:] == bytes(8)
    finally:
        server.kill()


def test_a_capture_under_writes_is_of_one_moment(redis: LabRedis, tmp_path: Path) -> None:
    fill(redis, 20000, 500)
    ended = threading.Event()
    written = [0]

    def write() -> None:
        connection = redis.connection()
        while not ended.is_set():
            written[0] += 1
            connection.batch([["SET", "first", written[0]], ["SET", "second", written[0]]])
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while written[0] < 10:
            time.sleep(0.001)
        before = written[0]
        data, _ = captured(redis)
        after = written[0]
    finally:
        ended.set()
        writer.join()
    assert after > before, "nobody wrote meanwhile: the test proves nothing"
    (tmp_path / "dump.rdb").write_bytes(data)
    with ScratchRedis(binaries.redis_server(), tmp_path / "scratch") as scratch:
        scratch.start(tmp_path / "dump.rdb")
        first, second = (
            int(scratch.server.connection.call("GET", name)) for name in ("first", "second")
        )
    assert before - 1 <= second <= first <= second + 1 <= after + 1


def test_a_server_killed_in_mid_stream_is_told(tmp_path: Path) -> None:
    server = LabRedis(tmp_path / "redis").start()
    try:
        fill(server, 400, 100_000)
        server.call("CONFIG", "SET", "rdbcompression", "no")

        def kill_at_first_piece(piece: memoryview) -> None:
            server.kill()

        with server.server() as client, pytest.raises(TransientError) as caught:
            client.capture_rdb(kill_at_first_piece)
        assert caught.value.code == "rdb_cut"
    finally:
        server.kill()


def test_a_stream_that_ends_early_is_told(redis: LabRedis) -> None:
    fill(redis, 300, 100_000)
    redis.call("CONFIG", "SET", "rdbcompression", "no")
    passed = [0]

    def cut(data: bytes) -> bytes | None:
        passed[0] += len(data)
        return data if passed[0] < 5_000_000 else None

    with (
        proxy(redis.port, cut) as port,
        redis.server(port=port) as client,
        pytest.raises(TransientError) as caught,
    ):
        client.capture_rdb(lambda piece: None)
    assert caught.value.code == "rdb_cut"
    redis.call("CONFIG", "SET", "rdbcompression", "yes")


def test_a_byte_flipped_on_its_way_is_told(redis: LabRedis) -> None:
    redis.call("SET", "key", "needle-in-the-rdb")

    def damage(data: bytes) -> bytes:
        return data.replace(b"needle", b"noodle")

    with (
        proxy(redis.port, damage) as port,
        redis.server(port=port) as client,
        pytest.raises(RemoteError) as caught,
    ):
        client.capture_rdb(lambda piece: None)
    assert caught.value.code == "rdb_checksum"


def test_a_silent_server_is_told_and_a_stop_is_heard(redis: LabRedis) -> None:
    redis.call("CONFIG", "SET", "repl-diskless-sync-delay", 600)
    try:
        with redis.server() as client:
            begun = time.monotonic()
            with pytest.raises(InterruptedByUser):
                client.capture_rdb(lambda piece: None, stop=lambda: time.monotonic() > begun + 0.2)
            assert time.monotonic() - begun < 3
    finally:
        redis.call("CONFIG", "SET", "repl-diskless-sync-delay", 0)


def test_a_server_that_does_not_hand_out_its_rdb(redis: LabRedis) -> None:
    redis.call("ACL", "SETUSER", "narrow", "reset", "on", f">{PASSWORD}", "~*", "+@all", "-psync")
    with redis.server(user="narrow") as client, pytest.raises(RefusedError) as caught:
        client.capture_rdb(lambda piece: None)
    assert caught.value.code == "sync_refused"
    redis.call("ACL", "DELUSER", "narrow")


def test_a_managed_server_without_psync(tmp_path: Path) -> None:
    server = LabRedis(
        tmp_path / "redis", 'rename-command PSYNC ""', 'rename-command ACL ""'
    ).start()
    try:
        with server.server() as client:
            assert client.acl_users() == []
            with pytest.raises(RefusedError) as caught:
                client.capture_rdb(lambda piece: None)
        assert caught.value.code == "sync_refused"
    finally:
        server.kill()


def test_a_wrong_password_is_told_without_it(redis: LabRedis) -> None:
    wrong = SecretStr("hunter2-wrong")
    with redis.server(password=wrong) as client, pytest.raises(AuthenticationError) as caught:
        client.identity()
    assert caught.value.code == "redis_credentials_refused"
    assert "hunter2-wrong" not in str(caught.value.as_document())


def test_no_password_where_one_is_wanted(redis: LabRedis) -> None:
    with redis.server(password=None) as client, pytest.raises(AuthenticationError):
        client.identity()


def test_a_password_is_never_repeated_from_the_server_s_error(redis: LabRedis) -> None:
    with redis.server() as client, pytest.raises(RefusedError) as caught:
        client.connection.call("NOSUCH", "SET", "masterauth", "other-secret", PASSWORD)
    assert caught.value.code == "redis_command_missing"
    assert "other-secret" not in str(caught.value)
    with redis.server() as client, pytest.raises(AeternaError) as named:
        client.connection.call("CONFIG", PASSWORD)
    assert PASSWORD not in str(named.value.as_document())


def test_an_unreachable_server_is_transient() -> None:
    server = LabRedis.__new__(LabRedis)
    server.port = free_port()
    with server.server(timeout=1) as client, pytest.raises(TransientError) as caught:
        client.identity()
    assert caught.value.code == "redis_unreachable"


def test_a_server_that_hangs_is_told_after_the_timeout(redis: LabRedis) -> None:
    assert redis.process is not None
    with redis.server(timeout=0.3) as client:
        client.identity()
        os.kill(redis.process.pid, signal.SIGSTOP)
        try:
            with pytest.raises(TransientError) as caught:
                client.identity()
        finally:
            os.kill(redis.process.pid, signal.SIGCONT)
        assert caught.value.code == "redis_timeout"
        assert client.identity().role == "master"


def test_full_memory_is_told(redis: LabRedis) -> None:
    redis.call("CONFIG", "SET", "maxmemory", 1)
    with redis.server() as client, pytest.raises(RemoteError) as caught:
        client.write_marker(1)
    assert caught.value.code == "redis_out_of_memory"


def test_a_replica_refuses_our_keys(tmp_path: Path) -> None:
    server = LabRedis(tmp_path / "redis", f"replicaof 127.0.0.1 {free_port()}").start()
    try:
        with server.server() as client:
            with pytest.raises(RefusedError) as caught:
                client.write_marker(1)
            assert caught.value.code == "redis_readonly"
            codes = [finding.code for finding in client.findings("backup")]
            assert "redis_is_replica" in codes
    finally:
        server.kill()


def test_the_next_call_after_a_lost_connection_connects_again(tmp_path: Path) -> None:
    server = LabRedis(tmp_path / "redis").start()
    try:
        with server.server(database=2) as client:
            client.write_marker(1)
            server.kill()
            with pytest.raises(TransientError):
                client.marker()
            server.start()
            client.write_marker(5)
            assert client.marker() == 5
            assert client.connection.call("CLIENT", "INFO").split(b" db=")[1][:1] == b"2"
    finally:
        server.kill()


def test_tls(redis: LabRedis, tmp_path: Path) -> None:
    files = certificate(tmp_path, "redis.internal")
    fill(redis, 1000, 1000)
    good = TlsSettings(enabled=True, ca_file=files[0], server_name="redis.internal")
    with proxy(redis.port, files=files) as port:
        data, _ = captured(redis, port=port, tls=good)
        assert data.startswith(b"REDIS0011")
        other, _ = certificate(tmp_path / "other", "redis.internal")
        refused = {
            "unknown CA": good.model_copy(update={"ca_file": other}),
            "another name": good.model_copy(update={"server_name": "elsewhere.internal"}),
        }
        for name, tls in refused.items():
            with redis.server(port=port, tls=tls) as client:
                with pytest.raises(RemoteError) as caught:
                    client.identity()
                assert caught.value.code == "certificate_refused", name
        with redis.server(port=port) as client, pytest.raises(TransientError) as plain:
            client.identity()
        assert "TLS" in plain.value.hint
    with redis.server(tls=good, timeout=0.5) as client, pytest.raises(AeternaError) as wrong:
        client.identity()
    assert wrong.value.code in {"tls_failed", "redis_connection_lost", "redis_timeout"}


def test_configuration_holds_no_password(redis: LabRedis) -> None:
    redis.call("CONFIG", "SET", "masterauth", "masters-secret")
    with redis.server() as client:
        found = client.configuration()
        assert found["maxmemory-policy"] == "noeviction"
        assert PASSWORD not in str(found)
        assert "masters-secret" not in str(found)
        assert client.acl_users()[0].startswith("user default on #")
    redis.call("CONFIG", "SET", "masterauth", "")


@pytest.mark.parametrize(
    ("configuration", "code", "severity"),
    [
        (["appendonly", "no"], "redis_no_append_only_file", "warning"),
        (["repl-diskless-sync-delay", 7], "redis_sync_delay", "info"),
        (["maxmemory", "1gb", "maxmemory-policy", "allkeys-lru"], "redis_evicts_keys", "warning"),
        (["maxmemory", "1gb", "maxmemory-policy", "volatile-lru"], "redis_evicts_keys", "info"),
        (["client-output-buffer-limit", "replica 1mb 1mb 60"], "redis_output_buffer_small",
         "warning"),
    ],
)  # fmt: skip
def test_findings(
    redis: LabRedis, configuration: list[str | int], code: str, severity: str
) -> None:
    names = configuration[::2]
    before = [redis.call("CONFIG", "GET", name) for name in names]
    redis.call("CONFIG", "SET", *configuration)
    try:
        with redis.server() as client:
            found = {finding.code: finding for finding in client.findings("backup")}
        assert found[code].severity == severity
    finally:
        for name, value in before:
            redis.call("CONFIG", "SET", name, value)


def test_a_server_without_password_is_a_finding(redis: LabRedis) -> None:
    redis.call("CONFIG", "SET", "requirepass", "")
    try:
        with redis.server(password=None) as client:
            codes = [finding.code for finding in client.findings("restore")]
            assert "redis_without_password" in codes
            with redis.server() as signed, pytest.raises(AuthenticationError):
                signed.identity()
            client.connection.call("CONFIG", "SET", "requirepass", PASSWORD)
    finally:
        with redis.server(password=None) as client, suppress(AuthenticationError):
            client.connection.call("CONFIG", "SET", "requirepass", PASSWORD)


def test_an_append_only_file_that_is_not_synced_is_a_finding(tmp_path: Path) -> None:
    server = LabRedis(tmp_path / "redis", "appendonly yes", "appendfsync no").start()
    try:
        with server.server() as client:
            found = {finding.code: finding.severity for finding in client.findings("backup")}
        assert found == {"redis_append_only_file_not_synced": "warning"}
    finally:
        server.kill()


def test_a_failed_snapshot_is_an_error(tmp_path: Path) -> None:
    server = LabRedis(tmp_path / "redis").start()
    try:
        (tmp_path / "redis" / "dump.rdb" / "in-the-way").mkdir(parents=True)
        server.call("BGSAVE")
        while b"rdb_bgsave_in_progress:1" in server.call("INFO", "persistence"):
            time.sleep(0.01)
        with server.server() as client:
            found = {finding.code: finding.severity for finding in client.findings("backup")}
        assert found["redis_rdb_last_bgsave_status"] == "error"
    finally:
        server.kill()
