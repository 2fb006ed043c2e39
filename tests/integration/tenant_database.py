"""A database of its own beside the lab's, seeded like it: for tests that change what is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from aeterna_cli.lab import profile
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import DATABASE, OWNER, superuser
from aeterna_cli.lab.seed import rows
from aeterna_cli.lab.seed.schemas import SchemaName
from aeterna_cli.lab.seed.tenants import tenants
from aeterna_cli.settings import PostgresSettings

SEED, SCALE = 1, 0.01


@contextmanager
def tenant_database(
    lab: Lab, *, extra: int = 0, filled: bool = True, schema: SchemaName = "complete"
) -> Iterator[str]:
    """The name of a database with the platform's schema and rows; dropped afterwards."""
    from psycopg import sql

    name = f"tenants_{uuid4().hex[:10]}"
    with superuser(lab.place(), DATABASE) as server:
        server.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(OWNER)
            )
        )
    try:
        if filled:
            rows.write(
                lab.place(), SEED, SCALE, tenants(SCALE, extra), extra=extra, schema=schema,
                database=name,
            )  # fmt: skip
        yield name
    finally:
        with superuser(lab.place(), DATABASE) as server:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def settings(lab: Lab, database: str) -> PostgresSettings:
    """The lab's backup role in this database."""
    return profile.build(lab.place()).postgres.model_copy(update={"database": database})
