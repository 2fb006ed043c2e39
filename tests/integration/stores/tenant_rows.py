"""A database of its own in the lab, filled as the platform fills one, for tests that damage it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aeterna_cli.datamap import rules, table_rules
from aeterna_cli.datamap.model import DataMap
from aeterna_cli.datamap.tables import map_tables
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import SUPERUSER, superuser
from aeterna_cli.lab.profile import build as lab_profile
from aeterna_cli.lab.seed import rows as seed_rows
from aeterna_cli.lab.seed.tenants import tenants as seed_tenants
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.stores.postgres_catalogue import read
from aeterna_cli.stores.postgres_catalogue import tenants as read_tenants
from aeterna_cli.stores.postgres_connection import connect
from aeterna_cli.stores.postgres_copy import CopiedRows, copy_out, digest_of
from aeterna_cli.stores.postgres_slice import SliceSession
from aeterna_cli.stores.postgres_snapshot import current_snapshot
from aeterna_cli.workflows.tenant.rows import (
    ArchivedTable,
    judge,
    matched,
    row_slice,
    stored_columns,
)

SEED = 20_260_101


@dataclass(frozen=True)
class Saved:
    """A tenant's rows in memory: each table with its COPY text."""

    tables: tuple[ArchivedTable, ...]
    content: dict[str, bytes]


@dataclass(frozen=True)
class Database:
    """``settings`` are those of the role that writes."""

    lab: Lab
    name: str
    settings: PostgresSettings

    @contextmanager
    def sql(self) -> Iterator[Any]:
        """A superuser's connection whose triggers and foreign keys are off."""
        with superuser(self.lab.place(), self.name) as connection:
            connection.execute("SET session_replication_role = replica")
            yield connection

    def map(self) -> DataMap:
        found = table_rules.parse(rules.load()["table"])
        return map_tables(read(self.settings), found)

    def tenants(self) -> dict[str, TenantIdentity]:
        root = self.map().root
        assert root is not None
        with connect(self.settings) as connection:
            return {one.slug: one for one in read_tenants(connection, root)}

    def save(self, slug: str) -> Saved:
        """The tenant's rows as they are now."""
        tenant, content, found = self.tenants()[slug], {}, []
        with current_snapshot(self.settings) as snapshot:
            for table in self.map().of_tenants:
                with snapshot.reading() as connection:
                    blocks: list[bytes] = []
                    rows = row_slice(connection, table, tenant)
                    copied: CopiedRows = copy_out(connection, rows, blocks.append)
                content[table.label] = b"".join(blocks)
                found.append(
                    ArchivedTable(
                        table.label,
                        table.schema,
                        table.name,
                        stored_columns(table),
                        table.shared,
                        "",
                        copied.rows,
                        copied.digest,
                        copied.lines,
                    )
                )
        return Saved(tuple(found), content)

    @contextmanager
    def staged(self, slug: str | TenantIdentity, saved: Saved) -> Iterator[SliceSession]:
        tenant = self.tenants()[slug] if isinstance(slug, str) else slug
        map_ = self.map()
        tables, _ = matched(map_, saved.tables)
        known = {one.label: one for one in saved.tables}
        with SliceSession(self.settings, tables, judge(map_, tenant)) as session:
            for table in tables:
                archived, content = known[table.label], saved.content[table.label]
                blocks = [content[at : at + 1000] for at in range(0, len(content), 1000)]
                session.stage(table, blocks, rows=archived.rows, lines=archived.lines)
            yield session

    def everything(self) -> dict[str, tuple[int, str]]:
        """Rows and digest of every table, whoever's they are."""
        from psycopg import sql

        from aeterna_cli.stores.postgres_digests import configure

        with connect(self.settings) as connection:
            configure(connection)
            found = {}
            for table in self.map().tables.values():
                names = [one.name for one in table.columns]
                source = sql.Identifier(table.schema, table.name)
                digest = digest_of(connection, source, names, sql.SQL("true"))
                found[table.label] = (digest.rows, digest.digest)
        return found


@contextmanager
def database(lab: Lab, name: str, *, scale: float = 0.01) -> Iterator[Database]:
    """A filled database of this name; it is dropped at the end."""
    place = lab.place()
    with superuser(place, SUPERUSER) as server:
        server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
        server.execute(f'CREATE DATABASE "{name}" OWNER aeterna'.encode())
    try:
        seed_rows.write(place, SEED, scale, seed_tenants(scale), database=name)
        profile = lab_profile(place).postgres.model_copy(update={"database": name})
        yield Database(lab, name, profile.for_writing())
    finally:
        with superuser(place, SUPERUSER) as server:
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
