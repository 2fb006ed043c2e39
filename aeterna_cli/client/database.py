"""What the client says to PostgreSQL; psycopg's errors come out as ``PlacementUnavailable``."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

from aeterna_cli.client.faults import HeldTooLong, PlacementUnavailable
from aeterna_cli.stores.base.placement import CHANNEL, Placement
from aeterna_cli.stores.base.placement_rows import COLUMNS, GATE, placement_of

Connect = Callable[[], Any]

_ACKNOWLEDGE: LiteralString = """
INSERT INTO aeterna_ops.placement_ack (tenant, instance, epoch, seen_at)
SELECT one.tenant, %s, one.epoch, clock_timestamp()
  FROM unnest(%s::uuid[], %s::bigint[]) AS one (tenant, epoch) ORDER BY one.tenant
ON CONFLICT (tenant, instance) DO UPDATE SET epoch = excluded.epoch, seen_at = excluded.seen_at
"""
_LEAVE: LiteralString = """
UPDATE aeterna_ops.placement_ack SET seen_at = to_timestamp(0)
 WHERE instance = %s AND tenant = ANY (%s::uuid[])
"""
_READ: LiteralString = "SELECT {} FROM aeterna_ops.tenant_placement WHERE tenant = ANY (%s::uuid[])"
# One message; each statement of a READ COMMITTED transaction sees what is committed when it
# begins, so the row is read after the gate let us through.
_LOCK: LiteralString = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL lock_timeout = {wait};
SET LOCAL idle_in_transaction_session_timeout = {longest};
SELECT pg_advisory_xact_lock_shared({gate});
SELECT {columns} FROM aeterna_ops.tenant_placement WHERE tenant = {tenant} FOR SHARE
"""


def connector(conninfo: str, seconds: float) -> Connect:
    """Connections by ``conninfo`` that do not stay silent for much longer than ``seconds``."""

    def connect() -> Any:
        import psycopg

        return psycopg.connect(
            conninfo,
            application_name="aeterna placement",
            connect_timeout=max(2, round(seconds)),
            tcp_user_timeout=max(1000, round(seconds * 1000)),
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
        )

    return connect


def opened(connect: Connect) -> Any:
    """A connection in autocommit that prepares nothing, as a pooler between may want."""
    import psycopg

    try:
        connection = connect()
        connection.autocommit = True
        connection.prepare_threshold = None
    except psycopg.Error as error:
        raise PlacementUnavailable(f"PostgreSQL does not answer: {error}") from error
    return connection


class Control:
    """The connection that acknowledges and reads, made anew when broken; one thread at a time."""

    def __init__(self, connect: Connect, instance: str, timeout: float, *, registers: bool) -> None:
        self._connect = connect
        self._instance = instance
        self._timeout = timeout
        self._registers = registers
        self._connection: Any = None

    @property
    def connected(self) -> bool:
        """Whether a connection is kept, which may have been cut meanwhile."""
        return self._connection is not None

    def acknowledge(self, honoured: Mapping[str, int]) -> None:
        """Committed when this returns. Nothing at all where the contract asks for none."""
        if self._registers and honoured:
            tenants = list(honoured)
            values = (self._instance, tenants, [honoured[one] for one in tenants])
            with self._session() as connection:
                connection.execute(_ACKNOWLEDGE, values)

    def read(self, tenants: list[str]) -> dict[str, Placement]:
        """The rows that are there, as they are committed now."""
        from psycopg import sql

        with self._session() as connection:
            query = sql.SQL(_READ).format(sql.SQL(COLUMNS))
            rows = connection.execute(query, (tenants,)).fetchall()
        return {row[0]: placement_of(row) for row in rows}

    def leave(self, tenants: list[str]) -> None:
        """Nobody waits for this instance any more."""
        if self._registers and tenants and self._connection is not None:
            with suppress(PlacementUnavailable), self._session() as connection:
                connection.execute(_LEAVE, (self._instance, tenants))

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()

    @contextmanager
    def _session(self) -> Iterator[Any]:
        import psycopg

        try:
            if self._connection is None:
                self._connection = opened(self._connect)
                limit = str(max(1, round(self._timeout * 1000)))
                self._connection.execute("SELECT set_config('statement_timeout', %s, false)",
                                         (limit,))  # fmt: skip
            yield self._connection
        except psycopg.Error as error:
            self.close()
            raise PlacementUnavailable(f"the placement cannot be read: {error}") from error


class Locks:
    """Connections that hold rows FOR SHARE; any number of threads."""

    def __init__(self, connect: Connect, longest: float) -> None:
        self._connect = connect
        self._longest = longest
        self._idle: list[Any] = []
        self._guard = threading.Lock()

    def take(self, tenant: str, wait: float) -> tuple[Any, Placement | None]:
        """The connection whose open transaction holds the row (and the tenant's gate), and the
        row. ``HeldTooLong`` after ``wait`` seconds of waiting for a change."""
        return self._asked(self._query(tenant, wait))

    def look(self, tenant: str) -> Placement | None:
        """The row as it is committed now, without waiting for anybody."""
        from psycopg import sql

        query = sql.SQL("SELECT {} FROM aeterna_ops.tenant_placement WHERE tenant = {}").format(
            sql.SQL(COLUMNS), sql.Literal(tenant)
        )
        connection, placement = self._asked(query)
        self._keep(connection)
        return placement

    def _asked(self, query: Any) -> tuple[Any, Placement | None]:
        import psycopg

        for fresh in (False, True):  # a kept connection may have been cut while nobody looked
            connection = self._get(fresh)
            try:
                cursor = connection.execute(query)
                while cursor.nextset():
                    pass
                row = cursor.fetchone()
                return connection, placement_of(row) if row else None
            except psycopg.errors.LockNotAvailable as error:
                self.release(connection)
                raise HeldTooLong("a change of the placement took longer than the bound") from error
            except psycopg.Error as error:
                connection.close()
                if fresh or not isinstance(error, psycopg.OperationalError):
                    raise PlacementUnavailable(f"the placement cannot be read: {error}") from error
        raise AssertionError("unreachable")

    def release(self, connection: Any) -> bool:
        """The lock is given back; whether it was held until now."""
        import psycopg

        try:
            connection.execute("ROLLBACK")  # nothing to keep, and no wait for the disk
        except psycopg.Error:
            connection.close()
            return False
        self._keep(connection)
        return True

    def close(self) -> None:
        with self._guard:
            connections, self._idle = self._idle, []
        for connection in connections:
            with suppress(Exception):
                connection.close()

    def _keep(self, connection: Any) -> None:
        with self._guard:
            self._idle.append(connection)

    def _get(self, fresh: bool) -> Any:
        with self._guard:
            if self._idle and not fresh:
                return self._idle.pop()
        return opened(self._connect)

    def _query(self, tenant: str, wait: float) -> Any:
        from psycopg import sql

        name = sql.Literal(tenant)
        return sql.SQL(_LOCK).format(
            wait=sql.Literal(f"{max(1, round(wait * 1000))}ms"),
            longest=sql.Literal(f"{max(1, round(self._longest * 1000))}ms"),
            gate=sql.SQL(GATE).format(tenant=name),
            columns=sql.SQL(COLUMNS),
            tenant=name,
        )


@contextmanager
def listening(connect: Connect) -> Iterator[Any]:
    """A connection that hears of every change that is committed from now on."""
    from psycopg import sql

    connection = opened(connect)
    try:
        connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL)))
        yield connection
    finally:
        with suppress(Exception):
            connection.close()
