"""The PostgreSQL driver: who a server is, base backup and WAL, our markers, restore points."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from secrets import token_hex

from psycopg import sql

from aeterna_cli.errors import RefusedError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores import postgres_findings, postgres_replication
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.postgres import (
    BaseBackupResult,
    BaseBackupSink,
    PostgresIdentity,
    Purpose,
    WalSink,
)
from aeterna_cli.stores.postgres_connection import connect, connect_physical, postgres_errors
from aeterna_cli.stores.postgres_replication import lsn_number

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
_CREATE = """
CREATE SCHEMA IF NOT EXISTS aeterna_ops;
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
SELECT active, restart_lsn, wal_status, safe_wal_size,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
                            ELSE pg_current_wal_lsn() END, restart_lsn)::bigint
  FROM pg_replication_slots WHERE slot_name = %s AND slot_type = 'physical'
"""


@dataclass(frozen=True)
class SlotState:
    """A physical slot. ``status`` is the server's word (reserved, extended, unreserved, lost);
    ``retained_bytes`` is the WAL it holds back, ``safe_bytes`` what may still be written before it
    is lost (None: no limit is set)."""

    name: str
    active: bool
    restart_lsn: int | None
    status: str
    safe_bytes: int | None
    retained_bytes: int


class PostgresServer:
    """One cluster. Nothing connects before the first call; each call has its own connection, so
    calls may overlap. Errors are those of ``postgres_errors``."""

    def __init__(self, settings: PostgresSettings) -> None:
        self.settings = settings

    @property
    def description(self) -> str:
        return f"{self.settings.host}:{self.settings.port}"

    def identity(self) -> PostgresIdentity:
        """Who answers; ``RefusedError('postgres_version_unsupported')`` outside 15 to 18."""
        with postgres_errors(), closing(connect(self.settings)) as connection:
            row = connection.execute(_IDENTITY).fetchone()
        if row is None:
            raise RefusedError("postgres_silent", "PostgreSQL did not say who it is")
        found = PostgresIdentity(*row)
        if found.major not in SUPPORTED:
            raise RefusedError(
                "postgres_version_unsupported",
                f"PostgreSQL {found.server_version} is not supported",
                hint=f"supported are {SUPPORTED[0]} to {SUPPORTED[-1]}",
            )
        return found

    def findings(self, purpose: Purpose) -> Sequence[Finding]:
        """What speaks against a backup, receiving WAL or a restore; reads only."""
        with postgres_errors(), closing(connect(self.settings)) as connection:
            return postgres_findings.find(connection, self.settings, purpose)

    # -- base backup and WAL

    def base_backup(
        self, label: str, sink: BaseBackupSink, *, max_rate_kb: int = 0
    ) -> BaseBackupResult:
        """Stream a base backup, from the replica where the profile names one.

        ``sink`` is called in the order of ``BaseBackupSink``; its errors pass through. A label is
        what ``backup_label`` will say, at most 63 bytes.
        """
        with (
            postgres_errors(),
            closing(connect_physical(self.settings, self.settings.replica)) as connection,
        ):
            return postgres_replication.base_backup(
                connection, label, sink, max_rate_kb=max_rate_kb
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

        With ``temporary`` a slot of this session holds the WAL from now on. Without ``start`` it
        begins at the slot's position (or the server's), rounded down to its segment. ``on_start``
        is told the timeline and the position once WAL is reserved.
        """
        with postgres_errors(), closing(connect_physical(self.settings)) as connection:
            system = postgres_replication.identify(connection)
            reserved = None
            if temporary:
                slot = f"aeterna_own_{token_hex(6)}"
                reserved = postgres_replication.create_temporary_slot(connection, slot)
            begin = start
            if begin is None:
                state = self.slot_state(slot) if slot and not temporary else None
                held = reserved or (state.restart_lsn if state else None)
                begin = held if held is not None else system.position
                begin -= begin % self._segment_size()
            line = timeline if timeline is not None else system.timeline
            if on_start is not None:
                on_start(line, begin)
            postgres_replication.stream(
                connection, sink, slot=slot, timeline=line, start=begin, until=until
            )

    def _segment_size(self) -> int:
        return self.identity().wal_segment_size

    def restore_point(self, name: str) -> int:
        """Write a named restore point; its position. A name has at most 63 bytes."""
        return self._position(sql.SQL("pg_create_restore_point({})").format(sql.Literal(name)))

    def switch_wal(self) -> int:
        """End the current segment, so that everything before is on its way; the position before."""
        return self._position(sql.SQL("pg_switch_wal()"))

    def current_lsn(self) -> int:
        """Where the WAL ends: written on a primary, received on a replica."""
        return self._position(
            sql.SQL(
                "CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()"
                " ELSE pg_current_wal_flush_lsn() END"
            )
        )

    def _position(self, expression: sql.Composable) -> int:
        with postgres_errors(), closing(connect(self.settings)) as connection:
            row = connection.execute(sql.SQL("SELECT {}::text").format(expression)).fetchone()
        return lsn_number(row[0]) if row and row[0] else 0

    # -- slots

    def create_slot(self, name: str) -> None:
        """A permanent physical slot that holds WAL from now on; no error where it is there."""
        with postgres_errors(), closing(connect(self.settings)) as connection:
            connection.execute(
                "SELECT pg_create_physical_replication_slot(%s, true) WHERE NOT EXISTS"
                " (SELECT FROM pg_replication_slots WHERE slot_name = %s)",
                (name, name),
            )

    def drop_slot(self, name: str) -> None:
        """The slot is gone and holds no WAL back; no error where there was none."""
        with postgres_errors(), closing(connect(self.settings)) as connection:
            connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
                " WHERE slot_name = %s",
                (name,),
            )

    def slot_state(self, name: str) -> SlotState | None:
        with postgres_errors(), closing(connect(self.settings)) as connection:
            row = connection.execute(_SLOT, (name,)).fetchone()
        if row is None:
            return None
        active, restart, status, safe, retained = row
        position = lsn_number(str(restart)) if restart is not None else None
        return SlotState(name, active, position, status or "lost", safe, int(retained or 0))

    # -- markers

    def ensure_schema(self) -> None:
        """Our own schema and marker table are there; the application's tables are never touched."""
        with postgres_errors(), closing(connect(self.settings)) as connection:
            if connection.execute(
                "SELECT to_regclass('aeterna_ops.recovery_marker') IS NOT NULL"
            ).fetchone() != (True,):
                connection.execute(_CREATE)

    def write_marker(self, number: int) -> None:
        """The marker is committed when this returns. Wants ``ensure_schema``."""
        with postgres_errors(), closing(connect(self.settings)) as connection:
            connection.execute(_MARK, (number,))

    def marker(self) -> int | None:
        """The last marker, None before the first."""
        with postgres_errors(), closing(connect(self.settings)) as connection:
            if connection.execute(
                "SELECT to_regclass('aeterna_ops.recovery_marker') IS NULL"
            ).fetchone() == (True,):
                return None
            row = connection.execute("SELECT number FROM aeterna_ops.recovery_marker").fetchone()
        return int(row[0]) if row else None
