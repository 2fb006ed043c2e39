"""Sentinels that lie, stammer or are none: told, never a crash, never an address nobody can use."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from aeterna_cli.errors import AeternaError, RefusedError, RemoteError, TransientError
from aeterna_cli.settings import RedisSettings
from aeterna_cli.stores.redis_connection import RedisConnection, pack
from aeterna_cli.stores.redis_node import node
from aeterna_cli.stores.sentinel import primary_address, view


@contextmanager
def saying(answer: bytes) -> Iterator[str]:
    """The address of a peer that gives every connection these bytes, and then ends it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def serve() -> None:
            listener.settimeout(0.02)
            while not ended.is_set():
                try:
                    client, _ = listener.accept()
                except TimeoutError:
                    continue
                with client:
                    client.settimeout(5)
                    client.recv(1 << 16)
                    client.sendall(answer)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(1 << 16):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


def primary(host: str, port: object, epoch: object = 1) -> bytes:
    words = {
        "name": "trio", "ip": host, "port": port, "flags": "master", "config-epoch": epoch,
        "num-other-sentinels": 2, "quorum": 2, "down-after-milliseconds": 1000,
    }  # fmt: skip
    return pack([str(word) for pair in words.items() for word in pair])


def settings(*sentinels: str) -> RedisSettings:
    return RedisSettings(sentinels=sentinels, sentinel_name="trio", timeout=3)


HOSTILE = {
    "nothing": b"",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a number": b":7\r\n",
    "no number": b":x\r\n",
    "no length": b"$x\r\n",
    "none": b"*-1\r\n",
    "an odd list": b"*1\r\n$1\r\na\r\n",
    "lists in lists": b"*1\r\n" * 5000 + b":1\r\n",
    "numbers for names": b"*2\r\n:1\r\n:2\r\n",
    "no port": primary("127.0.0.1", "x"),
    "port 0": primary("127.0.0.1", 0),
    "port 65536": primary("127.0.0.1", 65536),
    "no host": primary("", 6379),
    "an escape sequence": primary("\x1b[2Jhost", 6379),
    "a line break": primary("host\r\nFLUSHALL", 6379),
    "no epoch": primary("127.0.0.1", 6379, "many"),
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_answer_is_told(answer: bytes) -> None:
    with saying(answer) as address:
        found = view(settings(address), address)
        assert found.error
        assert found.primary is None
        assert "\x1b" not in found.error
        with pytest.raises((RemoteError, TransientError)):
            primary_address(settings(address))


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_server_that_is_none_is_told(answer: bytes) -> None:
    with saying(answer) as address, pytest.raises(AeternaError):
        node(settings(), ("127.0.0.1", int(address.rpartition(":")[2])))


@pytest.mark.parametrize("role", [b":1\r\n", b"*0\r\n", b"*-1\r\n", b"*1\r\n$5\r\nslave\r\n"])
def test_whoever_is_no_master_gets_no_command(role: bytes) -> None:
    with saying(role) as server:
        host, _, port = server.rpartition(":")
        with (
            saying(primary(host, port)) as sentinel,
            pytest.raises(TransientError) as caught,
        ):
            RedisConnection(settings(sentinel)).call("SET", "a", 1)
    assert caught.value.code == "redis_not_primary"


def test_the_newest_epoch_is_believed_and_a_tie_is_not() -> None:
    old, new = primary("10.0.0.1", 6379, 4), primary("10.0.0.2", 6379, 5)
    with saying(old) as first, saying(new) as second:
        assert primary_address(settings(first, second)) == ("10.0.0.2", 6379)
    other = primary("10.0.0.3", 6379, 5)
    with saying(other) as first, saying(new) as second, pytest.raises(RefusedError) as caught:
        primary_address(settings(first, second))
    assert caught.value.code == "sentinels_disagree"
    assert "10.0.0.2:6379, 10.0.0.3:6379" in caught.value.message
