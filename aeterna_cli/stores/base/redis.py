"""Redis and Valkey: what a backup and a restore ask of a server (7.0 and later)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from aeterna_cli.stores.base.findings import Finding

#: Our own keys, in the database of the settings: the deployment's identity and the recovery point
#: marker. Never below ``aeterna:``: the application unlinks every key there when its version moves.
OWN_PREFIX = b"aeterna-ops:"
IDENTITY_KEY = OWN_PREFIX + b"identity"
MARKER_KEY = OWN_PREFIX + b"marker"

Purpose = Literal["backup", "restore"]


@dataclass(frozen=True)
class RedisIdentity:
    """``identity_key`` is None before ``ensure_identity``; ``run_id`` changes at every start.

    ``mode`` is standalone, cluster or sentinel, ``role`` master or slave: the server's own words.
    ``keys`` counts all databases, our own keys included; ``used_memory`` is in bytes.
    """

    run_id: str
    version: str
    flavour: Literal["redis", "valkey"]
    identity_key: str | None
    mode: str
    role: str
    keys: int
    used_memory: int


@dataclass(frozen=True)
class RdbResult:
    """One captured RDB. ``version`` is its first nine bytes (``REDIS0011``, ``VALKEY080``).

    ``crc64`` was verified over the whole stream; None where the server sends no checksum
    (``rdbchecksum no``). ``replication_offset`` is the exact position of the image in the server's
    history; None where the server does not tell it. ``written_by`` is the writer's version, ""
    where the image does not say.
    """

    bytes: int
    crc64: int | None
    replication_offset: int | None
    seconds: float
    version: str
    written_by: str


@dataclass(frozen=True)
class LogicalResult:
    """Keys that a logical restore wrote, and keys whose time was over and that it left out."""

    keys: int
    expired: int


@dataclass(frozen=True)
class LoadResult:
    """How a scratch server's data came to the target, and whether a crash would now lose them.

    ``persistence`` is "aof", "rdb", or "none" where the server keeps nothing on disk or did not let
    us ask for it.
    """

    method: Literal["replication", "copy"]
    keys: int
    seconds: float
    persistence: Literal["aof", "rdb", "none"]


@dataclass(frozen=True)
class Digest:
    """An order-independent digest of ``items`` keys; see ``redis_digests``."""

    items: int
    digest: str


@dataclass(frozen=True)
class RedisDigests:
    """What a server holds, without our own keys.

    ``persistent``: what has no time to live, and must be found again exactly. ``volatile``: what
    expires by itself, in total and by the hour (epoch seconds divided by 3600) in which it does.
    A hash field with a time of its own is an item of its own. ``by_database`` and ``by_prefix``
    (the key up to its first ``:``) count keys.
    """

    persistent: Digest
    volatile: Digest
    volatile_by_hour: Mapping[int, Digest]
    by_database: Mapping[int, int]
    by_prefix: Mapping[str, int]

    def as_document(self) -> dict[str, Any]:
        """The digests as JSON types; ``from_document`` is the way back."""
        document = asdict(self)
        for name in ("volatile_by_hour", "by_database"):
            document[name] = {str(key): value for key, value in document[name].items()}
        return document

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "RedisDigests":
        """``KeyError``, ``TypeError`` or ``ValueError`` for a document of another shape."""
        hours = document["volatile_by_hour"].items()
        return cls(
            Digest(**document["persistent"]),
            Digest(**document["volatile"]),
            {int(hour): Digest(**digest) for hour, digest in hours},
            {int(number): int(keys) for number, keys in document["by_database"].items()},
            {str(prefix): int(keys) for prefix, keys in document["by_prefix"].items()},
        )


class RedisStore(Protocol):
    """See ``aeterna_cli.stores.redis.RedisServer`` for the promises of each call."""

    def identity(self) -> RedisIdentity: ...
    def ensure_identity(self, wanted: str | None = None) -> str: ...
    def findings(self, purpose: Purpose) -> Sequence[Finding]: ...
    def write_marker(self, number: int) -> None: ...
    def marker(self) -> int | None: ...
    def is_empty(self) -> bool: ...
    def counts(self) -> Mapping[int, int]: ...
    def capture_rdb(
        self, sink: Callable[[memoryview], object], *, stop: Callable[[], bool] = ...
    ) -> RdbResult: ...
    def logical_capture(self, *, stop: Callable[[], bool] = ...) -> Iterator[bytes]: ...
    def logical_restore(
        self, stream: Iterable[bytes], *, replace: bool = False, stop: Callable[[], bool] = ...
    ) -> LogicalResult: ...
    def digests(self) -> RedisDigests: ...
    def acl_users(self) -> Sequence[str]: ...
    def configuration(self) -> Mapping[str, str]: ...
