"""What must hold before and after a tenant's rows are written: uniqueness, references, privileges.

Source: postgresql.org/docs/18: pg_index, pg_get_indexdef, pg_constraint, pg_trigger.tgenabled,
has_parameter_privilege, session_replication_role.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, cast

from psycopg import sql

from aeterna_cli.errors import AuthenticationError, RefusedError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores.postgres_connection import Connection, connect, postgres_errors
from aeterna_cli.stores.postgres_slice_table import SliceTable, goes, key_text, same_key, same_row

_MOVES = """
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                WHERE n.nspname = 'aeterna_ops' AND c.relname = 'tenant_move')
"""
_UNFINISHED = """
SELECT id::text FROM aeterna_ops.tenant_move
 WHERE tenant::text = %(tenant)s AND phase NOT IN ('complete', 'cancelled', 'rolled-back')
"""
SHOWN = 20  # conflicts that are named; all are counted

_INDEXES = """
SELECT i.indexrelid::regclass::text,
       array(SELECT pg_get_indexdef(i.indexrelid, k, true)
               FROM generate_series(1, i.indnkeyatts) AS k ORDER BY k),
       pg_get_expr(i.indpred, i.indrelid, true),
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::boolean, false)
  FROM pg_index i
 WHERE i.indrelid = %(oid)s AND i.indisunique AND NOT i.indisprimary AND i.indisvalid
 ORDER BY 1
"""
_OID = "SELECT %(name)s::regclass::oid"
_FIRING = """
SELECT c.oid::regclass::text || ': ' || t.tgname
  FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
 WHERE NOT t.tgisinternal AND t.tgenabled IN ('A', 'R')
   AND c.oid = ANY(%(oids)s::oid[]) ORDER BY 1
"""
_FOREIGN_KEYS = """
SELECT k.conname, k.conrelid::regclass::text,
       cn.nspname, c.relname, c.relkind = 'p', pn.nspname, p.relname, p.relkind = 'p',
       array(SELECT attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u (n, o)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.o),
       array(SELECT attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u (n, o)
               JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.o)
  FROM pg_constraint k
  JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
  JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
 WHERE k.contype = 'f' AND k.conparentid = 0
   AND (k.conrelid = ANY(%(oids)s::oid[]) OR k.confrelid = ANY(%(oids)s::oid[]))
 ORDER BY 2, 1
"""


@dataclass(frozen=True)
class Conflict:
    """A staged row cannot be written, because a live row that is not the tenant's has its value.

    Keys are of primary keys, never the value itself: it may be somebody's address.
    """

    table: str
    unique: str
    staged: str
    live: str


@dataclass(frozen=True)
class Reference:
    """A foreign key that touches what is written, and how many rows refer to nothing by it."""

    name: str
    table: str
    dangling: int


@dataclass(frozen=True)
class _Side:
    """One end of a foreign key."""

    schema: str
    name: str
    partitioned: bool
    columns: Sequence[str]

    @property
    def relation(self) -> sql.Composable:
        found = sql.Identifier(self.schema, self.name)
        return found if self.partitioned else sql.SQL("ONLY {}").format(found)


def oid_of(connection: Connection, table: SliceTable) -> int:
    name = table.target.as_string(connection)
    row = connection.execute(_OID, {"name": name}).fetchone()
    assert row is not None  # noqa: S101 - regclass raises for what is not there
    return int(row[0])


def conflicts(
    connection: Connection, table: SliceTable, parameters: Mapping[str, Any]
) -> tuple[int, list[Conflict]]:
    """How many staged rows collide with live ones that stay, and the first of them.

    *present* and *coming* are made. The primary key, every unique constraint and every unique index
    count, partial ones and those on expressions too.
    """
    found: list[Conflict] = []
    total = 0
    for name, query in _collisions(connection, table):
        count = sql.SQL("SELECT count(*) FROM ({}) AS found").format(query)
        row = connection.execute(count, dict(parameters)).fetchone()
        total += int(row[0]) if row else 0
        if row and row[0] and len(found) < SHOWN:
            first = sql.SQL("{} LIMIT {}").format(query, sql.Literal(SHOWN - len(found)))
            rows = connection.execute(first, dict(parameters)).fetchall()
            found += [Conflict(table.label, name, str(one[0]), str(one[1])) for one in rows]
    return total, found


def _collisions(connection: Connection, table: SliceTable) -> Iterator[tuple[str, sql.Composable]]:
    key = table.primary_key or table.columns
    names = key_text(key, "s"), key_text(key, "t")
    if table.primary_key and not table.shared:
        yield "primary key", _foreign_rows(table, *names)
    for index, expressions, predicate, nulls_equal in connection.execute(
        _INDEXES, {"oid": oid_of(connection, table)}
    ).fetchall():
        yield index, _same_values(table, expressions, predicate, nulls_equal, key)


def _foreign_rows(
    table: SliceTable, staged: sql.Composable, live: sql.Composable
) -> sql.Composable:
    """Rows of a staged key that are not the tenant's and have another content."""
    return sql.SQL(
        "SELECT {staged}, {live} FROM {staging} AS s JOIN {relation} AS t ON {key}"
        " WHERE NOT EXISTS (SELECT FROM {present} AS p"
        " WHERE p.part = t.tableoid AND p.place = t.ctid) AND NOT {same}"
    ).format(
        staged=staged,
        live=live,
        staging=table.staged,
        relation=table.relation,
        present=table.present,
        key=same_key(table, "s", "t"),
        same=same_row(table, "s", "t"),
    )


def _same_values(
    table: SliceTable,
    expressions: Sequence[str],
    predicate: str | None,
    nulls_equal: bool,
    key: Sequence[str],
) -> sql.Composable:
    """Rows that come and live rows that stay with the same value of one unique index.

    The index's own expressions name plain columns: each side is a subquery with one table.
    """
    values = sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(_own_words(f"({one})"), sql.Identifier(f"v{number}"))
        for number, one in enumerate(expressions)
    )
    where = _own_words(predicate) if predicate else sql.SQL("true")
    equal = "IS NOT DISTINCT FROM" if nulls_equal else "="
    pairs = sql.SQL(" AND ").join(
        sql.SQL("a.{0} {1} b.{0}").format(sql.Identifier(f"v{number}"), _own_words(equal))
        for number in range(len(expressions))
    )
    return sql.SQL(
        "SELECT a.k, b.k FROM (SELECT {k_s} AS k, {values} FROM {coming} AS s WHERE {where}) AS a"
        " JOIN (SELECT {k_t} AS k, {values} FROM {relation} AS t WHERE ({where}) AND NOT {goes})"
        " AS b ON {pairs}"
    ).format(
        k_s=key_text(key, "s"),
        k_t=key_text(key, "t"),
        values=values,
        coming=table.coming,
        relation=table.relation,
        where=where,
        goes=goes(table),
        pairs=pairs,
    )


def _own_words(text: str) -> sql.SQL:
    """SQL that the server's catalogue printed; a percent sign in it is no placeholder."""
    return sql.SQL(cast(Any, text.replace("%", "%%")))


def refuse_conflicts(count: int, found: Sequence[Conflict]) -> None:
    """``RefusedError('values_taken')`` where there are any; nothing was written."""
    if not count:
        return
    tables = ", ".join(sorted({one.table for one in found}))
    raise RefusedError(
        "values_taken",
        f"{count} values that must be unique belong to others now: in {tables}",
        hint="a row that was saved would collide with a row that is not this tenant's;"
        " change or remove those, then run the same command again",
        details={"count": count, "conflicts": [asdict(one) for one in found[:SHOWN]]},
    )


# -- references


def references(connection: Connection, tables: Sequence[SliceTable]) -> dict[str, Reference]:
    """Every foreign key from or to one of these tables, with its dangling rows as seen now."""
    oids = [oid_of(connection, table) for table in tables]
    found: dict[str, Reference] = {}
    for name, table, *rest in connection.execute(_FOREIGN_KEYS, {"oids": oids}).fetchall():
        child = _Side(rest[0], rest[1], rest[2], rest[6])
        parent = _Side(rest[3], rest[4], rest[5], rest[7])
        row = connection.execute(_dangling(child, parent)).fetchone()
        found[f"{table}.{name}"] = Reference(name, table, int(row[0]) if row else 0)
    return found


def _dangling(child: _Side, parent: _Side) -> sql.Composed:
    given = sql.SQL(" AND ").join(
        sql.SQL("c.{} IS NOT NULL").format(sql.Identifier(one)) for one in child.columns
    )
    pairs = sql.SQL(" AND ").join(
        sql.SQL("p.{} = c.{}").format(sql.Identifier(theirs), sql.Identifier(own))
        for own, theirs in zip(child.columns, parent.columns, strict=True)
    )
    return sql.SQL(
        "SELECT count(*) FROM {} AS c WHERE {} AND NOT EXISTS (SELECT FROM {} AS p WHERE {})"
    ).format(child.relation, given, parent.relation, pairs)


def refuse_dangling(before: Mapping[str, Reference], after: Mapping[str, Reference]) -> None:
    """``RefusedError('references_broken')`` where more rows refer to nothing than before."""
    worse = [
        one
        for key, one in after.items()
        if one.dangling > (before[key].dangling if key in before else 0)
    ]
    if worse:
        names = ", ".join(f"{one.table} ({one.name})" for one in worse[:5])
        raise RefusedError(
            "references_broken",
            f"rows would refer to rows that are not there: {names}",
            hint="the backup misses what they refer to, or others refer to what would go;"
            " everything was rolled back",
            details={"foreign_keys": [asdict(one) for one in worse[:SHOWN]]},
        )


def unfinished_move(settings: PostgresSettings, tenant: str) -> str | None:
    """The id of a move of this tenant (an id) that has not ended; None where there is none."""
    with postgres_errors(), closing(connect(settings)) as connection:
        known = connection.execute(_MOVES).fetchone()
        if not known or not known[0]:
            return None
        row = connection.execute(_UNFINISHED, {"tenant": tenant}).fetchone()
    return str(row[0]) if row else None


# -- what our role may do


def require_silent(connection: Connection, tables: Sequence[SliceTable], role: str) -> None:
    """Triggers can be kept silent: the platform's own raise errors, and copy rows into its audit.

    ``AuthenticationError('replication_role_refused')`` with the GRANT;
    ``RefusedError('trigger_fires_always')`` for triggers that no setting silences.
    """
    row = connection.execute(
        "SELECT current_setting('is_superuser') = 'on', current_setting('server_version_num')::int"
    ).fetchone()
    superuser, version = row or (False, 0)
    allowed = superuser
    if not superuser and version >= 150000:
        granted = connection.execute(
            "SELECT has_parameter_privilege('session_replication_role', 'SET')"
        ).fetchone()
        allowed = bool(granted and granted[0])
    if not allowed:
        grant = sql.SQL("GRANT SET ON PARAMETER session_replication_role TO {}").format(
            sql.Identifier(role)
        )
        raise AuthenticationError(
            "replication_role_refused",
            f"the role {role} may not switch triggers off for its own session",
            hint="before PostgreSQL 15 only a superuser may; postgres.restore_user in the profile"
            " may name another role",
            next_steps=[grant.as_string(connection)],
        )
    oids = [oid_of(connection, table) for table in tables]
    firing = [one for (one,) in connection.execute(_FIRING, {"oids": oids}).fetchall()]
    if firing:
        raise RefusedError(
            "trigger_fires_always",
            f"{len(firing)} triggers fire whatever is set: {', '.join(firing[:5])}",
            hint="they would change or copy what is restored",
            next_steps=["ALTER TABLE ... ENABLE TRIGGER ... (instead of ALWAYS or REPLICA)"],
            details={"triggers": firing},
        )
