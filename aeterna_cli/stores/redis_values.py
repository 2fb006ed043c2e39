"""Values as their meaning: read in pages of bounded size, hashed independently of encoding."""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from aeterna_cli.errors import RemoteError
from aeterna_cli.stores.redis_connection import ErrorReply, RedisConnection, Reply, Word, error_of

_PAGE = 512  # elements
_PAGE_BYTES = 256 << 10
_MODULUS = 1 << 256
#: What a server says of a key that somebody deleted or replaced since it was listed.
_CHANGED = re.compile(r"^(WRONGTYPE|NOGROUP|ERR no such key)")
_FOOTER = 10  # a DUMP payload ends with its version and CRC64


@dataclass(frozen=True)
class Value:
    """A value's type and digest, and apart from it its hash fields that expire by themselves.

    ``digest`` is None where every field of a hash does. ``volatile_parts`` are pairs of epoch
    milliseconds and digest.
    """

    kind: bytes
    digest: bytes | None
    volatile_parts: tuple[tuple[int, bytes], ...] = ()


def framed(*parts: bytes) -> bytes:
    """The parts one after another, each with its length: no two lists give the same bytes."""
    return b"".join([b"%d:%b" % (len(part), part) for part in parts])


def _hash(data: bytes) -> bytes:
    return blake2b(data, digest_size=32).digest()


class _Sum:
    """A set of things, in no order."""

    def __init__(self) -> None:
        self._total = self.count = 0

    def add(self, data: bytes) -> None:
        self._total += int.from_bytes(_hash(data), "little")
        self.count += 1

    def digest(self) -> bytes:
        return b"%d:%064x" % (self.count, self._total % _MODULUS)


def read_values(
    connection: RedisConnection, keys: Sequence[bytes], *, field_times: bool
) -> Iterator[tuple[bytes, int, Value]]:
    """Every key with its expiry (epoch milliseconds, -1 without) and value; vanished ones left out.

    ``field_times``: ask for the times of hash fields, which older servers do not know.
    """
    commands: list[Sequence[Word]] = []
    for key in keys:
        commands += [["TYPE", key], ["PEXPIRETIME", key]]
    answers = connection.batch(commands)
    facts = [
        (key, kind, expiry)
        for key, kind, expiry in zip(keys, answers[::2], answers[1::2], strict=True)
        if kind != b"none" and expiry != -2
    ]
    first = connection.replies([_first_page(key, kind) for key, kind, _ in facts])
    for (key, kind, expiry), page in zip(facts, first, strict=True):
        try:
            value = _value(connection, key, kind, page, field_times)
        except RemoteError as error:
            if not _CHANGED.search(error.details.get("reply", "")):
                raise
            continue
        if value is not None:
            yield key, expiry, value


def _first_page(key: bytes, kind: bytes) -> list[Word]:
    match kind:
        case b"string":
            return ["GETRANGE", key, 0, _PAGE_BYTES - 1]
        case b"list":
            return ["LRANGE", key, 0, _PAGE - 1]
        case b"set":
            return ["SSCAN", key, 0, "COUNT", _PAGE]
        case b"zset":
            return ["ZSCAN", key, 0, "COUNT", _PAGE]
        case b"hash":
            return ["HSCAN", key, 0, "COUNT", _PAGE]
        case b"stream":
            return ["XRANGE", key, "-", "+", "COUNT", _PAGE]
    return ["DUMP", key]


def _value(
    connection: RedisConnection, key: bytes, kind: bytes, page: Reply, field_times: bool
) -> Value | None:
    """None where somebody deleted it since it was listed."""
    if isinstance(page, ErrorReply):
        raise error_of(page, connection.description)
    if kind == b"hash":
        return _hash_value(connection, key, page, field_times)
    readers: dict[bytes, Callable[[RedisConnection, bytes, Reply], bytes]] = {
        b"string": _string,
        b"list": _list,
        b"set": _set,
        b"zset": _sorted_set,
        b"stream": _stream,
    }
    if kind in readers:
        return Value(kind, readers[kind](connection, key, page))
    return None if page is None else Value(kind, _hash(page[:-_FOOTER]))


def _string(connection: RedisConnection, key: bytes, page: Reply) -> bytes:
    state = blake2b(page, digest_size=32)
    start = 0
    while len(page) == _PAGE_BYTES:
        start += _PAGE_BYTES
        page = connection.call("GETRANGE", key, start, start + _PAGE_BYTES - 1)
        state.update(page)
    return state.digest()


def _list(connection: RedisConnection, key: bytes, page: Reply) -> bytes:
    state = blake2b(framed(*page), digest_size=32)
    start = 0
    while len(page) == _PAGE:
        start += _PAGE
        page = connection.call("LRANGE", key, start, start + _PAGE - 1)
        state.update(framed(*page))
    return state.digest()


def _pages(
    connection: RedisConnection, command: str, key: bytes, page: Reply, width: int
) -> Iterator[list[tuple[bytes, ...]]]:
    """Elements of ``width`` words, each once: a cursor may give some twice."""
    cursor, words = page
    seen: set[int] | None = None if cursor == b"0" else set()
    while True:
        rows = list(zip(*(words[at::width] for at in range(width)), strict=True))
        if seen is not None:
            marks = {hash(row[0]): row for row in rows}
            rows = [row for mark, row in marks.items() if mark not in seen]
            seen.update(marks)
        yield rows
        if cursor == b"0":
            return
        cursor, words = connection.call(command, key, cursor, "COUNT", _PAGE)


def _set(connection: RedisConnection, key: bytes, page: Reply) -> bytes:
    total = _Sum()
    for rows in _pages(connection, "SSCAN", key, page, 1):
        for (member,) in rows:
            total.add(member)
    return total.digest()


def _sorted_set(connection: RedisConnection, key: bytes, page: Reply) -> bytes:
    """Scores as IEEE doubles: servers write them with different numbers of digits."""
    total = _Sum()
    for rows in _pages(connection, "ZSCAN", key, page, 2):
        for member, score in rows:
            total.add(framed(member, struct.pack("<d", float(score))))
    return total.digest()


def _hash_value(connection: RedisConnection, key: bytes, page: Reply, field_times: bool) -> Value:
    total = _Sum()
    volatile: list[tuple[int, bytes]] = []
    for rows in _pages(connection, "HSCAN", key, page, 2):
        times = _field_times(connection, key, rows) if field_times else [-1] * len(rows)
        for (field, value), expiry in zip(rows, times, strict=True):
            if expiry >= 0:
                volatile.append((expiry, _hash(framed(field, value))))
            elif expiry == -1:
                total.add(framed(field, value))
    nothing_stays = bool(volatile) and not total.count
    return Value(b"hash", None if nothing_stays else total.digest(), tuple(volatile))


def _field_times(
    connection: RedisConnection, key: bytes, rows: Sequence[tuple[bytes, ...]]
) -> list[int]:
    if not rows:
        return []
    fields = [row[0] for row in rows]
    answer = connection.call("HPEXPIRETIME", key, "FIELDS", len(fields), *fields)
    return list(answer) if answer is not None else [-2] * len(fields)


def _stream(connection: RedisConnection, key: bytes, page: Reply) -> bytes:
    facts, groups = connection.batch([["XINFO", "STREAM", key], ["XINFO", "GROUPS", key]])
    state = blake2b(digest_size=32)
    while True:
        for identifier, words in page:
            state.update(framed(identifier, *words) + b";")
        if len(page) < _PAGE:
            break
        page = connection.call("XRANGE", key, b"(" + page[-1][0], "+", "COUNT", _PAGE)
    table = _table(facts)
    names = (b"last-generated-id", b"max-deleted-entry-id", b"entries-added")
    state.update(repr([table.get(name) for name in names]).encode())
    for group in sorted((_table(row) for row in groups), key=lambda row: row[b"name"]):
        _group(connection, key, group, state)
    return state.digest()


def _table(words: Reply) -> dict[bytes, Reply]:
    return dict(zip(words[::2], words[1::2], strict=True))


def _group(
    connection: RedisConnection, key: bytes, group: dict[bytes, Reply], state: blake2b
) -> None:
    """A consumer group: its position, its consumers, and who holds what since how many tries."""
    name = group[b"name"]
    consumers = sorted(
        _table(row)[b"name"] for row in connection.call("XINFO", "CONSUMERS", key, name)
    )
    state.update(b"g" + framed(name, group[b"last-delivered-id"], *consumers))
    state.update(repr(group.get(b"entries-read")).encode())
    start: bytes = b"-"
    while True:
        rows = connection.call("XPENDING", key, name, start, "+", _PAGE)
        for identifier, consumer, _idle, tries in rows:
            state.update(framed(identifier, consumer) + b"%d;" % tries)
        if len(rows) < _PAGE:
            return
        start = b"(" + rows[-1][0]
