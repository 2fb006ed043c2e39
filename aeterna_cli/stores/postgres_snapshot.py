"""One moment of a live cluster: its rows, and where possible the exact WAL position of them.

Where ``wal_level`` is logical, a temporary logical slot gives an LSN and a snapshot that belong
together: every transaction that committed before the LSN is seen, no other. Recovery with
``recovery_target_lsn`` at that LSN and ``recovery_target_inclusive = off`` ends with the same rows.
A slot and its snapshot belong to one database: the profile's is exact; ``others`` digests the
remaining ones at about the same time and says so.
Source: postgresql.org/docs/18/protocol-replication.html (CREATE_REPLICATION_SLOT), measured.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import sql

from aeterna_cli.errors import RefusedError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores import postgres_digests as digests
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.postgres import DigestSet, TableDigest
from aeterna_cli.stores.postgres_connection import connect, postgres_errors

SLOT_WAIT = 60  # seconds for each running write transaction that a slot has to outlive
_FETCH = 10_000  # rows a server-side cursor sends at a time

_PROBE = "SELECT current_setting('wal_level') = 'logical', pg_is_in_recovery()"
_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname"
_RESOLVE = (
    "SELECT n.nspname, c.relname, row_security_active(c.oid)"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)"
)


class Snapshot:
    """One moment. Every call opens its own connection, so calls may overlap.

    ``lsn`` is set and ``exact`` true where the rows have an exact position; else ``reason`` says
    why not.
    """

    def __init__(
        self, settings: PostgresSettings, name: str, *, lsn: int | None, reason: str
    ) -> None:
        self._settings = settings
        self._name = name
        self.lsn = lsn
        self.exact = lsn is not None
        self.reason = reason

    def digests(self) -> DigestSet:
        """Digests of every covered table of the profile's database (see ``postgres_digests``)."""
        taken = _digests(self._settings, self._settings.database, self._name)
        return DigestSet(tuple(taken), self.lsn, self.exact)

    def others(self) -> DigestSet:
        """Digests of every other database that allows connections: never exact."""
        with postgres_errors(), connect(self._settings) as connection:
            names = [row[0] for row in connection.execute(_DATABASES)]
        taken: list[TableDigest] = []
        for name in names:
            if name != self._settings.database:
                taken += _digests(self._settings, name, None)
        return DigestSet(tuple(taken), None, exact=False)

    def findings(self) -> Sequence[Finding]:
        """What the digests leave out by design, so that somebody is told."""
        with postgres_errors(), self._reader(self._settings.database) as connection:
            left_out = [table.name for table in digests.tables(connection, unlogged=True)]
        return [
            Finding(
                "table_unlogged",
                "info",
                f"{self._settings.database}:{name}",
                "an unlogged table: a restore brings it back empty",
            )
            for name in left_out
        ]

    def has_table(self, table: str) -> bool:
        """Whether ``table``, named ``schema.table``, exists in the profile's database."""
        with postgres_errors(), self._reader(self._settings.database) as connection:
            return connection.execute(_RESOLVE, (table,)).fetchone() is not None

    def ids(self, table: str, column: str) -> Iterator[str]:
        """Every value of ``column`` as text, in no order, NULLs left out; memory is bounded.

        ``table`` is ``schema.table``; partitions are included. ``RefusedError('table_missing')``,
        ``AuthenticationError('rows_hidden')``.
        """
        with postgres_errors(), self._reader(self._settings.database) as connection:
            resolved = connection.execute(_RESOLVE, (table,)).fetchone()
            if resolved is None:
                raise RefusedError("table_missing", f"there is no table {table!r}")
            *path, hidden = resolved
            if hidden:
                raise digests.rows_hidden([table])
            name = sql.Identifier(column)
            query = sql.SQL("SELECT {0}::text FROM {1} WHERE {0} IS NOT NULL").format(
                name, sql.Identifier(*path)
            )
            with connection.cursor(name="aeterna_ids") as cursor:
                cursor.itersize = _FETCH
                cursor.execute(query)
                for row in cursor:
                    yield row[0]

    @contextmanager
    def reading(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection of its own to the profile's database, in a transaction that sees this moment
        under pinned output settings. For one thread; errors as of ``postgres_errors``."""
        with postgres_errors(), self._reader(self._settings.database) as connection:
            yield connection

    @contextmanager
    def _reader(self, database: str) -> Iterator[psycopg.Connection[Any]]:
        with connect(self._settings, database=database) as connection:
            digests.configure(connection)
            with _transaction(connection, self._name):
                yield connection


@contextmanager
def _transaction(connection: psycopg.Connection[Any], snapshot: str | None) -> Iterator[None]:
    """A read-only transaction that sees ``snapshot``, or its own moment; never committed."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    if snapshot is not None:
        connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("ROLLBACK")


def _digests(
    settings: PostgresSettings, database: str, snapshot: str | None
) -> Iterator[TableDigest]:
    """One transaction per table: locks are given back, so their number does not matter."""
    with postgres_errors(), connect(settings, database=database) as connection:
        digests.configure(connection)
        with _transaction(connection, snapshot):
            covered = digests.tables(connection)
        for table in covered:
            with _transaction(connection, snapshot):
                rows, digest = digests.digest(connection, table)
            yield TableDigest(database, table.name, rows, digest)


@contextmanager
def exact_snapshot(settings: PostgresSettings) -> Iterator[Snapshot]:
    """The moment of entering, held until leaving; exact where the server can (see above).

    Exact needs ``wal_level = logical``, a primary, a free replication slot, and that every write
    transaction that runs now ends within ``SLOT_WAIT`` seconds; else the snapshot is approximate.
    The slot is temporary: it is gone with this connection, however we die.
    """
    with postgres_errors(), connect(settings) as connection:
        logical, in_recovery = connection.execute(_PROBE).fetchone() or (False, True)
    if in_recovery or not logical:
        why = "the server is a replica" if in_recovery else "wal_level is not logical"
        with current_snapshot(settings, reason=why) as snapshot:
            yield snapshot
        return
    with postgres_errors(), connect(settings, replication=True) as holder:
        made, why = _slot(holder)
        if made is not None:
            yield Snapshot(settings, made[1], lsn=made[0], reason="")
            return
    with current_snapshot(settings, reason=why) as snapshot:
        yield snapshot


def _slot(holder: psycopg.Connection[Any]) -> tuple[tuple[int, str] | None, str]:
    """LSN and snapshot of a new temporary slot, or None and why there is none."""
    # The exported snapshot is an idle transaction of this session: nothing may end it.
    limits = ["idle_in_transaction_session_timeout", "idle_session_timeout"]
    if holder.info.server_version >= 170000:
        limits.append("transaction_timeout")
    for name in limits:
        holder.execute(sql.SQL("SET {} = 0").format(sql.Identifier(name)))
    holder.execute(f"SET lock_timeout = '{SLOT_WAIT}s'")
    slot = f"aeterna_digest_{uuid4().hex[:12]}"
    command = f"CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'export')"
    try:
        row = holder.execute(command).fetchone()
    except psycopg.errors.LockNotAvailable:
        return None, f"a write transaction stayed open for more than {SLOT_WAIT} s"
    except psycopg.errors.ConfigurationLimitExceeded:
        return None, "all replication slots are in use (max_replication_slots)"
    if row is None:
        return None, "the server gave no snapshot"
    high, _, low = str(row[1]).partition("/")
    return ((int(high, 16) << 32) | int(low, 16), str(row[2])), ""


@contextmanager
def current_snapshot(
    settings: PostgresSettings, *, reason: str = "no exact position was asked for"
) -> Iterator[Snapshot]:
    """The moment of entering without a WAL position: for replicas and scratch servers."""
    with postgres_errors(), connect(settings) as holder:
        digests.configure(holder)
        with _transaction(holder, None):
            row = holder.execute("SELECT pg_export_snapshot()").fetchone()
            yield Snapshot(settings, str(row[0]) if row else "", lsn=None, reason=reason)
