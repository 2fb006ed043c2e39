"""Whose the keys of a database are: one SCAN, values read only where nothing else tells."""

from collections.abc import Callable, Iterator, Sequence

from aeterna_cli.errors import InterruptedByUser
from aeterna_cli.settings import RedisSettings
from aeterna_cli.stores import tallies
from aeterna_cli.stores.base.tenant_counts import K, KeyJudge, Tally
from aeterna_cli.stores.redis_connection import (
    ErrorReply,
    RedisConnection,
    error_of,
    never,
)
from aeterna_cli.stores.redis_logical import scan
from aeterna_cli.stores.redis_privileges import least_privilege_acl, missing_commands

#: a record with a tenant inside is small; a longer value is not read and said to be unreadable
LONGEST_VALUE = 1 << 20
_VALUES_AT_ONCE = 16


class RedisTenants:
    """The keys of the profile's database. Reads only; errors as of ``RedisServer``."""

    def __init__(self, settings: RedisSettings) -> None:
        self._connection = RedisConnection(settings)

    def close(self) -> None:
        self._connection.close()

    def tally(
        self,
        judge: KeyJudge[K],
        *,
        sizes: bool = True,
        each: Callable[[bytes, K], object] | None = None,
        stop: Callable[[], bool] = never,
    ) -> Tally:
        """Every key once, by tenant and rule, in one SCAN.

        No point in time: keys that come and go meanwhile may be counted or not. ``sizes`` are the
        server's MEMORY USAGE (a sample of a large collection's elements); without them every size
        is 0. A server that does not let us ask gives 0 as well. ``each`` hears every key with its
        class. ``InterruptedByUser`` where ``stop`` says so. Memory: a batch of keys, 64 bits for
        every key seen, and the tally.
        """
        tally = Tally()
        for classes in self.judged(judge, stop=stop):
            keys = [key for key, _ in classes]
            volumes = self._sizes(keys) if sizes else [0] * len(keys)
            for (key, found), size in zip(classes, volumes, strict=True):
                if size is not None:
                    tallies.add(tally, key.decode(errors="backslashreplace"), size, found)
                    if each is not None:
                        each(key, found)
        return tally

    def judged(
        self, judge: KeyJudge[K], *, most: int | None = None, stop: Callable[[], bool] = never
    ) -> Iterator[list[tuple[bytes, K]]]:
        """Every key once with its class, a batch at a time, in one SCAN; ``most`` keys at most.

        ``InterruptedByUser`` where ``stop`` says so.
        """
        seen = 0
        for keys in scan(self._connection):
            if stop():
                raise InterruptedByUser("interrupted", f"stopped after {seen} keys")
            chosen = keys if most is None else keys[: most - seen]
            seen += len(chosen)
            yield self._told([(key, judge.classify(key)) for key in chosen], judge)
            if most is not None and seen >= most:
                return

    def types(self, keys: Sequence[bytes]) -> list[str]:
        """The server's TYPE of each key; ``none`` for one that is gone."""
        answers = self._connection.batch([["TYPE", key] for key in keys])
        return [one.decode() if isinstance(one, bytes) else str(one) for one in answers]

    def number(self) -> int:
        """How many keys the database has, by the server's own count."""
        return int(self._connection.call("DBSIZE"))

    def lacking(self) -> tuple[str, Sequence[str]]:
        """The ACL line of a user who may do what this class does, and which of it ours may not;
        nothing where the server does not let us find out."""
        missing = missing_commands(self._connection, "read")
        return least_privilege_acl("read"), missing or ()

    def _sizes(self, keys: Sequence[bytes]) -> list[int | None]:
        """Bytes of each key; None for one that is gone."""
        answers = self._connection.replies([["MEMORY", "USAGE", key] for key in keys])
        for answer in answers:
            if isinstance(answer, ErrorReply) and not (
                answer.kind == "NOPERM" or answer.command_missing
            ):
                raise error_of(answer, self._connection.description)
        return [0 if isinstance(answer, ErrorReply) else answer for answer in answers]

    def _told(self, found: list[tuple[bytes, K]], judge: KeyJudge[K]) -> list[tuple[bytes, K]]:
        """The classes, those that only a value tells read from it, in the order of the keys."""
        asked = [index for index, (_, one) in enumerate(found) if one.reads_value]
        for start in range(0, len(asked), _VALUES_AT_ONCE):
            part = asked[start : start + _VALUES_AT_ONCE]
            values = self._values([found[index][0] for index in part])
            for index, value in zip(part, values, strict=True):
                key, one = found[index]
                found[index] = (key, judge.in_value(one, value))
        return found

    def _values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """The strings of these keys; None for what is no string, or longer than a record is."""
        limit = LONGEST_VALUE
        answers = self._connection.replies([["GETRANGE", key, 0, limit] for key in keys])
        for answer in answers:
            if isinstance(answer, ErrorReply) and answer.kind != "WRONGTYPE":
                raise error_of(answer, self._connection.description)
        return [
            answer if isinstance(answer, bytes) and len(answer) <= limit else None
            for answer in answers
        ]
