"""Databases of the tests' own in the session's lab, seeded; gone afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from aeterna_cli.lab.part import Place
from aeterna_cli.lab.postgres import OWNER, SUPERUSER, superuser
from aeterna_cli.lab.seed import rows
from aeterna_cli.lab.seed.schemas import SchemaName
from aeterna_cli.lab.seed.tenants import tenants

SCALE = 0.02


@contextmanager
def seeded(
    place: Place, name: str, *, seed: int = 1, schema: SchemaName = "complete", extra: int = 0
) -> Iterator[str]:
    """The name of a database with this seed's schema and rows."""
    drop = f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode()
    with superuser(place, SUPERUSER) as server:
        server.execute(drop)
        server.execute(f'CREATE DATABASE "{name}" OWNER {OWNER}'.encode())
    try:
        everyone = tenants(SCALE, extra)
        rows.write(place, seed, SCALE, everyone, extra=extra, schema=schema, database=name)
        yield name
    finally:
        with superuser(place, SUPERUSER) as server:
            server.execute(drop)


@contextmanager
def undone(place: Place, database: str) -> Iterator[Any]:
    """A superuser's session whose changes are rolled back at the end."""
    with superuser(place, database) as server, server.transaction(force_rollback=True):
        yield server


def refused(error: str, match: str) -> Any:
    """PostgreSQL refuses with this error (a class of ``psycopg.errors``)."""
    import psycopg

    return pytest.raises(getattr(psycopg.errors, error), match=match)
