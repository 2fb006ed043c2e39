"""Moves of tenants in PostgreSQL, beside the placements."""

from collections.abc import Mapping
from contextlib import closing
from typing import Any, LiteralString

import psycopg
from psycopg.types.json import Jsonb

from aeterna_cli.errors import ConflictError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores.base.moves import MoveRecord
from aeterna_cli.stores.postgres_connection import connect, postgres_errors

#: phases in which nothing is left to do: another move of the tenant may begin
ENDED = ("complete", "cancelled", "rolled-back")

_TABLE: LiteralString = """
CREATE TABLE IF NOT EXISTS aeterna_ops.tenant_move (
    id uuid PRIMARY KEY,
    tenant uuid NOT NULL,
    source jsonb NOT NULL,
    target jsonb NOT NULL,
    contract text NOT NULL,
    phase text NOT NULL,
    checkpoint jsonb NOT NULL DEFAULT '{}',
    evidence jsonb NOT NULL DEFAULT '{}',
    prediction double precision,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
_ONE_UNFINISHED: LiteralString = """
CREATE UNIQUE INDEX IF NOT EXISTS tenant_move_unfinished ON aeterna_ops.tenant_move (tenant)
 WHERE phase NOT IN ('complete', 'cancelled', 'rolled-back')
"""
_SELECT: LiteralString = """
SELECT id::text, tenant::text, source, target, contract, phase, checkpoint, evidence, prediction,
       created_at, updated_at
  FROM aeterna_ops.tenant_move
"""
_INSERT: LiteralString = """
INSERT INTO aeterna_ops.tenant_move (id, tenant, source, target, contract, phase, checkpoint,
    evidence, prediction)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_SAVE: LiteralString = """
UPDATE aeterna_ops.tenant_move
   SET phase = %s, checkpoint = %s, evidence = %s, prediction = %s, updated_at = clock_timestamp()
 WHERE id = %s AND phase = %s
RETURNING updated_at
"""


class PostgresMoves:
    """Each call is a connection and a transaction of its own; nothing is kept between them."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings

    def ensure_schema(self) -> None:
        """The table is there when this returns. Wants the schema of the placements."""
        with (
            postgres_errors(),
            closing(connect(self._settings)) as connection,
            connection.transaction(),
        ):
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('aeterna_ops moves'))")
            if not _there(connection):
                connection.execute(_TABLE)
                connection.execute(_ONE_UNFINISHED)

    def begin(self, record: MoveRecord) -> None:
        """``ConflictError('move_under_way')`` where the tenant has an unfinished one."""
        values = (record.id, record.tenant, Jsonb(dict(record.source)), Jsonb(dict(record.target)),
                  record.contract, record.phase, Jsonb(dict(record.checkpoint)),
                  Jsonb(dict(record.evidence)), record.prediction)  # fmt: skip
        with postgres_errors(), closing(connect(self._settings)) as connection:
            try:
                connection.execute(_INSERT, values)
            except psycopg.errors.UniqueViolation as error:
                raise under_way(record.tenant) from error

    def unfinished(self, tenant: str) -> MoveRecord | None:
        query: LiteralString = "WHERE tenant = %s AND NOT phase = ANY (%s)"
        return self._one(query, tenant, list(ENDED))

    def every_unfinished(self) -> list[MoveRecord]:
        """Of all tenants, at most one each; none where no move was ever begun."""
        with postgres_errors(), closing(connect(self._settings)) as connection:
            if not _there(connection):
                return []
            query: LiteralString = _SELECT + "WHERE NOT phase = ANY (%s)"
            return [MoveRecord(*row) for row in connection.execute(query, (list(ENDED),))]

    def latest(self, tenant: str) -> MoveRecord | None:
        return self._one("WHERE tenant = %s ORDER BY created_at DESC LIMIT 1", tenant)

    def save(self, record: MoveRecord, *, phase: str) -> MoveRecord:
        """Everything but identity, places and contract, if the phase is still ``record``'s.

        The row is in ``phase`` then. ``ConflictError('move_changed')`` where somebody else moved
        it on: our lease was lost.
        """
        values = (phase, Jsonb(dict(record.checkpoint)), Jsonb(dict(record.evidence)),
                  record.prediction, record.id, record.phase)  # fmt: skip
        with postgres_errors(), closing(connect(self._settings)) as connection:
            row = connection.execute(_SAVE, values).fetchone()
        if row is None:
            raise ConflictError(
                "move_changed",
                f"somebody else went on with move {record.id} of tenant {record.tenant}",
                next_steps=[f"aeterna-cli tenant migration status --tenant-id {record.tenant}"],
            )
        return MoveRecord(**{**vars(record), "phase": phase, "updated_at": row[0]})

    def _one(self, condition: LiteralString, *values: Any) -> MoveRecord | None:
        with postgres_errors(), closing(connect(self._settings)) as connection:
            if not _there(connection):
                return None
            row = connection.execute(_SELECT + condition, values).fetchone()
        return None if row is None else MoveRecord(*row)


def _there(connection: "psycopg.Connection[Any]") -> bool:
    row = connection.execute(
        "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'aeterna_ops' AND c.relname = 'tenant_move'"
    ).fetchone()
    return row is not None


def under_way(tenant: str, details: Mapping[str, Any] | None = None) -> ConflictError:
    return ConflictError(
        "move_under_way",
        f"tenant {tenant} has an unfinished move already",
        next_steps=[f"aeterna-cli tenant migration status --tenant-id {tenant}"],
        details=dict(details or {}),
    )
