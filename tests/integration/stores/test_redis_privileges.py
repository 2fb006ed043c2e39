"""The documented ACL users can do their work on a real server, and nothing else."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aeterna_cli.errors import AuthenticationError
from aeterna_cli.stores import binaries
from aeterna_cli.stores.base.redis import Purpose
from aeterna_cli.stores.redis import RedisServer
from aeterna_cli.stores.redis_digests import compare
from aeterna_cli.stores.redis_load import load_from_scratch
from aeterna_cli.stores.redis_privileges import PASSWORD_HASH, least_privilege_acl, password_hash
from aeterna_cli.stores.redis_scratch import ScratchRedis
from tests.integration.stores.redis_server import LabRedis
from tests.integration.stores.test_redis_digests import every_type

pytestmark = pytest.mark.integration


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[LabRedis]:
    server = LabRedis(tmp_path / "redis", "appendonly yes").start()
    yield server
    server.kill()


def user(redis: LabRedis, purpose: Purpose) -> RedisServer:
    line = least_privilege_acl(purpose).replace(PASSWORD_HASH, password_hash("narrow-1"))
    redis.call(*line.split())
    return redis.server(user=f"aeterna_{purpose}", password="narrow-1")


def test_the_backup_user_can_do_a_whole_backup(redis: LabRedis) -> None:
    every_type(redis)
    with user(redis, "backup") as client, redis.server() as everything:
        assert [one for one in client.findings("backup") if one.severity != "warning"] == []
        client.ensure_identity()
        client.write_marker(3)
        assert client.marker() == 3
        assert client.identity().keys == 22
        assert client.counts() == {0: 18, 5: 1, 15: 1}
        assert client.capture_rdb(lambda piece: None).crc64
        assert client.digests() == everything.digests()
        assert b"".join(client.logical_capture()).count(b"RESTORE") >= 20
        assert client.configuration()["appendonly"] == "yes"
        assert any("aeterna_backup" in line for line in client.acl_users())


@pytest.mark.parametrize(
    "words",
    [
        ["FLUSHALL"], ["SET", "tenant", "x"], ["DEL", "string"], ["CONFIG", "SET", "dir", "/"],
        ["REPLICAOF", "NO", "ONE"], ["SHUTDOWN"], ["EVAL", "return 1", 0], ["KEYS", "*"],
        ["ACL", "SETUSER", "x", "on"], ["RESTORE", "x", 0, "y"], ["SAVE"],
        ["MODULE", "LIST"], ["EXPIRE", "string", 1], ["DEL", "aeterna-ops:marker"],
    ],
    ids=lambda words: str(words[0]),
)  # fmt: skip
def test_the_backup_user_can_do_nothing_else(redis: LabRedis, words: list[str | int]) -> None:
    redis.call("SET", "string", "x")
    with user(redis, "backup") as client, pytest.raises(AuthenticationError) as caught:
        client.connection.call(*words)
    assert caught.value.code == "redis_permission_missing"


@pytest.mark.parametrize("method", ["replication", "copy"])
def test_the_restore_user_can_do_a_whole_restore(
    redis: LabRedis, tmp_path: Path, method: str
) -> None:
    source = LabRedis(tmp_path / "source").start()
    try:
        every_type(source)
        with source.server() as everything, (tmp_path / "x.rdb").open("wb") as file:
            everything.capture_rdb(file.write)
    finally:
        source.kill()
    redis.call("SET", "old", "x")
    with (
        user(redis, "restore") as client,
        ScratchRedis(binaries.redis_server(), tmp_path / "scratch") as scratch,
    ):
        assert [one for one in client.findings("restore") if one.severity != "warning"] == []
        if method == "copy":
            redis.call("ACL", "SETUSER", "aeterna_restore", "-replicaof")
        scratch.start(tmp_path / "x.rdb")
        client.ensure_identity()
        result = load_from_scratch(client, scratch, replace=True)
        assert (result.method, result.persistence) == (method, "aof")
        assert compare(scratch.server.digests(), client.digests(), datetime.now(UTC)) == []


@pytest.mark.parametrize(
    "words",
    [["SHUTDOWN"], ["EVAL", "return 1", 0], ["ACL", "LIST"], ["KEYS", "*"], ["DEL", "x"],
     ["MODULE", "LIST"], ["PSYNC", "?", -1]],
    ids=lambda words: str(words[0]),
)  # fmt: skip
def test_the_restore_user_can_do_nothing_else(redis: LabRedis, words: list[str | int]) -> None:
    with user(redis, "restore") as client, pytest.raises(AuthenticationError):
        client.connection.call(*words)


def test_a_missing_permission_is_a_finding(redis: LabRedis) -> None:
    with user(redis, "backup") as client:
        redis.call("ACL", "SETUSER", "aeterna_backup", "-psync")
        found = {finding.code: finding for finding in client.findings("backup")}
        assert "PSYNC" in found["redis_permission_missing"].message
        redis.call("ACL", "SETUSER", "aeterna_backup", "-acl|dryrun")
        codes = {finding.code for finding in client.findings("backup")}
        assert "redis_permissions_unknown" in codes
