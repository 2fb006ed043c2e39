"""The tables of placement in our own schema, and what an application's role needs of them."""

from typing import Any, LiteralString

import psycopg

from aeterna_cli.stores.postgres_privileges import identifier

_SHARD: LiteralString = """
CREATE TABLE IF NOT EXISTS aeterna_ops.shard (
    name text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 255),
    server text NOT NULL DEFAULT '',
    url text NOT NULL DEFAULT '',
    collection text NOT NULL CHECK (length(collection) BETWEEN 1 AND 255),
    shard_key text CHECK (shard_key <> ''),
    capacity bigint NOT NULL DEFAULT 0 CHECK (capacity >= 0),
    status text NOT NULL CHECK (status IN ('provisioning', 'active', 'draining', 'offline')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT shard_place UNIQUE NULLS NOT DISTINCT (server, collection, shard_key)
)
"""
# for_share can hold nothing: UPDATE of it is what lets a role lock the row FOR SHARE, no more.
# Source: postgresql.org/docs/18/ddl-priv.html, "SELECT ... FOR SHARE also require this privilege
# [UPDATE] on at least one column".
_PLACEMENT: LiteralString = """
CREATE TABLE IF NOT EXISTS aeterna_ops.tenant_placement (
    tenant uuid PRIMARY KEY,
    shard text NOT NULL REFERENCES aeterna_ops.shard (name),
    collection text NOT NULL CHECK (length(collection) BETWEEN 1 AND 255),
    shard_key text,
    fallback_key text,
    secondary_shard text REFERENCES aeterna_ops.shard (name),
    secondary_collection text CHECK (length(secondary_collection) BETWEEN 1 AND 255),
    secondary_shard_key text,
    secondary_fallback_key text,
    state text NOT NULL CHECK (state IN ('serving', 'dual', 'held')),
    epoch bigint NOT NULL CHECK (epoch > 0),
    operation text,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    for_share boolean CHECK (for_share IS NULL),
    CHECK (fallback_key IS NULL OR shard_key IS NOT NULL),
    CHECK (secondary_fallback_key IS NULL OR secondary_shard_key IS NOT NULL),
    CHECK ((secondary_shard IS NULL) = (secondary_collection IS NULL)),
    CHECK (secondary_shard_key IS NULL OR secondary_shard IS NOT NULL),
    CHECK (state = 'held' OR (state = 'dual') = (secondary_shard IS NOT NULL))
)
"""
_ACKNOWLEDGED: LiteralString = """
CREATE TABLE IF NOT EXISTS aeterna_ops.placement_ack (
    tenant uuid NOT NULL,
    instance text NOT NULL CHECK (length(instance) BETWEEN 1 AND 255),
    epoch bigint NOT NULL CHECK (epoch >= 0),
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, instance)
)
"""
TABLES: tuple[tuple[LiteralString, LiteralString], ...] = (
    ("shard", _SHARD),
    ("tenant_placement", _PLACEMENT),
    ("placement_ack", _ACKNOWLEDGED),
)
# to_regclass refuses where the role has no USAGE; the catalogue does not
_THERE: LiteralString = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'aeterna_ops' AND c.relname = ANY (%s)
"""
_APPLICATION = """\
-- what an application needs to honour placements; as the tables' owner, may be run again
GRANT USAGE ON SCHEMA aeterna_ops TO {role};
GRANT SELECT ON aeterna_ops.shard, aeterna_ops.tenant_placement TO {role};
-- to lock its tenant's row FOR SHARE: the column takes no value, so nothing can be changed by it
GRANT UPDATE (for_share) ON aeterna_ops.tenant_placement TO {role};
-- to say which placement it honours
GRANT SELECT, INSERT, UPDATE ON aeterna_ops.placement_ack TO {role};
"""


def ensure(connection: "psycopg.Connection[Any]") -> None:
    """The tables are there when this returns; two at once make them once.

    Wants CREATE in the schema, and in the database only where the schema is not there yet.
    """
    with connection.transaction():
        # CREATE ... IF NOT EXISTS by two at once fails in one of them on the catalogue's own index
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('aeterna_ops placement schema'))")
        if _nothing(connection, "SELECT FROM pg_namespace WHERE nspname = 'aeterna_ops'"):
            # and asks for the right to create before it looks
            connection.execute("CREATE SCHEMA IF NOT EXISTS aeterna_ops")
        there = missing(connection)
        for name, statement in TABLES:
            if name in there:
                connection.execute(statement)


def missing(connection: "psycopg.Connection[Any]") -> frozenset[str]:
    """Which of the tables are not there."""
    names = [name for name, _statement in TABLES]
    found = {row[0] for row in connection.execute(_THERE, (names,))}
    return frozenset(names) - found


def application_sql(role: str) -> str:
    """The grants of an application's ``role``, as SQL for the tables' owner to run."""
    return _APPLICATION.format(role=identifier(role))


def _nothing(connection: "psycopg.Connection[Any]", query: LiteralString) -> bool:
    return connection.execute(query).fetchone() is None
