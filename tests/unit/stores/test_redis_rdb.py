"""The check of an RDB as it passes, piece by piece."""

import anycrc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.errors import RemoteError, TransientError
from aeterna_cli.stores.redis_connection import never
from aeterna_cli.stores.redis_rdb import RdbCheck, _Stream, written_by
from tests.unit.stores.test_redis_connection import answering


def rdb(body: bytes, *, checksum: bool = True) -> bytes:
    data = b"REDIS0011\xfa\x09redis-ver\x057.2.4" + body + b"\xff"
    crc = anycrc.Model("CRC64-REDIS").calc(data) if checksum else 0
    return data + int(crc).to_bytes(8, "little")


def checked(data: bytes, piece: int) -> RdbCheck:
    check = RdbCheck()
    for start in range(0, len(data), piece):
        check.update(memoryview(data[start : start + piece]))
    return check


def test_the_checksum_is_redis_s_own() -> None:
    """The value that crc64.c of Redis gives for its own test."""
    assert anycrc.Model("CRC64-REDIS").calc(b"123456789") == 0xE9C6D914C4B8D9CA


@given(st.binary(max_size=100), st.integers(1, 200))
def test_a_whole_rdb_passes_in_pieces_of_any_size(body: bytes, piece: int) -> None:
    data = rdb(body)
    check = checked(data, piece)
    assert check.finish() == int.from_bytes(data[-8:], "little")
    assert check.bytes == len(data)
    assert written_by(check.head) == "7.2.4"


@given(st.binary(min_size=30, max_size=100), st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_is_found(body: bytes, place: int, change: int) -> None:
    data = bytearray(rdb(body))
    data[place % len(data)] ^= change
    with pytest.raises(RemoteError) as caught:
        checked(bytes(data), 37).finish()
    assert caught.value.code in {"rdb_checksum", "rdb_invalid"}


@given(st.integers(0, 60))
def test_a_missing_end_is_found(missing: int) -> None:
    data = rdb(b"x" * 60)
    with pytest.raises(RemoteError):
        checked(data[: -1 - missing], 11).finish()


def test_without_a_checksum_only_the_ends_are_checked() -> None:
    assert checked(rdb(b"body", checksum=False), 5).finish() is None
    for damaged in (
        b"HELLO" + rdb(b"body", checksum=False),
        rdb(b"body", checksum=False).replace(b"\xff", b"\xfe"),
    ):
        with pytest.raises(RemoteError) as caught:
            checked(damaged, 5).finish()
        assert caught.value.code == "rdb_invalid"


def test_a_writer_that_does_not_say() -> None:
    assert written_by(b"REDIS0009\xfe\x00") == ""
    assert written_by(b"VALKEY080\xfa\nvalkey-ver\x059.1.2\xfa") == "9.1.2"


MARK = b"m" * 20 + b"n" * 20


@given(st.lists(st.integers(1, 90), max_size=12), st.booleans())
def test_the_end_is_found_however_the_stream_is_cut(sizes: list[int], diskless: bool) -> None:
    data = rdb(b"m" * 50)
    head = b"$EOF:" + MARK if diskless else b"$%d" % len(data)
    rest = b"\n\n+FULLRESYNC abc 77\r\n\n" + head + b"\r\n" + data + (MARK if diskless else b"")
    pieces = []
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    out = bytearray()
    with answering([*pieces, rest]) as connection:
        stream = _Stream(connection, out.extend, never, 5)
        stream.run()
    assert bytes(out) == data
    assert stream.offset == 77
    assert stream.check.finish() == int.from_bytes(data[-8:], "little")


@pytest.mark.parametrize("answer", [b"+CONTINUE\r\n", b"$EOF:short\r\n", b"$-1\r\n", b"hello\r\n"])
def test_an_answer_that_is_no_rdb_is_told(answer: bytes) -> None:
    with answering([answer]) as connection, pytest.raises(RemoteError) as caught:
        _Stream(connection, bytearray().extend, never, 5).run()
    assert caught.value.code == "rdb_invalid"


def test_silence_is_told() -> None:
    quiet = answering([b"+FULLRESYNC abc 1\r\n"], linger=True)
    with quiet as connection, pytest.raises(TransientError) as caught:
        _Stream(connection, bytearray().extend, never, 0.6).run()
    assert caught.value.code == "redis_timeout"
