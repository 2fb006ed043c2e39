"""Reads a database's catalogue: a handful of queries in one read-only transaction, no table scan.

Left out: system schemas, our own ``aeterna_ops``, partitions (their parent stands for them),
temporary and foreign tables.
Source: postgresql.org/docs/18: pg_class, pg_attribute, pg_constraint, pg_index, pg_depend.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from psycopg import sql

from aeterna_cli.errors import RemoteError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores.base.catalogue import (
    PRIVILEGES,
    Catalogue,
    CatalogueTable,
    Column,
    ForeignKey,
    Role,
    TenantTable,
    label,
)
from aeterna_cli.stores.base.tenants import TenantIdentity
from aeterna_cli.stores.postgres_connection import Connection, connect, postgres_errors

_OURS = sql.SQL("""
    c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'aeterna_ops')
    AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%'
""")
_ROLE = """
SELECT current_database(), rolname, rolsuper, rolbypassrls FROM pg_roles
 WHERE rolname = current_user
"""
# reltuples of a partitioned table is of its last ANALYZE; its partitions tell without one
_TABLES = sql.SQL("""
SELECT c.oid, n.nspname, c.relname, c.relkind = 'p', c.relrowsecurity, c.relforcerowsecurity,
       row_security_active(c.oid), nullif(greatest(c.reltuples, -1), -1)::bigint,
       has_schema_privilege(n.oid, 'USAGE'),
       has_table_privilege(c.oid, 'SELECT'), has_table_privilege(c.oid, 'INSERT'),
       has_table_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE'),
       (SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
         WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e' LIMIT 1),
       EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {ours} ORDER BY n.nspname, c.relname
""").format(ours=_OURS)
_COLUMNS = sql.SQL("""
SELECT a.attrelid, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
       a.attgenerated <> ''
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {ours} AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
""").format(ours=_OURS)
_FOREIGN_KEYS = sql.SQL("""
SELECT k.conrelid, k.conname, k.conkey, k.confrelid, k.confkey, k.confdeltype
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {ours} AND k.contype = 'f' AND k.conparentid = 0 ORDER BY k.conrelid, k.conname
""").format(ours=_OURS)
# a partial or expression index says nothing about every row; NULLs may repeat, which only counts
# where a value is looked up, and NULL never is
_UNIQUE = sql.SQL("""
SELECT i.indrelid, i.indisprimary, (i.indkey::int2[])[0:i.indnkeyatts - 1]
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {ours} AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
 ORDER BY i.indrelid, NOT i.indisprimary, i.indexrelid
""").format(ours=_OURS)
_TRIGGERS = sql.SQL("""
SELECT t.tgrelid, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {ours} AND NOT t.tgisinternal AND t.tgenabled <> 'D' ORDER BY t.tgrelid, t.tgname
""").format(ours=_OURS)
# owned by a column (serial, identity), or used by a column's default without being owned
_SEQUENCES = sql.SQL("""
SELECT c.oid, sn.nspname, s.relname
  FROM (SELECT d.refobjid AS tab, d.objid AS seq FROM pg_depend d
         WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
           AND d.deptype IN ('a', 'i')
        UNION
        SELECT a.adrelid, d.refobjid FROM pg_attrdef a JOIN pg_depend d
            ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid
           AND d.refclassid = 'pg_class'::regclass) AS used
  JOIN pg_class s ON s.oid = used.seq AND s.relkind = 'S'
  JOIN pg_namespace sn ON sn.oid = s.relnamespace
  JOIN pg_class c ON c.oid = used.tab JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {ours} ORDER BY c.oid, s.relname
""").format(ours=_OURS)
_ON_DELETE = {"a": "no action", "r": "restrict", "c": "cascade", "n": "set null",
              "d": "set default"}  # fmt: skip
_PAGE = 2000


def read(settings: PostgresSettings) -> Catalogue:
    """The profile's database as it is now; errors as of ``postgres_faults``."""
    with postgres_errors(), closing(connect(settings)) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        return catalogue(connection)


def catalogue(connection: Connection) -> Catalogue:
    """The same in a transaction of the caller, whose snapshot it then shares."""
    row = connection.execute(_ROLE).fetchone()
    if row is None:
        raise RemoteError("postgres_silent", "PostgreSQL does not know the role we are")
    tables = connection.execute(_TABLES).fetchall()
    labels = {oid: label(schema, name) for oid, schema, name, *_ in tables}
    columns = _grouped(connection, _COLUMNS)
    names = {oid: {n: name for n, name, *_ in found} for oid, found in columns.items()}
    unique, triggers = _grouped(connection, _UNIQUE), _grouped(connection, _TRIGGERS)
    foreign, sequences = _grouped(connection, _FOREIGN_KEYS), _grouped(connection, _SEQUENCES)
    made = []
    for oid, schema, name, partitioned, enabled, forced, hidden, estimate, usage, *rest in tables:
        own = names.get(oid, {})
        made.append(
            CatalogueTable(
                schema,
                name,
                partitioned,
                tuple(Column(*one[1:]) for one in columns.get(oid, ())),
                next((_named(own, key) for first, key in unique.get(oid, ()) if first), ()),
                tuple(_named(own, key) for _, key in unique.get(oid, ())),
                tuple(_foreign_keys(foreign.get(oid, ()), own, names, labels)),
                enabled,
                forced,
                hidden,
                tuple(one for (one,) in triggers.get(oid, ())),
                tuple(label(*one) for one in sequences.get(oid, ())),
                estimate,
                usage,
                frozenset(p for p, has in zip(PRIVILEGES, rest, strict=False) if has),
                rest[-2],
                rest[-1],
            )
        )
    database, role, superuser, bypasses = row
    return Catalogue(database, Role(role, superuser, bypasses), tuple(made))


def _grouped(connection: Connection, query: sql.Composed) -> Mapping[int, Sequence[Sequence[Any]]]:
    """The rows by their first column, a table's oid."""
    found: dict[int, list[Sequence[Any]]] = defaultdict(list)
    for oid, *rest in connection.execute(query):
        found[oid].append(rest)
    return found


def _named(names: Mapping[int, str], numbers: Sequence[int]) -> tuple[str, ...]:
    return tuple(names[number] for number in numbers)


def _foreign_keys(
    rows: Sequence[Sequence[Any]],
    own: Mapping[int, str],
    names: Mapping[int, Mapping[int, str]],
    labels: Mapping[int, str],
) -> Iterator[ForeignKey]:
    for name, columns, target, target_columns, on_delete in rows:
        if target in labels:  # else it points into a partition or a schema that is not the tenants'
            theirs = _named(names[target], target_columns)
            yield ForeignKey(
                name, _named(own, columns), labels[target], theirs, _ON_DELETE[on_delete]
            )


def tenants(connection: Connection, table: TenantTable) -> Iterator[TenantIdentity]:
    """Every tenant by id, in pages: memory does not grow with their number."""
    types = _types(connection, table)
    key = sql.SQL("{}::text COLLATE {}").format(sql.Identifier(table.id), sql.Identifier("C"))
    chosen = [
        sql.SQL("{}::text").format(sql.Identifier(table.id)),
        *(_text(column) for column in (table.slug, table.title, table.status)),
        _moment(table.created_at, types.get(table.created_at or "", "")),
    ]
    page = sql.SQL("SELECT {} FROM {} WHERE {key} > %s ORDER BY {key} LIMIT %s").format(
        sql.SQL(", ").join(chosen), sql.Identifier(table.schema, table.name), key=key
    )
    last = ""
    while True:
        rows = connection.execute(page, (last, _PAGE)).fetchall()
        for tenant, slug, name, status, created in rows:
            yield TenantIdentity(tenant, slug or tenant, name or slug or tenant, status, created)
        if len(rows) < _PAGE:
            return
        last = rows[-1][0]


def _types(connection: Connection, table: TenantTable) -> Mapping[str, str]:
    rows = connection.execute(
        "SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_attribute a"
        " JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = %s AND c.relname = %s AND a.attnum > 0 AND NOT a.attisdropped",
        (table.schema, table.name),
    ).fetchall()
    return dict(rows)


def _text(column: str | None) -> sql.Composable:
    if column is None:
        return sql.SQL("''")
    return sql.SQL("coalesce({}::text, '')").format(sql.Identifier(column))


def _moment(column: str | None, kind: str) -> sql.Composable:
    """Platforms of some versions keep seconds since the epoch where others keep a time."""
    if column is None:
        return sql.SQL("NULL::timestamptz")
    form = "to_timestamp({})" if kind in ("bigint", "integer") else "{}::timestamptz"
    return sql.SQL(form).format(sql.Identifier(column))
