"""RESP answers in any pieces, and error replies as typed errors without secrets."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    RefusedError,
    RemoteError,
    TransientError,
    UsageError,
)
from aeterna_cli.settings import RedisSettings, TlsSettings
from aeterna_cli.stores.redis_connection import ErrorReply, RedisConnection, error_of, pack


@contextmanager
def answering(pieces: list[bytes], *, linger: bool = False) -> Iterator[RedisConnection]:
    """A connection to a peer that says these bytes, whatever it is asked, and then ends.

    ``linger``: it stays and says nothing more.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            client, _ = listener.accept()
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for piece in pieces:
                    client.sendall(piece)
                if not linger:
                    client.shutdown(socket.SHUT_WR)
                while client.recv(1000):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        connection = RedisConnection(RedisSettings(port=listener.getsockname()[1], timeout=5))
        try:
            yield connection
        finally:
            connection.close()
            thread.join()


ANSWERS = (
    b"+OK\r\n:-7\r\n$-1\r\n$4\r\na\r\nb\r\n*2\r\n$0\r\n\r\n*-1\r\n$300\r\n" + b"x" * 300 + b"\r\n"
)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=10))
def test_answers_arrive_in_pieces_of_any_size(sizes: list[int]) -> None:
    pieces, rest = [], ANSWERS
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    with answering([*pieces, rest]) as connection:
        answers = connection.batch([["X"]] * 6)
    assert answers == [b"OK", -7, None, b"a\r\nb", [b"", None], b"x" * 300]


def test_an_answer_that_ends_early_is_transient() -> None:
    with answering([b"$100\r\nabc"]) as connection, pytest.raises(TransientError) as caught:
        connection.call("GET", "x")
    assert caught.value.code == "redis_connection_lost"


def test_another_protocol_is_told() -> None:
    with answering([b"HTTP/1.1 400 Bad Request\r\n\r\n"]) as connection:
        with pytest.raises(RemoteError) as caught:
            connection.call("PING")
        assert caught.value.code == "redis_answer_unknown"


def test_the_first_error_is_raised_after_all_answers_were_read() -> None:
    answers = b"-ERR first\r\n:1\r\n-ERR second\r\n+PONG\r\n"
    with answering([answers]) as connection:
        with pytest.raises(RemoteError, match="first"):
            connection.batch([["A"], ["B"], ["C"]])
        assert connection.call("PING") == b"PONG"


@pytest.mark.parametrize(
    ("reply", "kind", "code"),
    [
        ("NOAUTH Authentication required.", AuthenticationError, "redis_credentials_refused"),
        ("WRONGPASS invalid", AuthenticationError, "redis_credentials_refused"),
        ("ERR AUTH <password> called without any password configured for the default user",
         AuthenticationError, "redis_credentials_refused"),
        ("NOPERM no", AuthenticationError, "redis_permission_missing"),
        ("LOADING", TransientError, "redis_loading"),
        ("BUSY script", TransientError, "redis_busy"),
        ("ERR max number of clients reached", TransientError, "redis_busy"),
        ("READONLY no", RefusedError, "redis_readonly"),
        ("OOM command not allowed", RemoteError, "redis_out_of_memory"),
        ("MISCONF disk", RemoteError, "redis_not_persisting"),
        ("ERR unknown command 'SYNC'", RefusedError, "redis_command_missing"),
        ("ERR anything else", RemoteError, "redis_refused"),
    ],
)  # fmt: skip
def test_error_replies(reply: str, kind: type[AeternaError], code: str) -> None:
    error = error_of(ErrorReply(reply), "redis://here:1")
    assert type(error) is kind
    assert error.code == code
    assert "redis://here:1" in error.message


def test_unreadable_tls_files_are_a_usage_error(tmp_path: object) -> None:
    settings = RedisSettings.model_validate(
        {"tls": TlsSettings.model_validate({"enabled": True, "ca_file": f"{tmp_path}/missing"})}
    )
    connection = RedisConnection(settings)
    with pytest.raises(UsageError) as caught:
        connection.call("PING")
    assert caught.value.code == "redis_tls_files_unreadable"


def test_descriptions_hold_no_secret() -> None:
    settings = RedisSettings(host="::1", user="u", password=SecretStr("p4ss"))
    assert RedisConnection(settings).description == "redis://[::1]:6379"


def test_commands_are_packed_as_binary() -> None:
    assert pack(["SET", b"\xff\r\n", 5]) == b"*3\r\n$3\r\nSET\r\n$3\r\n\xff\r\n\r\n$1\r\n5\r\n"
