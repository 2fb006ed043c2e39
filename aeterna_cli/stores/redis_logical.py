"""A server key by key, for those that do not hand out their RDB: SCAN, DUMP, RESTORE.

Not a point in time: a key changed while it runs may be the old or the new one, and keys made after
it began may be missing. The stream is a sequence of RESP commands, so that ``valkey-cli --pipe`` or
``redis-cli --pipe`` can load it without us: ECHO (what this is), FUNCTION RESTORE, SELECT, RESTORE
with absolute times, and ECHO with the number of keys as the sign that it is whole. A DUMP payload
is read by servers of the writer's RDB version and later.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from aeterna_cli.errors import (
    AeternaError,
    ConflictError,
    InterruptedByUser,
    RefusedError,
    RemoteError,
)
from aeterna_cli.stores import redis_info
from aeterna_cli.stores.base.redis import OWN_PREFIX, LogicalResult
from aeterna_cli.stores.redis_connection import ErrorReply, RedisConnection, Word, error_of, pack

Stop = Callable[[], bool]

TITLE = "aeterna redis logical capture 1, not a point in time"
#: of a stream that holds one tenant's keys; it may have SADD after a RESTORE
SLICE_TITLE = "aeterna redis tenant capture 1, not a point in time"
END = "aeterna redis logical end "
_SCAN = 1000
_BATCH_KEYS = 250
_BATCH_BYTES = 8 << 20


def scan(connection: RedisConnection) -> Iterator[list[bytes]]:
    """The keys of the selected database, each once, at most ``_BATCH_KEYS`` at a time.

    SCAN repeats keys while a table changes its size; 64 bits of each are remembered.
    """
    seen: set[int] = set()
    cursor: bytes = b"0"
    while True:
        cursor, keys = connection.call("SCAN", cursor, "COUNT", _SCAN)
        fresh = []
        for key in keys:
            mark = hash(key)
            if mark not in seen:
                seen.add(mark)
                fresh.append(key)
        for start in range(0, len(fresh), _BATCH_KEYS):
            yield fresh[start : start + _BATCH_KEYS]
        if cursor == b"0":
            return


def capture(connection: RedisConnection, stop: Stop) -> Iterator[bytes]:
    """The stream in pieces of a few MiB, one value being the least; ends with its end record."""
    facts = redis_info.info(connection)
    flavour, version = redis_info.version_of(facts)
    yield pack(["ECHO", f"{TITLE}, {flavour} {version}"])
    yield from _functions(connection)
    total = 0
    for database in redis_info.keyspace(facts):
        connection.select(database)
        yield pack(["SELECT", database])
        for keys in scan(connection):
            if stop():
                raise InterruptedByUser("interrupted", f"stopped after {total} keys")
            for part in by_size(connection, keys):
                piece, count = _dumped(connection, part)
                total += count
                yield piece
    yield pack(["ECHO", f"{END}{total}"])


def _functions(connection: RedisConnection) -> Iterator[bytes]:
    """The server's function libraries; left out where we may not read them or there are none."""
    libraries, payload = connection.replies([["FUNCTION", "LIST"], ["FUNCTION", "DUMP"]])
    if libraries and isinstance(payload, bytes):
        yield pack(["FUNCTION", "RESTORE", payload, "REPLACE"])


def by_size(connection: RedisConnection, keys: Sequence[bytes]) -> Iterator[list[bytes]]:
    """The keys in parts whose values fit in memory together, by the server's own estimate."""
    sizes = connection.replies([["MEMORY", "USAGE", key] for key in keys])
    part: list[bytes] = []
    weight = 0
    for key, size in zip(keys, sizes, strict=True):
        estimate = size if isinstance(size, int) else _BATCH_BYTES // 64
        if part and weight + estimate > _BATCH_BYTES:
            yield part
            part, weight = [], 0
        part.append(key)
        weight += estimate
    if part:
        yield part


def _dumped(connection: RedisConnection, keys: Sequence[bytes]) -> tuple[bytes, int]:
    commands: list[Sequence[Word]] = []
    for key in keys:
        commands += [["PEXPIRETIME", key], ["DUMP", key]]
    answers = connection.batch(commands)
    restores = [
        pack(["RESTORE", key, max(expiry, 0), payload, "REPLACE", "ABSTTL"])
        for key, expiry, payload in zip(keys, answers[::2], answers[1::2], strict=True)
        if payload is not None and expiry != -2  # else it expired or was deleted meanwhile
    ]
    return b"".join(restores), len(restores)


class _Commands:
    """Cuts a byte stream into RESP commands."""

    def __init__(self, stream: Iterable[bytes]) -> None:
        self._stream = iter(stream)
        self._buffer = bytearray()

    def __iter__(self) -> Iterator[list[bytes]]:
        while self._buffer or self._more():
            count = self._header(rb"\*(\d{1,2})")
            yield [self._word() for _ in range(count)]

    def _more(self) -> bool:
        for piece in self._stream:
            if piece:
                self._buffer += piece
                return True
        return False

    def _need(self) -> None:
        if not self._more():
            raise _truncated()

    def _header(self, form: bytes) -> int:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > 32:
                raise _unknown()
            self._need()
        found = re.fullmatch(form, self._buffer[:end])
        if found is None:
            raise _unknown()
        del self._buffer[: end + 2]
        return int(found.group(1))

    def _word(self) -> bytes:
        size = self._header(rb"\$(\d{1,12})")
        while len(self._buffer) < size + 2:
            self._need()
        word = bytes(self._buffer[:size])
        del self._buffer[: size + 2]
        return word


def _truncated() -> RemoteError:
    return RemoteError("logical_truncated", "the logical capture ends before its end record")


def _unknown() -> RefusedError:
    return RefusedError("logical_format_unknown", "this is not a logical capture of Redis")


class _Restore:
    """Feeds RESTORE commands in batches. Only what ``capture`` writes is ever sent on."""

    def __init__(self, connection: RedisConnection, replace: bool) -> None:
        self._connection, self._replace = connection, replace
        seconds, micros = connection.call("TIME")
        self._now = int(seconds) * 1000 + int(micros) // 1000
        self._batch: list[list[Word]] = []
        self._bytes = 0
        self._seen = self.keys = self.expired = 0
        self._whole = False

    @property
    def full(self) -> bool:
        return len(self._batch) >= _BATCH_KEYS or self._bytes >= _BATCH_BYTES

    def take(self, command: list[bytes]) -> None:
        match command:
            case [b"RESTORE", key, expiry, payload, b"REPLACE", b"ABSTTL"]:
                self._seen += 1
                self._key(key, int(expiry), payload)
            case [b"SELECT", database]:
                self.flush()
                self._connection.call("SELECT", database)
            case [b"FUNCTION", b"RESTORE", payload, b"REPLACE"]:
                self._connection.call("FUNCTION", "RESTORE", payload, "REPLACE")
            case [b"SADD", _, _]:
                self._batch.append(list(command))
            case [b"ECHO", text] if text.startswith(END.encode()):
                self._whole = int(text[len(END) :]) == self._seen
            case [b"ECHO", _]:
                pass
            case _:
                raise _unknown()

    def _key(self, key: bytes, expiry: int, payload: bytes) -> None:
        if key.startswith(OWN_PREFIX):
            return  # an identity is never copied to another server
        if 0 < expiry <= self._now:
            self.expired += 1
            return
        options: list[Word] = ["REPLACE", "ABSTTL"] if self._replace else ["ABSTTL"]
        self._batch.append(["RESTORE", key, expiry, payload, *options])
        self._bytes += len(payload)

    def flush(self) -> None:
        answers = self._connection.replies(self._batch) if self._batch else []
        for answer in answers:
            if isinstance(answer, ErrorReply):
                raise _restore_error(answer, self._connection.description)
        self.keys += sum(command[0] == "RESTORE" for command in self._batch)
        self._batch, self._bytes = [], 0

    def finish(self) -> LogicalResult:
        self.flush()
        if not self._whole:
            raise _truncated()
        return LogicalResult(self.keys, self.expired)


def _restore_error(reply: ErrorReply, description: str) -> AeternaError:
    if reply.kind == "BUSYKEY":
        return ConflictError(
            "key_exists",
            f"a key of the capture exists already on {description}",
            hint="restore into an empty server, or ask for existing keys to be replaced",
        )
    if "payload version" in reply or "Bad data format" in reply:
        return RemoteError(
            "payload_refused",
            f"{description} cannot read the values of this capture",
            hint="restore with a server at least as new as the one that was captured",
        )
    return error_of(reply, description)


def restore(
    connection: RedisConnection, stream: Iterable[bytes], *, replace: bool, stop: Stop
) -> LogicalResult:
    """Write what ``capture`` gave, our own keys and expired ones left out; see ``RedisServer``."""
    work = _Restore(connection, replace)
    commands = iter(_Commands(stream))
    first: Any = next(commands, None)
    if first is None:
        raise _truncated()
    if first[0] != b"ECHO" or not first[-1].startswith((TITLE.encode(), SLICE_TITLE.encode())):
        raise _unknown()
    for command in commands:
        work.take(command)
        if work.full:
            work.flush()
            if stop():
                raise InterruptedByUser("interrupted", f"stopped after {work.keys} keys")
    return work.finish()
