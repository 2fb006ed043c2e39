"""One connection to a Redis or Valkey server: RESP2 over TCP or TLS, typed errors, no secrets.

A connection of our own and not a client library's, because after PSYNC the socket no longer speaks
RESP, and because a library that retries by itself may apply a command twice.
Source: the Redis serialization protocol (RESP2), https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

import ipaddress
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    RefusedError,
    RemoteError,
    TransientError,
    UsageError,
)
from aeterna_cli.settings import RedisSettings

Word = bytes | str | int
#: bytes, int, None, ErrorReply, or a list of them.
Reply = Any

_CHUNK = 256 << 10


class ErrorReply(str):
    """What the server says instead of an answer, without the arguments that we sent."""

    __slots__ = ()

    @property
    def kind(self) -> str:
        """The first word: ``ERR``, ``NOPERM``, ``LOADING``, ..."""
        return self.split(" ", 1)[0]

    @property
    def command_missing(self) -> bool:
        return "unknown command" in self or "unknown subcommand" in self


def never() -> bool:
    """The default of every ``stop``."""
    return False


def error_of(reply: ErrorReply, description: str) -> AeternaError:
    """The typed error of an error reply."""
    sentence = f"{description} says: {reply}"
    match reply.kind:
        case "NOAUTH" | "WRONGPASS" | "DENIED":
            return AuthenticationError(
                "redis_credentials_refused",
                sentence,
                hint="check redis.user and redis.password_file in the profile",
            )
        case "NOPERM":
            return AuthenticationError(
                "redis_permission_missing",
                sentence,
                hint="the ACL of our user is too narrow; aeterna-cli doctor shows the line to set",
            )
        case "LOADING":
            return TransientError(
                "redis_loading", sentence, hint="the server is starting; wait until it has loaded"
            )
        case "BUSY" | "TRYAGAIN" | "MASTERDOWN" | "NOREPLICAS" | "NOMASTERLINK" | "CLUSTERDOWN":
            return TransientError("redis_busy", sentence)
        case "READONLY":
            return RefusedError(
                "redis_readonly",
                sentence,
                hint="this is a replica: point the profile at the primary",
            )
        case "OOM":
            return RemoteError(
                "redis_out_of_memory", sentence, hint="raise maxmemory or free memory there"
            )
        case "MISCONF":
            return RemoteError(
                "redis_not_persisting", sentence, hint="is its disk full? see the server's log"
            )
    return _error_by_text(reply, sentence)


def _error_by_text(reply: ErrorReply, sentence: str) -> AeternaError:
    if "AUTH" in reply and "without any password" in reply:
        return AuthenticationError(
            "redis_credentials_refused",
            sentence,
            hint="the profile has a password, the server none",
        )
    if "max number of clients" in reply:
        return TransientError("redis_busy", sentence)
    if reply.command_missing:
        return RefusedError(
            "redis_command_missing",
            sentence,
            hint="an old or managed server; some providers rename or disable commands",
        )
    return RemoteError("redis_refused", sentence, details={"reply": str(reply)})


def pack(words: Sequence[Word]) -> bytes:
    """One command as the server reads it."""
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        data = word if isinstance(word, bytes) else str(word).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class RedisConnection:
    """Connects at the first call and again at the call after a fault.

    A fault in the middle of a command leaves it unknown whether the server applied it. ``timeout``
    (seconds) is the longest silence, not the longest answer. Not for use by two threads at once.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._settings = settings
        self._address = (settings.host, settings.port)  # by Sentinels: whom they named last
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._at = 0

    @property
    def description(self) -> str:
        scheme = "rediss" if self._settings.tls.enabled else "redis"
        host, port = self._address
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def close(self) -> None:
        """Give the connection back; the next call opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._buffer.clear()
        self._at = 0

    def call(self, *words: Word) -> Reply:
        """One command's answer; an error reply is raised as a typed error."""
        return self.batch([words])[0]

    def batch(self, commands: Sequence[Sequence[Word]]) -> list[Reply]:
        """Commands in one go; the first error reply is raised after all were read."""
        answers = self.replies(commands)
        for answer in answers:
            if isinstance(answer, ErrorReply):
                if answer.kind == "READONLY" and self._settings.sentinels:
                    self.close()  # no longer the primary: the next call asks who is
                raise error_of(answer, self.description)
        return answers

    def replies(self, commands: Sequence[Sequence[Word]]) -> list[Reply]:
        """As ``batch``, with error replies in their place."""
        self.send(b"".join(map(pack, commands)))
        with self._faults():
            return [self._reply() for _ in commands]

    def select(self, database: int) -> None:
        """Later calls talk to this database, until the connection is lost."""
        self.call("SELECT", database)

    def send(self, data: bytes) -> None:
        """Raw bytes, connecting first where needed."""
        with self._faults():
            self._connected().sendall(data)

    def line(self, wait: float) -> bytes:
        """The next raw line without its end; ``TimeoutError`` after ``wait`` seconds of silence."""
        if self._find_end() < 0:
            self._receive_raw(wait)
        end = self._find_end()
        if end < 0:
            raise TimeoutError
        line = bytes(self._buffer[self._at : end])
        self._at = end + 1
        return line.rstrip(b"\r")

    def receive_into(self, view: memoryview, wait: float) -> int:
        """Raw bytes, at least one; ``TimeoutError`` after ``wait`` seconds of silence."""
        waiting = len(self._buffer) - self._at
        if waiting:
            size = min(waiting, len(view))
            view[:size] = self._buffer[self._at : self._at + size]
            self._at += size
            return size
        with self._faults(silence=False):
            link = self._connected()
            link.settimeout(wait)
            return self._some(link.recv_into(view))

    def peer_is_this_machine(self) -> bool:
        """Whether the server was reached over the loopback interface."""
        with self._faults():
            address = self._connected().getpeername()[0]
        return ipaddress.ip_address(address.split("%")[0]).is_loopback

    def _find_end(self) -> int:
        return self._buffer.find(b"\n", self._at)

    def _receive_raw(self, wait: float) -> None:
        with self._faults(silence=False):
            self._connected().settimeout(wait)
            self._more()

    @contextmanager
    def _faults(self, *, silence: bool = True) -> Iterator[None]:
        """Socket and TLS faults become typed errors, and the connection is given up."""
        try:
            yield
        except TimeoutError as error:
            if not silence:
                raise
            self.close()
            raise TransientError(
                "redis_timeout",
                f"{self.description} was silent for {self._settings.timeout:g} s",
                hint="is it blocked, swapping or overloaded?",
            ) from error
        except ssl.SSLError as error:
            self.close()
            raise self._tls_error(error) from error
        except OSError as error:
            self.close()
            raise TransientError(
                "redis_connection_lost",
                f"the connection to {self.description} was lost: {error.strerror or error}",
                hint="did the server stop, or does it demand TLS?",
            ) from error
        except BaseException:
            self.close()  # a half-read answer must never be taken for the next one's
            raise

    def _tls_error(self, error: ssl.SSLError) -> RemoteError:
        reason = getattr(error, "verify_message", "") or error.reason or "no reason given"
        return RemoteError(
            "certificate_refused" if "CERT" in str(error).upper() else "tls_failed",
            f"TLS with {self.description} failed: {reason}",
            hint="check redis.tls: ca_file, server_name, certificate_file and key_file",
        )

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = self._open()
            self._sign_in(self._socket)
        self._socket.settimeout(self._settings.timeout)
        return self._socket

    def _open(self) -> socket.socket:
        settings = self._settings
        if settings.sentinels:
            from aeterna_cli.stores.sentinel import primary_address

            self._address = primary_address(settings)
        context = self._tls_context() if settings.tls.enabled else None
        try:
            link = socket.create_connection(self._address, timeout=settings.timeout)
        except OSError as error:
            raise TransientError(
                "redis_unreachable",
                f"cannot reach {self.description}: {error.strerror or error}",
                hint="is the server up, and are redis.host and redis.port right?",
            ) from error
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if context is None:
            return link
        try:
            return context.wrap_socket(
                link, server_hostname=settings.tls.server_name or self._address[0]
            )
        except BaseException:
            link.close()
            raise

    def _tls_context(self) -> ssl.SSLContext:
        tls = self._settings.tls
        try:
            context = ssl.create_default_context(cafile=tls.ca_file)
            if tls.certificate_file is not None:
                context.load_cert_chain(tls.certificate_file, tls.key_file)
        except OSError as error:  # ssl.SSLError is one
            raise UsageError(
                "redis_tls_files_unreadable",
                f"cannot use the TLS files of Redis: {error.strerror or error}",
                hint="check redis.tls.ca_file, certificate_file and key_file in the profile",
            ) from error
        return context

    def _sign_in(self, link: socket.socket) -> None:
        settings, password = self._settings, self._settings.secret()
        commands: list[Sequence[Word]] = []
        if password is not None:
            user = [settings.user] if settings.user else []
            commands.append(["AUTH", *user, password])
        if settings.database:
            commands.append(["SELECT", settings.database])
        if settings.sentinels:
            commands.append(["ROLE"])
        link.sendall(b"".join(map(pack, commands)))
        answers = [self._reply() for _ in commands]
        for answer in answers:
            if isinstance(answer, ErrorReply):
                raise error_of(answer, self.description)
        if settings.sentinels and answers[-1][0] != b"master":
            raise TransientError(
                "redis_not_primary",
                f"{self.description}, which the Sentinels call the primary, says that it is none",
                hint="a failover is under way; try again when the Sentinels agree",
                next_steps=["aeterna-cli failover status"],
            )

    def _some(self, size: int) -> int:
        if not size:
            raise ConnectionResetError("the server closed it")
        return size

    def _more(self) -> None:
        """Append what the server sent to the buffer, dropping what was read."""
        del self._buffer[: self._at]
        self._at = 0
        data = b"" if self._socket is None else self._socket.recv(_CHUNK)
        self._some(len(data))
        self._buffer += data

    def _reply(self) -> Reply:
        while (end := self._buffer.find(b"\r\n", self._at)) < 0:
            self._more()
        kind, rest = self._buffer[self._at], bytes(self._buffer[self._at + 1 : end])
        self._at = end + 2
        match kind:
            case 0x24:  # $
                return self._bulk(int(rest))
            case 0x3A:  # :
                return int(rest)
            case 0x2B:  # +
                return rest
            case 0x2A:  # *
                count = int(rest)
                return None if count < 0 else [self._reply() for _ in range(count)]
            case 0x2D:  # -
                return self._error_reply(rest)
        raise RemoteError(
            "redis_answer_unknown",
            f"{self.description} does not answer as a Redis server does",
            hint="does another service listen there, or does it demand TLS?",
        )

    def _error_reply(self, text: bytes) -> ErrorReply:
        """Servers repeat the arguments of an unknown command: a password must not come back."""
        said = text.decode(errors="replace").split(", with args beginning with")[0]
        password = self._settings.secret()
        return ErrorReply(said.replace(password, "***") if password else said)

    def _bulk(self, size: int) -> bytes | None:
        if size < 0:
            return None
        end = self._at + size
        while len(self._buffer) < end + 2:
            before = self._at
            self._more()
            end -= before
        data = bytes(self._buffer[self._at : end])
        self._at = end + 2
        return data
