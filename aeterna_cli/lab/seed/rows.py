"""The seed in PostgreSQL: the schema and its rows, in one transaction."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aeterna_cli.lab.part import Place
from aeterna_cli.lab.postgres import DATABASE, OWNER, superuser
from aeterna_cli.lab.seed.load import (
    advance_sequences,
    copy,
    shapes,
    triggers_off,
    triggers_on,
    verify_references,
)
from aeterna_cli.lab.seed.schemas import ROLES, SCHEMAS, Schema, SchemaName, statements
from aeterna_cli.lab.seed.tables import everything
from aeterna_cli.lab.seed.tenants import Tenant

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[object, ...]]

MARK = "aeterna lab seed"


def seeded(place: Place) -> dict[str, Any] | None:
    """The seed and scale this database was filled with; None for one that was not."""
    with superuser(place, DATABASE) as server:
        found = server.execute(
            "SELECT obj_description(to_regclass('public.tenants'), 'pg_class')"
        ).fetchone()
    text = found[0] if found else None
    if not isinstance(text, str) or not text.startswith(MARK):
        return None
    parameters: dict[str, Any] = json.loads(text.removeprefix(MARK))
    return parameters


def occupied(place: Place) -> bool:
    """Whether somebody's tables are there."""
    with superuser(place, DATABASE) as server:
        found = server.execute(
            "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = 'public' LIMIT 1"
        ).fetchone()
    return found is not None


def write(
    place: Place,
    seed: int,
    scale: float,
    everyone: Sequence[Tenant],
    *,
    extra: int = 0,
    schema: SchemaName = "complete",
    database: str = DATABASE,
) -> int:
    """Schema and rows, all or none; how many rows there are."""
    from psycopg import sql

    wanted = SCHEMAS[schema]
    with superuser(place, database) as server, server.transaction():
        _create(server, wanted)
        known = shapes(server)
        triggers_off(server)
        count = sum(copy(server, known, rows) for rows in everything(seed, everyone, wanted))
        triggers_on(server)
        verify_references(server)
        advance_sequences(server, known)
        mark = MARK + json.dumps(parameters(seed, scale, extra, schema))
        server.execute(sql.SQL("COMMENT ON TABLE public.tenants IS {}").format(sql.Literal(mark)))
    return count


def parameters(seed: int, scale: float, extra: int, schema: SchemaName) -> dict[str, Any]:
    """What a database remembers of how it was seeded."""
    return {"seed": seed, "scale": scale, "tenants": extra, "schema": schema}


def _create(server: "Connection", schema: Schema) -> None:
    """The owner's tables, and a superuser's roles where migration 025 could make them."""
    from psycopg import sql

    owner = sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER))
    server.execute(owner)
    for name in schema.before_roles:
        server.execute(statements(name))
    server.execute("RESET ROLE")
    if schema.roles:
        server.execute(statements(ROLES))
    server.execute(owner)
    for name in schema.after_roles:
        server.execute(statements(name))
    server.execute("RESET ROLE")
