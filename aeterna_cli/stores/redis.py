"""The Redis driver: RDB over the wire, key by key where that is refused, digests by meaning."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from uuid import uuid4

from aeterna_cli.errors import RemoteError
from aeterna_cli.settings import RedisSettings
from aeterna_cli.stores import (
    redis_digests,
    redis_findings,
    redis_info,
    redis_logical,
    redis_rdb,
)
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.redis import (
    IDENTITY_KEY,
    MARKER_KEY,
    LogicalResult,
    Purpose,
    RdbResult,
    RedisDigests,
    RedisIdentity,
)
from aeterna_cli.stores.redis_connection import ErrorReply, RedisConnection, error_of, never


class RedisServer:
    """One Redis or Valkey server.

    Nothing connects before the first call. Errors of every call: ``TransientError`` for a server
    that is unreachable, silent, loading or busy; ``AuthenticationError`` for refused credentials or
    a missing permission; ``RefusedError`` for a replica that we should write to or a command that
    it does not offer; ``RemoteError`` for anything else that it says. No password is in any
    message. Not for use by two threads at once.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self.settings = settings
        self.connection = RedisConnection(settings)

    def __enter__(self) -> "RedisServer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back; the next call opens another."""
        self.connection.close()

    @property
    def description(self) -> str:
        """The server's address, without secrets."""
        return self.connection.description

    def identity(self) -> RedisIdentity:
        """Who answers; changes nothing."""
        return redis_info.identity(self.connection)

    def ensure_identity(self, wanted: str | None = None) -> str:
        """The deployment's identity, made at the first call; two callers get the same.

        ``wanted`` is what a server without one is given: a restore gives it its old one back.
        """
        self.connection.call("SET", IDENTITY_KEY, wanted or str(uuid4()), "NX")
        found = self.connection.call("GET", IDENTITY_KEY)
        if found is None:
            raise RemoteError(
                "identity_not_kept",
                f"{self.description} does not keep the key that names the deployment",
                hint="does maxmemory-policy evict keys without a time to live?",
            )
        return str(found.decode(errors="replace"))

    def write_marker(self, number: int) -> None:
        """The marker is applied on the server when this returns."""
        self.connection.call("SET", MARKER_KEY, number)

    def marker(self) -> int | None:
        """The last marker, None before the first."""
        value = self.connection.call("GET", MARKER_KEY)
        return None if value is None else int(value)

    def findings(self, purpose: Purpose) -> Sequence[Finding]:
        """What speaks against a backup or a restore; reads only."""
        return redis_findings.find(
            self.connection, purpose, has_password=self.settings.secret() is not None
        )

    def counts(self) -> Mapping[int, int]:
        """Keys by database, our identity and marker left out; databases without any are missing."""
        own = self.connection.call("EXISTS", IDENTITY_KEY, MARKER_KEY)
        spaces = redis_info.keyspace(redis_info.info(self.connection))
        counts = {number: counters["keys"] for number, counters in spaces.items()}
        if own:
            counts[self.settings.database] = counts.get(self.settings.database, own) - own
        return {number: keys for number, keys in counts.items() if keys > 0}

    def is_empty(self) -> bool:
        """Whether a restore would overwrite nothing."""
        return not self.counts()

    def capture_rdb(
        self, sink: Callable[[memoryview], object], *, stop: Callable[[], bool] = never
    ) -> RdbResult:
        """The whole server at one moment; see ``redis_rdb.capture``. Uses a connection apart."""
        return redis_rdb.capture(
            lambda: RedisConnection(self.settings), sink, stop=stop, silence=self.settings.timeout
        )

    def logical_capture(self, *, stop: Callable[[], bool] = never) -> Iterator[bytes]:
        """Every database key by key, not a point in time; see ``redis_logical``.

        Uses a connection apart; ``InterruptedByUser`` at the batch after ``stop`` turned true.
        """
        connection = RedisConnection(self.settings)
        try:
            yield from redis_logical.capture(connection, stop)
        finally:
            connection.close()

    def logical_restore(
        self,
        stream: Iterable[bytes],
        *,
        replace: bool = False,
        stop: Callable[[], bool] = never,
    ) -> LogicalResult:
        """Write a logical capture; other keys stay. May be repeated with ``replace``.

        Without ``replace``, ``ConflictError('key_exists')`` at the first key that is there.
        ``RemoteError('payload_refused')`` where the server is too old for the values,
        ``RemoteError('logical_truncated')`` at the end of an incomplete stream and
        ``RefusedError('logical_format_unknown')`` for anything but our own format; what came before
        is then written.
        """
        connection = RedisConnection(self.settings)
        try:
            return redis_logical.restore(connection, stream, replace=replace, stop=stop)
        finally:
            connection.close()

    def digests(self, *, stop: Callable[[], bool] = never) -> RedisDigests:
        """What the server holds; exact where nobody writes, see ``redis_digests``."""
        connection = RedisConnection(self.settings)
        try:
            return redis_digests.digests(connection, stop)
        finally:
            connection.close()

    def acl_users(self) -> Sequence[str]:
        """ACL LIST; empty where the server has no such command (managed servers).

        Its password hashes are secrets: for the encrypted backup only.
        """
        (answer,) = self.connection.replies([["ACL", "LIST"]])
        if isinstance(answer, ErrorReply):
            if answer.command_missing:
                return []
            raise error_of(answer, self.description)
        return [line.decode(errors="replace") for line in answer]

    def configuration(self) -> Mapping[str, str]:
        """CONFIG GET * without passwords; empty where the server does not let us ask."""
        return redis_info.configured(self.connection) or {}
