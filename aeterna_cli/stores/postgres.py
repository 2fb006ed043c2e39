"""The PostgreSQL driver: who a server is, base backup and WAL, our markers, restore points."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from aeterna_cli.errors import AeternaError, ConflictError, RefusedError, RemoteError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores import postgres_base_backup, postgres_findings, postgres_replication
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.postgres import (
    BaseBackupResult,
    BaseBackupSink,
    PostgresIdentity,
    Purpose,
    WalSink,
)
from aeterna_cli.stores.postgres_connection import (
    Connection,
    connect,
    connect_physical,
    described,
    postgres_errors,
)
from aeterna_cli.stores.postgres_faults import slot_in_use, wal_gap
from aeterna_cli.stores.postgres_wire import lsn_number, lsn_text

SUPPORTED = range(15, 19)

# On a primary the timeline is that of the WAL being written: after a promotion the control file
# tells the old one until the next checkpoint.
_IDENTITY = """
SELECT (SELECT system_identifier::text FROM pg_control_system()),
       CASE WHEN pg_is_in_recovery()
            THEN (SELECT greatest(timeline_id, min_recovery_end_timeline)
                    FROM pg_control_checkpoint(), pg_control_recovery())
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int END,
       current_setting('server_version_num')::int, current_setting('server_version'),
       pg_is_in_recovery(),
       (SELECT setting::int FROM pg_settings WHERE name = 'wal_segment_size'),
       current_setting('wal_level'), current_setting('data_checksums') = 'on',
       (SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_database
         WHERE has_database_privilege(oid, 'CONNECT')
            OR pg_has_role('pg_read_all_stats', 'USAGE'))
"""
_TABLE = """
CREATE TABLE IF NOT EXISTS aeterna_ops.recovery_marker (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    number bigint NOT NULL,
    written_at timestamptz NOT NULL
)
"""
_MARK = """
INSERT INTO aeterna_ops.recovery_marker (number, written_at) VALUES (%s, clock_timestamp())
ON CONFLICT (only_row) DO UPDATE SET number = excluded.number, written_at = excluded.written_at
"""
_SLOT = """
SELECT active, restart_lsn, coalesce(wal_status, 'reserved'), safe_wal_size,
       coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
                                     ELSE pg_current_wal_lsn() END, restart_lsn), 0)::bigint
  FROM pg_replication_slots WHERE slot_name = %s AND slot_type = 'physical'
"""
_OLDEST = """
SELECT min(substr(name, 9)) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'
"""


@dataclass(frozen=True)
class SlotState:
    """A physical slot. ``status`` is the server's word: reserved, extended, unreserved (it may be
    lost at the next checkpoint), lost. ``retained_bytes`` is the WAL it holds back, ``safe_bytes``
    what may still be written before it is lost (None: no limit is set)."""

    name: str
    active: bool
    restart_lsn: int | None
    status: str
    safe_bytes: int | None
    retained_bytes: int


class PostgresServer:
    """One cluster. Nothing connects before the first call; each call has its own connection, so
    calls may overlap. Errors are those of ``postgres_faults``.

    Where the profile names a replica, base backups and the temporary stream of their WAL come from
    it; everything else is asked of the primary.
    """

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings

    @property
    def description(self) -> str:
        return described(self.settings)

    def identity(self) -> PostgresIdentity:
        """Who answers; ``RefusedError('postgres_version_unsupported')`` outside 15 to 18."""
        with self._session() as connection:
            major = connection.info.server_version // 10_000
            if major not in SUPPORTED:
                raise RefusedError(
                    "postgres_version_unsupported",
                    f"PostgreSQL {major} is not supported",
                    hint=f"supported are {SUPPORTED[0]} to {SUPPORTED[-1]}",
                )
            return PostgresIdentity(*_one(connection, _IDENTITY))

    def findings(self, purpose: Purpose) -> Sequence[Finding]:
        """What speaks against a backup, receiving WAL or a restore; reads only."""
        with self._session() as connection:
            return postgres_findings.find(connection, self.settings, purpose)

    # -- base backup and WAL

    def base_backup(
        self,
        label: str,
        sink: BaseBackupSink,
        *,
        max_rate_kb: int = 0,
        checkpoint_fast: bool = True,
        stop: Callable[[], bool] = lambda: False,
    ) -> BaseBackupResult:
        """Stream a base backup without WAL, from the replica where the profile names one.

        ``sink`` is called in the order of ``BaseBackupSink``; its errors pass through. The WAL from
        ``start_lsn`` to ``end_lsn`` must be had by a stream that began before: ``stream_wal`` with
        ``temporary``. ``max_rate_kb`` is held to 32 kB/s to 1 GB/s, 0 is no limit. ``stop`` is
        asked five times a second and ends it with ``InterruptedByUser``.
        """
        with self._source() as connection:
            return postgres_base_backup.base_backup(
                connection,
                label,
                sink,
                stop=stop,
                max_rate_kb=max_rate_kb,
                checkpoint_fast=checkpoint_fast,
            )

    def stream_wal(
        self,
        sink: WalSink,
        *,
        start: int | None,
        timeline: int | None,
        slot: str | None,
        until: Callable[[], bool],
        temporary: bool = False,
        on_start: Callable[[int, int], None] | None = None,
    ) -> None:
        """Stream WAL into ``sink`` until ``until`` says so; see ``postgres_replication.stream``.

        With ``temporary`` a slot of this session holds the WAL from now on, for a base backup that
        begins after ``on_start`` was called. Without ``start`` the stream begins at the slot's
        position (without a slot at the server's), rounded down to its segment; with it, at exactly
        that position of ``timeline`` (None: the server's), or where the server left that timeline
        before. ``on_start`` is told timeline and position once WAL comes.
        ``RefusedError('wal_gap')`` names the WAL that the server does not have any more;
        ``TransientError``: connect again and go on from ``sink.flushed``.
        """
        with self._source() if temporary else self._walsender() as connection:
            segment = postgres_replication.segment_size(connection)
            if temporary:
                slot = f"aeterna_own_{token_hex(6)}"
                postgres_replication.create_temporary_slot(connection, slot)
                begin = postgres_replication.temporary_begin(connection, slot, segment)
            elif start is None:
                self._refuse_lost(slot)
                begin = postgres_replication.first_begin(connection, slot, segment)
            else:
                begin = postgres_replication.continuation(connection, timeline, start, segment)
            try:
                postgres_replication.stream(
                    connection,
                    sink,
                    slot=slot,
                    start=begin,
                    segment=segment,
                    until=until,
                    on_start=on_start,
                )
            except RefusedError as error:
                if error.code != "wal_gap":
                    raise
                raise self._gap(max(begin[1], sink.flushed), segment, error) from error

    def _refuse_lost(self, slot: str | None) -> None:
        """A slot that lost its WAL begins anywhere: that must not look like an ordinary start."""
        state = self.slot_state(slot) if slot else None
        if state is not None and state.status == "lost":
            raise wal_gap(f"everything that the slot {slot} held")

    def _gap(self, received: int, segment: int, error: RefusedError) -> RefusedError:
        """The error with the range that is missing, as far as this role sees the server's files."""
        try:
            with self._session() as connection:
                (oldest,) = _one(connection, _OLDEST)
        except AeternaError:  # only the end of the range stays unknown
            oldest = None
        # Source: a file name is the timeline, then 2^32 / segment files for each high half
        first = int(oldest[:8], 16) << 32 | int(oldest[8:], 16) * segment if oldest else None
        end = lsn_text(first) if first is not None and first > received else "an unknown position"
        found = wal_gap(f"from {lsn_text(received)} to {end}", error.message)
        found.details = {"from": lsn_text(received), "to": None if first is None else end}
        return found

    @contextmanager
    def _walsender(self, host: str | None = None) -> Iterator[Connection]:
        with postgres_errors(), closing(connect_physical(self.settings, host)) as connection:
            yield connection

    @contextmanager
    def _source(self) -> Iterator[Connection]:
        """A walsender of the server that base backups are taken from."""
        replica = self.settings.replica
        with self._walsender(replica) as connection:
            if replica is not None:
                with self._walsender() as primary:
                    expected = postgres_replication.identify(primary).identifier
                if postgres_replication.identify(connection).identifier != expected:
                    raise RefusedError(
                        "replica_of_another_cluster",
                        f"{replica} is not a replica of {self.description}",
                        hint="their system identifiers differ; check postgres.replica",
                    )
            yield connection

    # -- positions

    def restore_point(self, name: str) -> int:
        """Write a named restore point; its position. A name has at most 63 bytes."""
        return self._position(sql.SQL("pg_create_restore_point({})").format(sql.Literal(name)))

    def switch_wal(self) -> int:
        """End the current segment; everything written before lies before the returned position."""
        return self._position(sql.SQL("pg_switch_wal()"))

    def current_lsn(self) -> int:
        """Where the WAL ends: flushed on a primary, received on a replica."""
        return self._position(
            sql.SQL(
                "CASE WHEN pg_is_in_recovery()"
                " THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"
                " ELSE pg_current_wal_flush_lsn() END"
            )
        )

    def _position(self, expression: sql.Composable) -> int:
        with self._session() as connection:
            (position,) = _one(connection, sql.SQL("SELECT {}::text").format(expression))
        return lsn_number(position)

    # -- slots

    def create_slot(self, name: str) -> None:
        """A permanent physical slot that holds WAL from now on; no error where it is there.

        ``ConflictError('slot_is_logical')`` where the name is taken by one of another kind.
        """
        with self._session() as connection:
            try:
                connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", (name,))
            except psycopg.errors.DuplicateObject as error:
                if connection.execute(_SLOT, (name,)).fetchone() is None:
                    raise ConflictError(
                        "slot_is_logical",
                        f"the replication slot {name} exists and is a logical one",
                        hint="set postgres.receiver_slot to another name",
                    ) from error

    def drop_slot(self, name: str) -> None:
        """The slot is gone and holds no WAL back; no error where there was none.

        ``ConflictError('slot_in_use')`` while somebody streams from it.
        """
        with self._session() as connection:
            try:
                connection.execute(
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                    " WHERE slot_name = %s AND slot_type = 'physical'",
                    (name,),
                )
            except psycopg.errors.ObjectInUse as error:
                raise slot_in_use(error.diag.message_primary or name) from error

    def slot_state(self, name: str) -> SlotState | None:
        with self._session() as connection:
            found = connection.execute(_SLOT, (name,)).fetchone()
        if found is None:
            return None
        active, restart, status, safe, retained = found
        position = lsn_number(restart) if restart is not None else None
        return SlotState(name, active, position, status, safe, retained)

    # -- markers

    def ensure_schema(self) -> None:
        """Our own schema and marker table are there; the application's are never touched."""
        with self._session() as connection:
            # IF NOT EXISTS asks for the right to create before it looks
            if _one(connection, "SELECT to_regnamespace('aeterna_ops') IS NULL") == (True,):
                connection.execute("CREATE SCHEMA aeterna_ops")
            if not _has_marker(connection):
                connection.execute(_TABLE)

    def write_marker(self, number: int) -> None:
        """The marker is committed when this returns. Wants ``ensure_schema``."""
        with self._session() as connection:
            connection.execute(_MARK, (number,))

    def marker(self) -> int | None:
        """The last marker, None before the first."""
        with self._session() as connection:
            if not _has_marker(connection):
                return None
            row = connection.execute("SELECT number FROM aeterna_ops.recovery_marker").fetchone()
        return int(row[0]) if row else None

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        with postgres_errors(), closing(connect(self.settings)) as connection:
            yield connection


def _one(connection: Connection, query: LiteralString | sql.Composed) -> tuple[Any, ...]:
    """The row of a query that always has one."""
    row = connection.execute(query).fetchone()
    if row is None:
        raise RemoteError("postgres_silent", "PostgreSQL answered a question with nothing")
    return tuple(row)


def _has_marker(connection: Connection) -> bool:
    (found,) = _one(connection, "SELECT to_regclass('aeterna_ops.recovery_marker') IS NOT NULL")
    return bool(found)
