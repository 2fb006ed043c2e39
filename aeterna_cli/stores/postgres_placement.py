"""Shards, placements and acknowledgements in PostgreSQL: the only truth of routing."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import sql

from aeterna_cli.errors import RefusedError, UsageError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores import postgres_placement_faults as faults
from aeterna_cli.stores import postgres_placement_schema as schema
from aeterna_cli.stores.base.placement import (
    CHANNEL,
    SHARD_MOVES,
    Acknowledgement,
    Placement,
    PlacementState,
    PointsPlace,
    ShardRecord,
    ShardStatus,
)
from aeterna_cli.stores.base.placement_rows import COLUMNS, GATE, canonical_tenant, placement_of
from aeterna_cli.stores.postgres_connection import Connection, connect, postgres_errors

T = TypeVar("T")

_SHARDS: LiteralString = """
SELECT name, server, url, collection, shard_key, capacity, status, created_at
  FROM aeterna_ops.shard
"""
_ADD: LiteralString = """
INSERT INTO aeterna_ops.shard
       (name, server, url, collection, shard_key, capacity, status, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_USERS: LiteralString = """
SELECT tenant::text FROM aeterna_ops.tenant_placement
 WHERE shard = %(shard)s OR secondary_shard = %(shard)s ORDER BY tenant
"""
_INSERT = sql.SQL("""
INSERT INTO aeterna_ops.tenant_placement (tenant, shard, collection, shard_key, fallback_key,
    secondary_shard, secondary_collection, secondary_shard_key, secondary_fallback_key,
    state, operation, epoch, updated_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 1, clock_timestamp())
ON CONFLICT DO NOTHING RETURNING {}
""").format(sql.SQL(COLUMNS))
_UPDATE = sql.SQL("""
UPDATE aeterna_ops.tenant_placement
   SET shard = %s, collection = %s, shard_key = %s, fallback_key = %s,
       secondary_shard = %s, secondary_collection = %s, secondary_shard_key = %s,
       secondary_fallback_key = %s, state = %s, operation = %s,
       epoch = epoch + 1, updated_at = clock_timestamp()
 WHERE tenant = %s AND epoch = %s RETURNING {}
""").format(sql.SQL(COLUMNS))
_ACKNOWLEDGED: LiteralString = """
SELECT instance, epoch, seen_at,
       seen_at > clock_timestamp() - make_interval(secs => %s)
  FROM aeterna_ops.placement_ack WHERE tenant = %s ORDER BY instance
"""
_COLUMNS = sql.SQL(COLUMNS)
_EVERY = sql.SQL("SELECT {} FROM aeterna_ops.tenant_placement ORDER BY tenant").format(_COLUMNS)
_ONE = sql.SQL("SELECT {} FROM aeterna_ops.tenant_placement WHERE tenant = %s").format(_COLUMNS)
# Writers wait for what follows a hold. A crash that loses it loses every acknowledgement of it too
# (they lie behind it in the WAL), and the next change by its epoch is refused.
_IN_PASSING: LiteralString = "SET LOCAL synchronous_commit = off"
_CLOSE_GATE = sql.SQL("SELECT pg_advisory_xact_lock({})").format(
    sql.SQL(GATE).format(tenant=sql.SQL("%s"))
)


class PostgresPlacement:
    """The store of one deployment. Nothing connects before the first call; calls may overlap.

    Errors are those of ``postgres_faults``; ``RefusedError('placement_not_prepared')`` before
    ``ensure_schema``; ``UsageError('tenant_not_a_uuid')`` for a tenant that is none. Connections
    are kept between calls, until ``close`` or until nobody has the store any more.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings
        self._idle: list[Connection] = []
        weakref.finalize(self, _close_all, self._idle)

    def close(self) -> None:
        """Give the connections back; the next call opens another."""
        _close_all(self._idle)

    def ensure_schema(self) -> None:
        """Our tables are there when this returns; safe to repeat, and for two at once."""
        with self._session() as connection:
            schema.ensure(connection)

    def prepared(self) -> bool:
        """Whether ``ensure_schema`` has run; changes nothing."""
        with self._session() as connection:
            return not schema.missing(connection)

    # -- shards

    def shards(self) -> Sequence[ShardRecord]:
        """By name."""
        return [ShardRecord(*row) for row in self._rows(_SHARDS + " ORDER BY name")]

    def shard(self, name: str) -> ShardRecord | None:
        rows = self._rows(_SHARDS + " WHERE name = %s", name)
        return ShardRecord(*rows[0]) if rows else None

    def add_shard(self, record: ShardRecord) -> None:
        """It is registered when this returns. The same again changes nothing (its status and the
        time of the first registration stay); ``ConflictError('shard_exists')`` where the name
        means something else, ``ConflictError('shard_place_taken')`` where another name means this
        place."""
        _no_nul(record.name, record.server, record.url, record.collection, record.shard_key or "")
        values = (record.name, record.server, record.url, record.collection, record.shard_key,
                  record.capacity, record.status, record.created_at)  # fmt: skip
        with self._session() as connection:
            if connection.execute(_ADD, values).rowcount == 1:
                return
        found = self.shard(record.name)
        if found is None:
            raise faults.place_taken(record)
        if _description(found) != _description(record):
            raise faults.shard_exists(found)

    def set_shard_status(self, name: str, status: ShardStatus) -> None:
        """By ``SHARD_MOVES``; ``RefusedError('shard_status_move')`` for any other, and
        ``RefusedError('shard_in_use')`` for offline while placements name it."""

        def change(connection: Connection) -> None:
            found = self._locked_shard(connection, name)
            if found.status == status:
                return
            if status not in SHARD_MOVES[found.status]:
                raise faults.status_move(name, found.status, status)
            if status == "offline":
                self._refuse_used(connection, name)
            connection.execute(
                "UPDATE aeterna_ops.shard SET status = %s WHERE name = %s", (status, name)
            )

        self._in_transaction(change)

    def remove_shard(self, name: str) -> None:
        """The record is gone; the collection stays. ``RefusedError('shard_in_use')`` names the
        tenants whose placements, primary or secondary, name it."""

        def change(connection: Connection) -> None:
            self._locked_shard(connection, name)
            self._refuse_used(connection, name)
            connection.execute("DELETE FROM aeterna_ops.shard WHERE name = %s", (name,))

        self._in_transaction(change)

    @staticmethod
    def _locked_shard(connection: Connection, name: str) -> ShardRecord:
        # against a placement that is being made: its foreign key waits for this row
        row = connection.execute(_SHARDS + " WHERE name = %s FOR UPDATE", (name,)).fetchone()
        if row is None:
            raise faults.shard_unknown(name)
        return ShardRecord(*row)

    @staticmethod
    def _refuse_used(connection: Connection, name: str) -> None:
        tenants = [row[0] for row in connection.execute(_USERS, {"shard": name})]
        if tenants:
            raise faults.shard_in_use(name, tenants)

    # -- placements

    def placements(self) -> Sequence[Placement]:
        """By tenant."""
        return [placement_of(row) for row in self._rows(_EVERY)]

    def placement(self, tenant: str) -> Placement | None:
        """The row as it is committed now."""
        rows = self._rows(_ONE, _tenant(tenant))
        return placement_of(rows[0]) if rows else None

    def change(
        self,
        tenant: str,
        *,
        expected_epoch: int | None,
        primary: PointsPlace,
        secondary: PointsPlace | None,
        state: PlacementState,
        operation: str | None,
        lock_timeout: float,
    ) -> Placement:
        """Compare-and-set by epoch; the new row is committed, and told of by NOTIFY, on return.

        A ``held`` row alone is committed without waiting for the disk; ``expected_epoch`` None
        makes the first row, of epoch 1. Writes that began by contract ``reread`` have ended before
        the change is visible: after ``lock_timeout`` seconds of waiting for them
        ``TransientError('placement_locked')``, nothing changed.
        ``ConflictError('placement_changed')`` where the row is of another epoch (or, for None,
        there), ``RefusedError('shard_unknown')`` for a place on none,
        ``UsageError('placement_inconsistent')`` where the state does not fit the secondary.
        ``TransientError('placement_unknown')`` where the connection broke during the commit: read
        the row again, its epoch tells. To tell Redis afterwards is the caller's part.
        """
        tenant = _tenant(tenant)
        _check(primary, secondary, state)
        places = [*_columns(primary), *_columns(secondary)]
        names = (primary.shard, *([secondary.shard] if secondary else []))

        def attempt(connection: Connection) -> Placement:
            until = monotonic() + lock_timeout
            self._expect(connection, tenant, expected_epoch)  # before anybody has to wait for it
            if state == "held":
                connection.execute(_IN_PASSING)
            _limit(connection, until)
            connection.execute(_CLOSE_GATE, (tenant,))
            _limit(connection, until)
            values = (*places, state, operation)
            return self._write(connection, tenant, expected_epoch, values)

        with faults.of_a_change(tenant, names, lock_timeout):
            return self._in_transaction(attempt, unknown=faults.placement_unknown(tenant))

    def _write(
        self, connection: Connection, tenant: str, epoch: int | None, values: tuple[Any, ...]
    ) -> Placement:
        """The row and the news of it, in the open transaction."""
        if epoch is None:
            row = connection.execute(_INSERT, (tenant, *values)).fetchone()
        else:
            row = connection.execute(_UPDATE, (*values, tenant, epoch)).fetchone()
        if row is None:
            self._expect(connection, tenant, epoch)
            raise faults.placement_changed(tenant, epoch, None)
        made = placement_of(row)
        connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, made.news))
        return made

    @staticmethod
    def _expect(connection: Connection, tenant: str, epoch: int | None) -> None:
        row = connection.execute(_ONE, (tenant,)).fetchone()
        found = placement_of(row) if row else None
        if (found.epoch if found else None) != epoch:
            raise faults.placement_changed(tenant, epoch, found)

    # -- acknowledgements

    def acknowledgements(self, tenant: str, route_ttl: float) -> Sequence[Acknowledgement]:
        """Every instance that ever named this tenant, by name.

        One that was not seen for twice ``route_ttl`` (the server's clock) is dead: by contract it
        starts no write before it has been seen again and has read the row after that.
        """
        rows = self._rows(_ACKNOWLEDGED, 2 * route_ttl, _tenant(tenant))
        return [Acknowledgement(*row) for row in rows]

    def forget_instances(self, unseen_for: float) -> int:
        """Rows of instances not seen for so many seconds are gone; how many they were.

        Safe at any time for more than twice the route's time to live: an instance that comes back
        makes its row again before it reads a placement.
        """
        query: LiteralString = """DELETE FROM aeterna_ops.placement_ack
            WHERE seen_at < clock_timestamp() - make_interval(secs => %s)"""
        with self._session() as connection:
            return connection.execute(query, (unseen_for,)).rowcount

    # -- sessions

    def _rows(self, query: LiteralString | sql.Composed, *values: Any) -> list[tuple[Any, ...]]:
        with self._session() as connection:
            return connection.execute(query, values).fetchall()

    def _in_transaction(
        self, work: Callable[[Connection], T], unknown: Exception | None = None
    ) -> T:
        """``unknown`` is raised where the work was done and nobody knows whether it was committed:
        the connection broke, or a synchronous replica was no longer waited for."""
        with self._session() as connection:
            said: list[str] = []
            done = False

            def listen(diagnostic: Any) -> None:
                said.append(diagnostic.severity_nonlocalized or "")

            connection.add_notice_handler(listen)
            try:
                with connection.transaction():
                    result = work(connection)
                    said.clear()
                    done = True
            except psycopg.OperationalError as error:
                if unknown is not None and done and connection.closed:
                    raise unknown from error
                raise
            finally:
                connection.remove_notice_handler(listen)
            if unknown is not None and "WARNING" in said:
                raise unknown
            return result

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        """A connection in autocommit; one that broke, or ended inside a transaction, is not kept.

        What is not known to the server yet is told as ``placement_not_prepared``.
        """
        connection = self._open()
        try:
            with postgres_errors():
                try:
                    yield connection
                except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
                    raise faults.not_prepared() from error
        finally:
            if connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                self._idle.append(connection)
            else:
                connection.close()

    def _open(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            try:
                connection.execute("SELECT")  # a server that was restarted meanwhile is asked anew
            except psycopg.Error:
                connection.close()
                continue
            return connection
        connection = connect(self.settings)
        # whatever the server's default is: a change must see what was committed before its turn
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        return connection


def _close_all(connections: list[Connection]) -> None:
    while connections:
        with suppress(psycopg.Error):
            connections.pop().close()


def _limit(connection: Connection, until: float) -> None:
    # 0 would be no limit at all
    milliseconds = max(1, round((until - monotonic()) * 1000))
    connection.execute("SELECT set_config('lock_timeout', %s, true)", (str(milliseconds),))


def _columns(place: PointsPlace | None) -> tuple[str | None, ...]:
    if place is None:
        return (None,) * 4
    return (place.shard, place.collection, place.shard_key, place.fallback_key)


def _description(record: ShardRecord) -> tuple[Any, ...]:
    return (record.server, record.url, record.collection, record.shard_key, record.capacity)


def _tenant(text: str) -> str:
    try:
        return canonical_tenant(text)
    except ValueError as error:
        raise UsageError(
            "tenant_not_a_uuid",
            str(error),
            hint="the command line finds a tenant by its slug or name, this store does not",
            next_steps=["aeterna-cli tenant list"],
        ) from error


def _no_nul(*texts: str) -> None:
    if any("\0" in text for text in texts):
        raise UsageError("name_invalid", "a name holds the character U+0000, which no server keeps")


def _check(primary: PointsPlace, secondary: PointsPlace | None, state: PlacementState) -> None:
    for place in (primary, *([secondary] if secondary else [])):
        _no_nul(*(text or "" for text in _columns(place)))
        if place.fallback_key is not None and place.shard_key is None:
            raise UsageError("placement_inconsistent", "a fallback key without a shard key")
    if state != "held" and (state == "dual") != (secondary is not None):
        raise UsageError(
            "placement_inconsistent",
            f"the state {state} {'needs' if state == 'dual' else 'has'} "
            + ("a secondary" if state == "dual" else "no secondary"),
        )
    if secondary is not None and secondary == primary:
        raise RefusedError("placement_inconsistent", "primary and secondary are the same place")
