"""A tenant's keys: out of any server as commands that any client can send, and into a live one.

Whose a key is, a judge tells (``aeterna_cli.datamap.keys.KeyMap``). The stream is of the form of
``redis_logical``: ECHO of a title, SELECT, RESTORE with absolute times, for a key that an index SET
names SADD of its member, and ECHO with the number of keys as the sign that it is whole. Keys that
several tenants have are kept apart from those that one tenant has.
Not a point in time on a live server; on a scratch server that nobody writes to it is one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aeterna_cli.errors import InterruptedByUser
from aeterna_cli.settings import RedisSettings
from aeterna_cli.stores import redis_info
from aeterna_cli.stores.base.redis import RedisDigests
from aeterna_cli.stores.redis_connection import (
    ErrorReply,
    RedisConnection,
    Word,
    error_of,
    never,
    pack,
)
from aeterna_cli.stores.redis_digests import Tally
from aeterna_cli.stores.redis_logical import END, SLICE_TITLE, by_size, scan
from aeterna_cli.stores.redis_tenants import LONGEST_VALUE
from aeterna_cli.stores.redis_values import read_values

_VALUES_AT_ONCE = 16
_BATCH = 250


class SliceJudge(Protocol):
    """``aeterna_cli.datamap.keys.KeyMap``."""

    def classify(self, key: bytes) -> Any: ...
    def in_value(self, found: Any, value: bytes | None) -> Any: ...


@dataclass(frozen=True)
class TenantKey:
    """One key of the tenant. ``shared``: others have it too, it is never deleted. ``index`` and
    ``member``: the SET that names it, and by what."""

    key: bytes
    rule: str
    shared: bool
    index: bytes | None
    member: bytes | None


@dataclass(frozen=True)
class KeysWritten:
    """``expired`` keys of the source were past their time and were left out."""

    written: int
    expired: int


class RedisSlice:
    """One tenant's keys in the database of ``settings``. Errors as of ``RedisServer``.

    ``tenant`` is an id. Keys of the role ``lock`` are of a moment: they are nobody's here. Not for
    two threads at once.
    """

    def __init__(
        self,
        settings: RedisSettings,
        judge: SliceJudge,
        tenant: str,
        *,
        stop: Callable[[], bool] = never,
    ) -> None:
        self._settings = settings
        self._judge = judge
        self._tenant = tenant
        self._stop = stop
        self.connection = RedisConnection(settings)
        self.captured = 0

    def __enter__(self) -> "RedisSlice":
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def pages(self) -> Iterator[list[TenantKey]]:
        """The tenant's keys in one SCAN, some at a time; keys that come and go may be missed."""
        scanning = RedisConnection(self._settings)
        try:
            for found in scan(scanning):
                if self._stop():
                    raise InterruptedByUser("interrupted", "stopped while reading keys")
                mine = [one for one in self._classes(found) if self._is_mine(one[1])]
                if mine:
                    yield [_named(key, judged) for key, judged in mine]
        finally:
            scanning.close()

    def capture(self, *, shared: bool) -> Iterator[bytes]:
        """The stream of the keys that the tenant has alone, or of those that others have too.

        ``captured`` is their number when the stream has ended.
        """
        facts = redis_info.info(self.connection)
        flavour, version = redis_info.version_of(facts)
        yield pack(["ECHO", f"{SLICE_TITLE}, {flavour} {version}"])
        yield pack(["SELECT", self._settings.database])
        total = 0
        for keys in self.pages():
            wanted = [one for one in keys if one.shared is shared]
            piece, count = self._dumped(wanted)
            total += count
            yield piece
        self.captured = total
        yield pack(["ECHO", f"{END}{total}"])

    def digests(self) -> RedisDigests:
        """What the tenant has alone; exact where nobody writes."""
        tally = Tally()
        field_times = redis_info.has_field_times(redis_info.info(self.connection))
        for keys in self.pages():
            names = [one.key for one in keys if not one.shared]
            for key, expiry, value in read_values(self.connection, names, field_times=field_times):
                tally.add(self._settings.database, key, expiry, value)
        return tally.result()

    # -- writing

    def take_from(self, source: "RedisSlice", *, replace: bool, shared: bool) -> KeysWritten:
        """Every key of ``source`` that the tenant has alone (or, ``shared``, that others have too)
        is here, but those past their time.

        Without ``replace`` keys that are here stay as they are. May be repeated.
        """
        written = expired = 0
        now = self._now()
        for keys in source.pages():
            wanted = [one for one in keys if one.shared is shared]
            for part in source.dumps(wanted):
                alive = [one for one in part if not 0 < one[1] <= now]
                expired += len(part) - len(alive)
                written += self._restore(alive, replace=replace)
        return KeysWritten(written, expired)

    def present(self, keys: Sequence[bytes]) -> int:
        """How many of these keys are here."""
        answers = self.connection.batch([["EXISTS", key] for key in keys]) if keys else []
        return sum(int(one) for one in answers)

    def surplus(self, source: "RedisSlice") -> Iterator[TenantKey]:
        """Keys that the tenant has alone here and not in ``source``."""
        for keys in self.pages():
            own = [one for one in keys if not one.shared]
            asked: list[Sequence[Word]] = [["EXISTS", one.key] for one in own]
            there = source.connection.batch(asked) if asked else []
            yield from (one for one, present in zip(own, there, strict=True) if not present)

    def remove(self, keys: Sequence[TenantKey]) -> int:
        """These keys are gone, and their members from the index SETs; how many were there."""
        commands: list[Sequence[Word]] = []
        for one in keys:
            commands.append(["UNLINK", one.key])
            if one.index is not None and one.member is not None:
                commands.append(["SREM", one.index, one.member])
        answers = self.connection.batch(commands)
        return sum(
            int(answer) for command, answer in zip(commands, answers, strict=True)
            if command[0] == "UNLINK"
        )  # fmt: skip

    def dumps(
        self, keys: Sequence[TenantKey]
    ) -> Iterator[list[tuple[TenantKey, int, bytes, bool]]]:
        """Key, expiry (epoch milliseconds, 0 without), payload, and whether its index names it."""
        by_name = {one.key: one for one in keys}
        for part in by_size(self.connection, list(by_name)):
            commands: list[Sequence[Word]] = []
            for key in part:
                commands += [["PEXPIRETIME", key], ["DUMP", key]]
            answers = self.connection.batch(commands)
            listed = self._listed([by_name[key] for key in part])
            yield [
                (by_name[key], max(int(expiry), 0), payload, key in listed)
                for key, expiry, payload in zip(part, answers[::2], answers[1::2], strict=True)
                if payload is not None and expiry != -2
            ]

    # -- parts

    def _restore(
        self, found: Sequence[tuple[TenantKey, int, bytes, bool]], *, replace: bool
    ) -> int:
        options = ["REPLACE", "ABSTTL"] if replace else ["ABSTTL"]
        commands: list[Sequence[Word]] = [
            ["RESTORE", one.key, expiry, payload, *options] for one, expiry, payload, _ in found
        ]
        commands += [
            ["SADD", one.index, one.member]
            for one, _, _, listed in found
            if listed and one.index is not None and one.member is not None
        ]
        written = 0
        for answer in self.connection.replies(commands) if commands else []:
            if not isinstance(answer, ErrorReply):
                written += answer == b"OK"
            elif replace or answer.kind != "BUSYKEY":
                raise error_of(answer, self.connection.description)
        return written

    def _now(self) -> int:
        seconds, micros = self.connection.call("TIME")
        return int(seconds) * 1000 + int(micros) // 1000

    def _listed(self, keys: Sequence[TenantKey]) -> set[bytes]:
        asked: list[tuple[bytes, Sequence[Word]]] = [
            (one.key, ["SISMEMBER", one.index, one.member])
            for one in keys
            if one.index is not None and one.member is not None
        ]
        answers = self.connection.batch([command for _, command in asked]) if asked else []
        return {key for (key, _), yes in zip(asked, answers, strict=True) if yes}

    def _dumped(self, keys: Sequence[TenantKey]) -> tuple[bytes, int]:
        pieces, count = [], 0
        for part in self.dumps(keys):
            for one, expiry, payload, listed in part:
                pieces.append(pack(["RESTORE", one.key, expiry, payload, "REPLACE", "ABSTTL"]))
                if listed and one.index is not None and one.member is not None:
                    pieces.append(pack(["SADD", one.index, one.member]))
            count += len(part)
        return b"".join(pieces), count

    def _is_mine(self, judged: Any) -> bool:
        held = judged.holder in ("tenant", "several") and self._tenant in judged.tenants
        return held and judged.rule.role != "lock"

    def _classes(self, keys: Sequence[bytes]) -> list[tuple[bytes, Any]]:
        found = [(key, self._judge.classify(key)) for key in keys]
        asked = [number for number, (_, judged) in enumerate(found) if judged.reads_value]
        for start in range(0, len(asked), _VALUES_AT_ONCE):
            part = asked[start : start + _VALUES_AT_ONCE]
            values = self._values([found[number][0] for number in part])
            for number, value in zip(part, values, strict=True):
                key, judged = found[number]
                found[number] = (key, self._judge.in_value(judged, value))
        return found

    def _values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The strings of these keys; None for what is none, or longer than a record is."""
        answers = self.connection.replies([["GETRANGE", key, 0, LONGEST_VALUE] for key in keys])
        for answer in answers:
            if isinstance(answer, ErrorReply) and answer.kind != "WRONGTYPE":
                raise error_of(answer, self.connection.description)
        return [
            answer if isinstance(answer, bytes) and len(answer) <= LONGEST_VALUE else None
            for answer in answers
        ]


def _named(key: bytes, judged: Any) -> TenantKey:
    rule = judged.rule
    index = rule.index.encode() if rule.index is not None else None
    return TenantKey(key, rule.name, judged.holder == "several", index, rule.member(key))
