"""A database of its own beside the lab's, seeded like it: for tests that change what is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from psycopg import sql

from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import DATABASE, OWNER, superuser
from aeterna_cli.lab.seed import rows
from aeterna_cli.lab.seed.tenants import tenants
from aeterna_cli.settings import PostgresSettings

SEED, SCALE = 1, 0.01


@contextmanager
def tenant_database(lab: Lab, *, extra: int = 0, filled: bool = True) -> Iterator[str]:
    """The name of a database with the platform's whole schema; dropped afterwards."""
    name = f"tenants_{uuid4().hex[:10]}"
    with superuser(lab.place(), DATABASE) as server:
        server.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(OWNER)
            )
        )
    try:
        everyone = tenants(SCALE, extra) if filled else ()
        if filled:
            rows.write(lab.place(), SEED, SCALE, everyone, extra=extra, database=name)
        yield name
    finally:
        with superuser(lab.place(), DATABASE) as server:
            server.execute(
                sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
            )


def settings(lab: Lab, database: str) -> PostgresSettings:
    """The lab's backup role in this database."""
    from aeterna_cli.lab import profile

    return profile.build(lab.place()).postgres.model_copy(update={"database": database})


