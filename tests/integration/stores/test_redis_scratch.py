"""A scratch server loads an RDB or says why not; a live server takes over what it loaded."""

import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aeterna_cli.errors import AuthenticationError, InterruptedByUser, RefusedError, RemoteError
from aeterna_cli.stores import binaries, redis_load, redis_scratch
from aeterna_cli.stores.redis import RedisServer
from aeterna_cli.stores.redis_digests import compare
from aeterna_cli.stores.redis_load import TAG, load_from_scratch, mend_target
from aeterna_cli.stores.redis_scratch import ScratchRedis
from tests.integration.stores.redis_server import LabRedis, free_port
from tests.integration.stores.test_redis_digests import digests, every_type

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The RDB of a server with every type, its own identity and marker 12."""
    folder = tmp_path_factory.mktemp("source")
    source = LabRedis(folder / "redis").start()
    try:
        every_type(source)
        path = folder / "dump.rdb"
        with source.server() as client, path.open("wb") as file:
            client.ensure_identity()
            client.write_marker(12)
            client.capture_rdb(file.write)
    finally:
        source.kill()
    return path


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[ScratchRedis]:
    with ScratchRedis(binaries.redis_server(), tmp_path / "scratch") as made:
        yield made


@pytest.fixture
def target(tmp_path: Path) -> Iterator[LabRedis]:
    server = LabRedis(tmp_path / "target", "appendonly yes").start()
    yield server
    server.kill()


def test_a_scratch_server_is_private_and_leaves_the_rdb_alone(
    scratch: ScratchRedis, image: Path, tmp_path: Path
) -> None:
    before = image.read_bytes()
    scratch.start(image)
    folder = tmp_path / "scratch"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "scratch.conf").stat().st_mode) == 0o600
    settings = scratch.client_settings()
    secret = settings.secret()
    assert secret is not None
    pid = int((folder / "scratch.pid").read_text())
    assert secret.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert secret not in repr(settings)
    stranger = settings.model_copy(update={"password": None})
    with RedisServer(stranger) as client, pytest.raises(AuthenticationError):
        client.identity()
    assert scratch.server.marker() == 12
    scratch.stop()
    assert not Path(f"/proc/{pid}").exists()
    assert {path.name for path in folder.iterdir()} == {"scratch.log"}
    assert image.read_bytes() == before
    assert [path.name for path in image.parent.iterdir() if path.is_file()] == [image.name]


def test_our_keys_may_lie_in_another_database(target: LabRedis, tmp_path: Path) -> None:
    target.call("SET", "k", "x")
    path = tmp_path / "dump.rdb"
    with target.server(database=7) as client, path.open("wb") as file:
        identity = client.ensure_identity()
        client.write_marker(33)
        client.capture_rdb(file.write)
    with (
        ScratchRedis(binaries.redis_server(), tmp_path / "scratch", database=7) as scratch,
        target.server(database=7) as client,
    ):
        scratch.start(path)
        assert scratch.server.marker() == 33
        assert scratch.server.counts() == {0: 1}
        load_from_scratch(client, scratch, replace=True)
        assert client.identity().identity_key == identity
        assert client.marker() is None
        assert client.counts() == {0: 1}


def test_an_empty_scratch_server(scratch: ScratchRedis) -> None:
    scratch.start()
    assert scratch.server.is_empty()


@pytest.mark.parametrize(
    ("damage", "said"),
    [("flipped", "RDB CRC"), ("truncated", "EOF"), ("empty", "EOF"), ("text", "signature")],
)
def test_a_damaged_rdb_is_told(
    scratch: ScratchRedis, image: Path, tmp_path: Path, damage: str, said: str
) -> None:
    data = bytearray(image.read_bytes())
    data[-20] ^= 1
    parts = {
        "flipped": bytes(data),
        "truncated": bytes(data[: len(data) // 2]),
        "empty": b"",
        "text": b"this is no RDB at all, but a text",
    }
    path = tmp_path / "dump.rdb"
    path.write_bytes(parts[damage])
    with pytest.raises(RemoteError) as caught:
        scratch.start(path)
    assert caught.value.code == "rdb_unreadable"
    assert said in caught.value.message
    assert not (tmp_path / "scratch" / "scratch.pid").exists()


@pytest.mark.parametrize(
    ("magic", "needed"),
    [(b"REDIS0099", "redis-server >= 9.1.2"), (b"VALKEY999", "valkey-server >= 9.1.2")],
)
def test_an_rdb_of_a_newer_server_names_what_is_needed(
    scratch: ScratchRedis, image: Path, tmp_path: Path, magic: bytes, needed: str
) -> None:
    path = tmp_path / "dump.rdb"
    path.write_bytes(magic + image.read_bytes()[9:])
    with pytest.raises(RemoteError) as caught:
        scratch.start(path)
    assert caught.value.code == "rdb_too_new"
    assert needed in caught.value.message


def test_what_a_killed_process_left_is_stopped(
    scratch: ScratchRedis, image: Path, tmp_path: Path
) -> None:
    with ScratchRedis(binaries.redis_server(), tmp_path / "scratch") as left:
        left.start(image)
        scratch.start(image)
        assert left._process is not None
        assert left._process.wait(5) == -signal.SIGKILL
        assert scratch.server.marker() == 12


def test_a_process_that_is_not_ours_is_left_alone(scratch: ScratchRedis, tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"])
    try:
        (tmp_path / "scratch").mkdir()
        (tmp_path / "scratch" / "scratch.pid").write_text(str(other.pid))
        scratch.start()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_a_stop_while_loading_is_heard(scratch: ScratchRedis, image: Path) -> None:
    with pytest.raises(InterruptedByUser):
        scratch.start(image, stop=lambda: True)


def test_a_load_is_exact_and_survives_a_kill(
    scratch: ScratchRedis, target: LabRedis, image: Path
) -> None:
    scratch.start(image)
    expected = scratch.server.digests()
    with target.server() as client:
        identity = client.ensure_identity()
        assert client.is_empty()
        result = load_from_scratch(client, scratch)
        assert (result.method, result.persistence) == ("replication", "aof")
        assert result.keys == 20
    scratch.stop()
    target.kill()
    target.start()
    with target.server() as client:
        assert compare(expected, client.digests(), datetime.now(UTC)) == []
        assert client.identity().identity_key == identity
        assert client.marker() is None
        assert client.identity().role == "master"
    assert target.call("CONFIG", "GET", "masterauth")[1] == b""
    assert target.call("CONFIG", "GET", "masteruser")[1] == b""


def test_without_an_append_only_file_a_snapshot_is_saved(
    scratch: ScratchRedis, image: Path, tmp_path: Path
) -> None:
    server = LabRedis(tmp_path / "snapshots").start()
    try:
        scratch.start(image)
        with server.server() as client:
            assert load_from_scratch(client, scratch).persistence == "rdb"
        expected = digests(server)
        server.kill()
        server.start()
        assert digests(server) == expected
        assert expected.persistent.items == 18
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("user", "password"), [("", "old-secret"), ("repl", "old-secret"), ("repl", "")]
)
def test_the_target_s_replication_settings_come_back(
    scratch: ScratchRedis, target: LabRedis, image: Path, user: str, password: str
) -> None:
    target.call("CONFIG", "SET", "masteruser", user, "masterauth", password)
    scratch.start(image)
    with target.server() as client:
        assert load_from_scratch(client, scratch).method == "replication"
    assert target.call("CONFIG", "GET", "masteruser")[1].decode() == user
    assert target.call("CONFIG", "GET", "masterauth")[1].decode() == password


@pytest.mark.parametrize("password", ["", "old-secret"])
def test_a_target_left_by_a_killed_load_is_mended(
    scratch: ScratchRedis, target: LabRedis, image: Path, tmp_path: Path, password: str
) -> None:
    target.call("CONFIG", "SET", "masteruser", "repl", "masterauth", password)
    target.call("SET", "old", "x")
    with ScratchRedis(binaries.redis_server(), tmp_path / "dead") as dead, target.server() as left:
        dead.start()
        redis_load._attach(left.connection, dead)
    assert target.call("CONFIG", "GET", "masteruser")[1].startswith(TAG)
    assert target.call("ROLE")[0] == b"slave"
    scratch.start(image)
    with target.server() as client:
        load_from_scratch(client, scratch, replace=True)
        assert compare(scratch.server.digests(), client.digests(), datetime.now(UTC)) == []
        assert not mend_target(client)
    assert target.call("ROLE")[0] == b"master"
    assert target.call("CONFIG", "GET", "masteruser")[1] == b"repl"
    assert target.call("CONFIG", "GET", "masterauth")[1].decode() == password


def test_a_real_replica_is_refused_and_left_alone(scratch: ScratchRedis, target: LabRedis) -> None:
    port = free_port()
    target.call("REPLICAOF", "127.0.0.1", port)
    scratch.start()
    with target.server() as client:
        assert not mend_target(client)
        with pytest.raises(RefusedError) as caught:
            load_from_scratch(client, scratch, replace=True)
    assert caught.value.code == "redis_is_replica"
    assert target.call("ROLE")[2] == port


def test_a_target_with_keys_is_refused_unless_told(
    scratch: ScratchRedis, target: LabRedis, image: Path
) -> None:
    target.call("SET", "precious", "x")
    scratch.start(image)
    with target.server() as client:
        with pytest.raises(RefusedError) as caught:
            load_from_scratch(client, scratch)
        assert caught.value.code == "redis_not_empty"
        assert target.call("GET", "precious") == b"x"
        load_from_scratch(client, scratch, replace=True)
    assert target.call("EXISTS", "precious") == 0


def test_a_stop_while_synchronising_leaves_a_primary(
    scratch: ScratchRedis, target: LabRedis, image: Path
) -> None:
    scratch.start(image)
    with target.server() as client, pytest.raises(InterruptedByUser):
        load_from_scratch(client, scratch, stop=lambda: True)
    assert target.call("ROLE")[0] == b"master"
    assert target.call("CONFIG", "GET", "masteruser")[1] == b""


@pytest.mark.parametrize("forbidden", ["-config|set", "-replicaof", "-config"])
def test_where_replication_is_refused_keys_are_copied(
    scratch: ScratchRedis, target: LabRedis, image: Path, forbidden: str
) -> None:
    target.call("ACL", "SETUSER", "managed", "on", ">p", "~*", "+@all", forbidden)
    target.call("SET", "old", "x")
    scratch.start(image)
    with target.server(user="managed", password="p") as client:
        identity = client.ensure_identity()
        result = load_from_scratch(client, scratch, replace=True)
        assert (result.method, result.keys) == ("copy", 20)
        assert compare(scratch.server.digests(), client.digests(), datetime.now(UTC)) == []
        assert client.identity().identity_key == identity
    assert target.call("CONFIG", "GET", "masteruser")[1] == b""


def test_a_target_that_cannot_reach_us_gets_a_copy(
    scratch: ScratchRedis, target: LabRedis, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_load, "_CONTACT_SECONDS", 1.5)
    monkeypatch.setattr(ScratchRedis, "address", ("127.0.0.1", free_port()))
    scratch.start(image)
    with target.server() as client:
        assert load_from_scratch(client, scratch).method == "copy"
        assert compare(scratch.server.digests(), client.digests(), datetime.now(UTC)) == []
    assert target.call("ROLE")[0] == b"master"
    assert target.call("CONFIG", "GET", "masterauth")[1] == b""


def test_a_taken_port_is_tried_no_longer(
    scratch: ScratchRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], free_port()])
        monkeypatch.setattr(redis_scratch, "_free_port", lambda: next(ports))
        scratch.start()
        assert scratch.server.is_empty()


def test_a_program_that_is_no_server_is_told(tmp_path: Path) -> None:
    none = ScratchRedis(Path("/bin/false"), tmp_path / "scratch")
    with none, pytest.raises(RemoteError) as caught:
        none.start()
    assert caught.value.code == "scratch_failed"
