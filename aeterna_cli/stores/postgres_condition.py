"""How a running server is doing beside what one purpose needs: its role, its slots, its archiver.

Source: postgresql.org/docs/18: pg_replication_slots, pg_stat_archiver, recovery functions.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime

from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores import postgres_replication
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.postgres_connection import (
    Connection,
    connect,
    connect_physical,
    described,
    postgres_errors,
)

_CLOSED = """
SELECT quote_ident(datname) FROM pg_database
 WHERE datallowconn AND NOT has_database_privilege(oid, 'CONNECT') ORDER BY 1
"""
# to_regclass() would fail in a schema that we may not use
_OWN_SCHEMA = """
SELECT has_schema_privilege(n.oid, 'USAGE'),
       CASE WHEN c.oid IS NULL THEN has_schema_privilege(n.oid, 'CREATE')
            ELSE has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT')
                 AND has_table_privilege(c.oid, 'UPDATE') END
  FROM pg_namespace n
  LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'recovery_marker'
 WHERE n.nspname = 'aeterna_ops'
"""
_HELD_BACK = 1 << 30  # bytes of WAL behind an idle slot from which on it is worth a word

_SLOTS = """
SELECT slot_name, active, coalesce(wal_status, 'reserved'),
       coalesce(pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn()
                                     ELSE pg_current_wal_lsn() END, restart_lsn), 0)::bigint
  FROM pg_replication_slots WHERE slot_name <> %s AND NOT temporary ORDER BY slot_name
"""
_ARCHIVER = """
SELECT failed_count, last_failed_wal FROM pg_stat_archiver
 WHERE current_setting('archive_mode') <> 'off'
   AND last_failed_time > coalesce(last_archived_time, '-infinity')
"""


def examine(settings: PostgresSettings) -> Sequence[Finding]:
    """What endangers backups of this server or the server itself; reads only."""
    with postgres_errors(), closing(connect(settings)) as connection:
        found = [*_role(connection), *_privileges(connection, settings)]
        found += [*_slots(connection, settings), *_archiver(connection)]
    return [*found, *_replica(settings)]


def server_time(settings: PostgresSettings) -> datetime:
    """The server's clock, with an offset."""
    with postgres_errors(), closing(connect(settings)) as connection:
        row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    return datetime.fromtimestamp(row[0] if row else 0, UTC)


def _role(connection: Connection) -> Iterator[Finding]:
    row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    if row and row[0]:
        yield Finding(
            "postgres_is_replica",
            "error",
            "postgres: host",
            "this server is a replica: it can name no recovery point and take no marker",
            "the primary into postgres.host, this one into postgres.replica",
        )


def _privileges(connection: Connection, settings: PostgresSettings) -> Iterator[Finding]:
    """What a backup needs beyond ``postgres_findings``: its own schema, every database."""
    closed = [name for (name,) in connection.execute(_CLOSED)]
    row = connection.execute(_OWN_SCHEMA).fetchone()
    own = [] if row is None or all(row) else ["our own schema aeterna_ops"]
    for what in [*own, *(f"the database {name}" for name in closed)]:
        yield Finding(
            "missing_privilege",
            "error",
            f"postgres: {settings.user}",
            f"this role may not use {what}",
            "run what aeterna-cli doctor --grants --purpose backup prints",
        )


def _slots(connection: Connection, settings: PostgresSettings) -> Iterator[Finding]:
    for name, active, status, held in connection.execute(_SLOTS, (settings.receiver_slot,)):
        if status == "lost":
            yield Finding(
                "slot_lost",
                "warning",
                f"postgres: slot {name}",
                "it lost WAL that its consumer has not read: that consumer must begin anew",
                f"mend its consumer, then SELECT pg_drop_replication_slot('{name}')",
            )
        elif not active and held >= _HELD_BACK:
            yield Finding(
                "slot_holds_wal",
                "warning",
                f"postgres: slot {name}",
                f"nobody reads it and it holds {held >> 20:,} MiB of WAL on the server's disk",
                f"start its consumer, or SELECT pg_drop_replication_slot('{name}')",
                {"held_bytes": held},
            )


def _archiver(connection: Connection) -> Iterator[Finding]:
    row = connection.execute(_ARCHIVER).fetchone()
    if row is not None:
        yield Finding(
            "archiver_fails",
            "warning",
            "postgres: archive_command",
            f"the server cannot archive {row[1]} ({row[0]} failures): its WAL fills the disk",
            "the server's log says why; mend archive_command or archive_library",
        )


def _replica(settings: PostgresSettings) -> Iterator[Finding]:
    """The replica that base backups are taken from answers, and is one of this cluster."""
    if settings.replica is None:
        return
    with postgres_errors():
        with closing(connect_physical(settings)) as primary:
            expected = postgres_replication.identify(primary).identifier
        with closing(connect_physical(settings, settings.replica)) as replica:
            found = postgres_replication.identify(replica).identifier
    if found != expected:
        yield Finding(
            "replica_of_another_cluster",
            "error",
            "postgres: replica",
            f"{settings.replica} is not a replica of {described(settings)}",
            "correct postgres.replica: their system identifiers differ",
        )
