"""Digests and logical copies on real servers: every type, every change, no matter how stored."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aeterna_cli.errors import ConflictError, InterruptedByUser, RefusedError, RemoteError
from aeterna_cli.stores.base.redis import RedisDigests
from aeterna_cli.stores.redis_connection import pack
from aeterna_cli.stores.redis_digests import compare
from tests.integration.stores.redis_server import LabRedis

pytestmark = pytest.mark.integration

OTHER_ENCODINGS = (
    "hash-max-listpack-entries 0",
    "zset-max-listpack-entries 0",
    "set-max-intset-entries 0",
    "set-max-listpack-entries 0",
    "list-max-listpack-size 1",
    "stream-node-max-entries 1",
)
FAR = 4_000_000_000_000  # epoch milliseconds


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LabRedis, LabRedis]]:
    folder = tmp_path_factory.mktemp("redis")
    servers = LabRedis(folder / "a"), LabRedis(folder / "b", *OTHER_ENCODINGS)
    try:
        yield servers[0].start(), servers[1].start()
    finally:
        for server in servers:
            server.kill()


@pytest.fixture
def first(pair: tuple[LabRedis, LabRedis]) -> LabRedis:
    for server in pair:
        server.call("FLUSHALL")
        server.call("FUNCTION", "FLUSH")
    return pair[0]


@pytest.fixture
def second(pair: tuple[LabRedis, LabRedis], first: LabRedis) -> LabRedis:
    return pair[1]


def every_type(server: LabRedis) -> None:
    """All types, small and larger than a page, binary keys, times, groups, three databases."""
    many = [str(number) for number in range(1500)]
    stream: list[list[bytes | str | int]] = [
        ["XADD", "stream", f"{number}-1", "f", number] for number in range(1, 1300)
    ]
    commands: list[list[bytes | str | int]] = [
        ["SET", "string", "value"],
        ["SET", b"binary\x00\xff\r\n:key", bytes(range(256))],
        ["SET", "large", b"0123456789abcdef" * (20 << 16)],
        ["SET", "empty", ""],
        ["SET", "number", 12345],
        ["RPUSH", "list", "a", "b", "a"],
        ["RPUSH", "long-list", *many],
        ["SADD", "set", "x", "y"],
        ["SADD", "numbers", 1, 2, 3],
        ["SADD", "large-set", *many],
        ["ZADD", "zset", "0.1", "a", "-inf", "b", "3.3333333333333335", "c"],
        ["ZADD", "large-zset", *[word for name in many for word in (name, f"m{name}")]],
        ["HSET", "hash", "f", "1", "g", "2"],
        ["HSET", "large-hash", *[word for name in many for word in (f"f{name}", name)]],
        ["HSET", "timed", "stays", "1", "goes", "2", "later", "3"],
        ["HPEXPIREAT", "timed", FAR, "FIELDS", 1, "goes"],
        ["HSET", "all-timed", "goes", "2"],
        ["HPEXPIREAT", "all-timed", FAR, "FIELDS", 1, "goes"],
        ["SET", "volatile", "v", "PXAT", FAR],
        *stream,
        ["XADD", "stream", "9999-1", "f", "deleted"],
        ["XDEL", "stream", "9999-1"],
        ["XGROUP", "CREATE", "stream", "workers", "0"],
        ["XREADGROUP", "GROUP", "workers", "one", "COUNT", 700, "STREAMS", "stream", ">"],
        ["XACK", "stream", "workers", "5-1"],
        ["XGROUP", "CREATECONSUMER", "stream", "workers", "two"],
        ["XGROUP", "CREATE", "stream", "idle", "$"],
        ["SELECT", 5],
        ["SET", "string", "in another database"],
        ["SELECT", 15],
        ["SET", "string", "in the last database"],
    ]
    connection = server.connection()
    connection.batch(commands)
    connection.close()


def digests(server: LabRedis) -> RedisDigests:
    with server.server() as client:
        return client.digests()


def test_a_logical_copy_has_the_same_digests_in_other_encodings(
    first: LabRedis, second: LabRedis
) -> None:
    every_type(first)
    library = "#!lua name=mine\nredis.register_function('one', function() return 1 end)"
    first.call("FUNCTION", "LOAD", library)
    with first.server() as source, second.server() as target:
        source.ensure_identity()
        source.write_marker(3)
        pieces = list(source.logical_capture())
        result = target.logical_restore(pieces)
        assert (result.keys, result.expired) == (20, 0)
        assert target.identity().identity_key is None, "an identity is never copied"
        assert target.counts() == {0: 18, 5: 1, 15: 1}
    assert second.call("FCALL", "one", 0) == 1
    for name in ("hash", "zset", "numbers"):
        assert first.call("OBJECT", "ENCODING", name) != second.call("OBJECT", "ENCODING", name)
    found = digests(first)
    assert found == digests(second)
    assert found.by_database == {0: 18, 5: 1, 15: 1}
    assert found.persistent.items == 18, "all keys but volatile and all-timed"
    assert found.volatile.items == 3, "volatile, and the two timed fields"
    assert list(found.volatile_by_hour) == [FAR // 3_600_000]
    assert RedisDigests.from_document(found.as_document()) == found


@pytest.mark.parametrize(
    "change",
    [
        ["SETRANGE", "large", 20_000_000, "X"],
        ["APPEND", "empty", "x"],
        ["LSET", "long-list", 1400, "x"],
        ["RPOPLPUSH", "list", "list"],
        ["SREM", "large-set", "777"],
        ["ZINCRBY", "zset", "0.0000001", "a"],
        ["ZADD", "large-zset", "1", "m999"],
        ["HSET", "large-hash", "f1234", "x"],
        ["HPERSIST", "timed", "FIELDS", 1, "goes"],
        ["HPEXPIREAT", "timed", FAR + 1, "FIELDS", 1, "goes"],
        ["HDEL", "all-timed", "goes"],
        ["XDEL", "stream", "1200-1"],
        ["XACK", "stream", "workers", "600-1"],
        ["XGROUP", "DELCONSUMER", "stream", "workers", "two"],
        ["XGROUP", "SETID", "stream", "idle", "5-1"],
        ["XCLAIM", "stream", "workers", "two", 0, "7-1"],
        ["XSETID", "stream", "99999-1"],
        ["PEXPIREAT", "volatile", FAR + 1],
        ["PERSIST", "volatile"],
        ["PEXPIREAT", "string", FAR],
        ["RENAME", "string", "string2"],
        ["MOVE", "number", 5],
        ["DEL", b"binary\x00\xff\r\n:key"],
        ["SWAPDB", 5, 15],
    ],
    ids=lambda words: "-".join(str(word) for word in words[:2]),
)
def test_every_change_changes_the_digests(first: LabRedis, change: list[Any]) -> None:
    every_type(first)
    before = digests(first)
    assert digests(first) == before
    first.call(*change)
    after = digests(first)
    assert (after.persistent, after.volatile_by_hour) != (
        before.persistent,
        before.volatile_by_hour,
    )
    assert [finding for finding in compare(before, after, datetime.now(UTC))
            if finding.severity == "error"]  # fmt: skip


def test_our_own_keys_are_not_in_the_digests(first: LabRedis) -> None:
    first.call("SET", "tenant:1", "x")
    before = digests(first)
    with first.server() as client:
        client.ensure_identity()
        client.write_marker(9)
    assert digests(first) == before
    assert before.by_prefix == {"tenant": 1}


def test_expiry_is_told_from_loss(first: LabRedis) -> None:
    soon = datetime.now(UTC) + timedelta(milliseconds=700)
    at = int(soon.timestamp() * 1000)
    first.call("SET", "stays", "x")
    first.call("SET", "goes", "x", "PXAT", at)
    first.call("HSET", "h", "a", "1", "b", "2")
    first.call("HPEXPIREAT", "h", at, "FIELDS", 1, "a")
    first.call("SET", "much-later", "x", "PXAT", FAR)
    before = digests(first)
    while datetime.now(UTC) < soon + timedelta(milliseconds=50):
        time.sleep(0.01)
    after = digests(first)
    assert after.persistent == before.persistent
    findings = compare(before, after, datetime.now(UTC))
    assert [(finding.code, finding.severity) for finding in findings] == [("redis_expired", "info")]
    first.call("DEL", "much-later")
    lost = compare(before, digests(first), datetime.now(UTC))
    assert [finding.code for finding in lost] == ["redis_volatile_differs"]


def test_100_000_keys_take_seconds(first: LabRedis) -> None:
    connection = first.connection()
    for part in range(100):
        connection.batch([["SET", f"tenant:{part}:{number}", "x" * 60] for number in range(1000)])
    connection.close()
    begun = time.process_time()
    found = digests(first)
    assert found.persistent.items == 100_000
    assert found.by_prefix == {"tenant": 100_000}
    assert time.process_time() - begun < 10


def test_more_prefixes_than_are_listed_are_summed_up(first: LabRedis) -> None:
    connection = first.connection()
    connection.batch([["SET", f"p{number}:x", "x"] for number in range(130)])
    connection.close()
    found = digests(first)
    assert found.by_prefix["(other)"] == 30
    assert sum(found.by_prefix.values()) == 130


def test_a_logical_restore_keeps_what_is_there_unless_told(
    first: LabRedis, second: LabRedis
) -> None:
    first.call("SET", "k", "new")
    second.call("SET", "k", "old")
    second.call("SET", "other", "stays")
    with first.server() as source, second.server() as target:
        stream = b"".join(source.logical_capture())
        with pytest.raises(ConflictError) as caught:
            target.logical_restore([stream])
        assert caught.value.code == "key_exists"
        assert second.call("GET", "k") == b"old"
        pieces = [stream[at : at + 7] for at in range(0, len(stream), 7)]
        assert target.logical_restore(pieces, replace=True).keys == 1
    assert second.call("GET", "k") == b"new"
    assert second.call("GET", "other") == b"stays"


def test_what_expired_since_is_left_out(first: LabRedis, second: LabRedis) -> None:
    first.call("SET", "goes", "x", "PX", 300)
    first.call("SET", "stays", "x", "PXAT", FAR)
    with first.server() as source, second.server() as target:
        stream = list(source.logical_capture())
        while first.call("EXISTS", "goes"):
            time.sleep(0.01)
        result = target.logical_restore(stream)
    assert (result.keys, result.expired) == (1, 1)
    assert second.call("PEXPIRETIME", "stays") == FAR


def test_a_truncated_or_foreign_stream_is_refused(first: LabRedis, second: LabRedis) -> None:
    for number in range(10):
        first.call("SET", f"k{number}", "x")
    with first.server() as source, second.server() as target:
        stream = b"".join(source.logical_capture())
        title = stream[: stream.index(b"*2\r\n$6\r\nSELECT")]
        for cut in (0, len(title), len(stream) // 2, len(stream) - 1):
            with pytest.raises(RemoteError) as caught:
                target.logical_restore([stream[:cut]], replace=True)
            assert caught.value.code == "logical_truncated"
        second.call("SET", "precious", "x")
        for foreign in (b"PK\x03\x04" * 20, pack(["FLUSHALL"]), title + pack(["FLUSHALL"])):
            with pytest.raises(RefusedError) as refused:
                target.logical_restore([foreign])
            assert refused.value.code == "logical_format_unknown"
    assert second.call("GET", "precious") == b"x", "no other command is ever sent on"


def test_a_damaged_value_is_told(first: LabRedis, second: LabRedis) -> None:
    first.call("SET", "k", "needle")
    with first.server() as source, second.server() as target:
        stream = b"".join(source.logical_capture()).replace(b"needle", b"noodle")
        with pytest.raises(RemoteError) as caught:
            target.logical_restore([stream])
    assert caught.value.code == "payload_refused"


def test_stop_is_heard(first: LabRedis, second: LabRedis) -> None:
    every_type(first)
    with first.server() as source:
        with pytest.raises(InterruptedByUser):
            list(source.logical_capture(stop=lambda: True))
        with pytest.raises(InterruptedByUser):
            source.digests(stop=lambda: True)
