"""Order-independent digests of keys by what they mean, not by how a server stores them.

A key's hash covers database, key, type, absolute expiry and value, so that the digests of Redis and
Valkey of any version, or of a list packed in one way and another, agree. A digest is the sum of the
hashes modulo 2**256. Hashes, sets and sorted sets are sums too; lists and streams are hashed in
order; a stream's groups, consumers and pending entries belong to it, its idle times do not. A type
of a module is known by its DUMP payload only, without version and checksum.
What expires by itself is digested by the hour in which it does, so that time passing can be told
from loss. It detects accidents; against malice stand the signed manifest's SHA-256 sums.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import blake2b

from aeterna_cli.errors import InterruptedByUser
from aeterna_cli.stores import redis_info, redis_logical
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.redis import OWN_PREFIX, Digest, RedisDigests
from aeterna_cli.stores.redis_connection import RedisConnection
from aeterna_cli.stores.redis_values import Value, framed, read_values

_MODULUS = 1 << 256
_HOUR = 3_600_000  # milliseconds
_CLOCK_TOLERANCE = 60  # seconds that two machines' clocks may differ
_MOST_PREFIXES = 100
_OTHER = "(other)"


class Tally:
    """Adds up the items of one server."""

    def __init__(self) -> None:
        self._persistent = [0, 0]
        self._hours: dict[int, list[int]] = {}
        self._databases: Counter[int] = Counter()
        self._prefixes: Counter[bytes] = Counter()

    def add(self, database: int, key: bytes, expiry: int, value: Value) -> None:
        """One key. ``expiry`` is in epoch milliseconds, negative without one."""
        self._databases[database] += 1
        self._prefixes[key.split(b":", 1)[0] if b":" in key else b"(none)"] += 1
        place = b"%d:" % database + framed(key)
        if value.digest is not None:
            self._item(expiry, place + framed(value.kind) + b"k" + value.digest)
        for field_expiry, digest in value.volatile_parts:
            ends = min(field_expiry, expiry) if expiry >= 0 else field_expiry
            self._item(ends, place + b"%d" % expiry + b"f" + digest)

    def _item(self, expiry: int, data: bytes) -> None:
        number = int.from_bytes(blake2b(data + b"%d" % expiry, digest_size=32).digest(), "little")
        cell = self._persistent
        if expiry >= 0:
            cell = self._hours.setdefault(expiry // _HOUR, [0, 0])
        cell[0] += 1
        cell[1] = (cell[1] + number) % _MODULUS

    def result(self) -> RedisDigests:
        hours = {hour: _digest(self._hours[hour]) for hour in sorted(self._hours)}
        most = self._prefixes.most_common(_MOST_PREFIXES)
        prefixes = {_printable(prefix): count for prefix, count in most}
        rest = self._prefixes.total() - sum(prefixes.values())
        return RedisDigests(
            persistent=_digest(self._persistent),
            volatile=_digest([sum(cell[at] for cell in self._hours.values()) for at in (0, 1)]),
            volatile_by_hour=hours,
            by_database=dict(sorted(self._databases.items())),
            by_prefix=prefixes | ({_OTHER: rest} if rest else {}),
        )


def _printable(prefix: bytes) -> str:
    """For people's terminals: nothing in a key moves their cursor."""
    text = prefix.decode(errors="backslashreplace")
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def _digest(cell: Sequence[int]) -> Digest:
    return Digest(cell[0], f"{cell[1] % _MODULUS:064x}")


def digests(connection: RedisConnection, stop: Callable[[], bool]) -> RedisDigests:
    """The digests of all databases; exact where nobody writes, approximate under writes."""
    facts = redis_info.info(connection)
    field_times = redis_info.has_field_times(facts)
    tally = Tally()
    for database in redis_info.keyspace(facts):
        connection.select(database)
        for keys in redis_logical.scan(connection):
            if stop():
                raise InterruptedByUser("interrupted", "stopped while reading the digests")
            wanted = [key for key in keys if not key.startswith(OWN_PREFIX)]
            for key, expiry, value in read_values(connection, wanted, field_times=field_times):
                tally.add(database, key, expiry, value)
    return tally.result()


def compare(expected: RedisDigests, found: RedisDigests, now: datetime) -> list[Finding]:
    """What of ``expected`` is not in ``found``, which was taken at ``now``; expiry is no loss.

    Without loss there is no finding but an ``info`` one about what expired.
    """
    findings = []
    if expected.persistent != found.persistent:
        findings.append(
            Finding(
                "redis_persistent_differs",
                "error",
                "redis",
                f"keys without a time to live differ: {expected.persistent.items} expected, "
                f"{found.persistent.items} found",
                mend="do not serve from it; restore another backup or look at the counts by prefix",
                details={"expected": dict(expected.by_prefix), "found": dict(found.by_prefix)},
            )
        )
    wrong = [hour for hour in _hours(expected, found) if not _explained(expected, found, hour, now)]
    if wrong:
        findings.append(
            Finding(
                "redis_volatile_differs",
                "error",
                "redis",
                f"keys with a time to live differ beyond expiry: {expected.volatile.items} "
                f"expected, {found.volatile.items} found",
                details={"hours": wrong[:100]},
            )
        )
    gone = expected.volatile.items - found.volatile.items
    if gone > 0 and not wrong:
        message = f"{gone} of {expected.volatile.items} keys with a time to live have expired"
        findings.append(Finding("redis_expired", "info", "redis", message))
    return findings


_NOTHING = _digest([0, 0])


def _hours(expected: RedisDigests, found: RedisDigests) -> list[int]:
    return sorted({*expected.volatile_by_hour, *found.volatile_by_hour})


def _explained(expected: RedisDigests, found: RedisDigests, hour: int, now: datetime) -> bool:
    before = expected.volatile_by_hour.get(hour, _NOTHING)
    after = found.volatile_by_hour.get(hour, _NOTHING)
    if before == after:
        return True
    began = hour * 3600 <= now.timestamp() + _CLOCK_TOLERANCE
    return began and after.items < before.items
