"""A PostgreSQL node asked as itself: its role, and as the primary how far its replicas are."""

from contextlib import closing
from typing import Any, LiteralString

from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores.base.replication import PrimaryFacts, ReplicaPosition
from aeterna_cli.stores.postgres_connection import connect, postgres_errors

_REPLICAS: LiteralString = """
SELECT application_name, state, sync_state IN ('sync', 'quorum'),
       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn), 0)::bigint,
       extract(epoch FROM replay_lag)::float
  FROM pg_stat_replication
 WHERE application_name NOT LIKE 'aeterna-cli%' AND state IN ('streaming', 'catchup', 'startup')
 ORDER BY application_name
"""
_FACTS: LiteralString = """
SELECT pg_current_wal_lsn()::text,
       (SELECT timeline_id FROM pg_control_checkpoint()),
       coalesce((SELECT extract(epoch FROM max(clock_timestamp() - xact_start))::float
                   FROM pg_stat_activity
                  WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()), 0),
       (SELECT count(*) FROM pg_stat_progress_basebackup),
       coalesce((SELECT last_failed_time > coalesce(last_archived_time, '-infinity')
                   FROM pg_stat_archiver), false)
"""
_SLOTS: LiteralString = """
SELECT slot_name, active,
       coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint
  FROM pg_replication_slots ORDER BY slot_name
"""


def primary_facts(settings: PostgresSettings, address: str | None = None) -> PrimaryFacts:
    """Of the node at ``address`` (the one that takes writes without); one connection."""
    with postgres_errors(), closing(connect(settings, host=address)) as connection:
        replicas = connection.execute(_REPLICAS).fetchall()
        row: Any = connection.execute(_FACTS).fetchone()
        slots = connection.execute(_SLOTS).fetchall()
    return PrimaryFacts(
        position=row[0],
        timeline=row[1],
        replicas=tuple(ReplicaPosition(*one) for one in replicas),
        oldest_transaction=row[2],
        base_backups=row[3],
        slots=tuple((str(name), bool(active), int(kept)) for name, active, kept in slots),
        archiver_failing=row[4],
    )


def recovering(settings: PostgresSettings, address: str | None = None) -> tuple[bool, bool]:
    """Whether the node is a replica, and whether its replay is paused."""
    query: LiteralString = (
        "SELECT pg_is_in_recovery(),"
        " CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END"
    )
    with postgres_errors(), closing(connect(settings, host=address)) as connection:
        row: Any = connection.execute(query).fetchone()
    return bool(row[0]), bool(row[1])
