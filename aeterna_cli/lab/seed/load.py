"""Rows into tables: by COPY, with triggers off, into whatever schema is there; then proven."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aeterna_cli.errors import FailedError

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[Any]

Shapes = dict[str, dict[str, str]]


@dataclass(frozen=True)
class Rows:
    """Rows of one table. Moments are datetimes and documents are dicts or lists: the loader gives a
    column of epoch seconds or jsonb what it takes. Columns that an older schema lacks are left out.
    """

    table: str
    columns: str
    rows: Iterable[tuple[Any, ...]]


def triggers_off(server: "Connection") -> None:
    """For this transaction. With triggers on, the platform's own inserts into approval_requests and
    human_confirmation_requests fail, every person would be copied into the audit log, and approvals
    would be counted twice. This also skips foreign keys, so ``verify_references`` comes after."""
    server.execute("SET LOCAL session_replication_role = replica")


def triggers_on(server: "Connection") -> None:
    server.execute("SET LOCAL session_replication_role = origin")


def shapes(server: "Connection") -> Shapes:
    """The columns of every table of the application, with their types."""
    found: Shapes = {}
    for table, column, kind in server.execute(
        "SELECT c.relname, a.attname, format_type(a.atttypid, NULL)"
        "  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
        "   AND a.attnum > 0 AND NOT a.attisdropped"
    ):
        found.setdefault(table, {})[column] = kind
    return found


def copy(server: "Connection", known: Shapes, rows: Rows) -> int:
    """How many rows were written; none where the schema has no such table."""
    from psycopg import sql

    shape = known.get(rows.table)
    if shape is None:
        return 0
    names = rows.columns.split()
    kept = [(place, _converter(shape[name])) for place, name in enumerate(names) if name in shape]
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier("public", rows.table),
        sql.SQL(", ").join(sql.Identifier(names[place]) for place, _convert in kept),
    )
    count = 0
    with server.cursor() as cursor, cursor.copy(statement) as stream:
        for row in rows.rows:
            stream.write_row([convert(row[place]) for place, convert in kept])
            count += 1
    return count


def _converter(kind: str) -> Callable[[Any], Any]:
    if kind == "jsonb":
        return _document
    return _seconds if kind == "bigint" else _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _document(value: Any) -> Any:
    import orjson

    return None if value is None else orjson.dumps(value).decode()


def _seconds(value: Any) -> Any:
    return int(value.timestamp()) if isinstance(value, datetime) else value


_REFERENCES = """
SELECT con.conname, child.relname, parent.relname,
       array_agg(a.attname::text ORDER BY place), array_agg(f.attname::text ORDER BY place)
  FROM pg_constraint con
  JOIN pg_class child ON child.oid = con.conrelid
  JOIN pg_class parent ON parent.oid = con.confrelid
 CROSS JOIN unnest(con.conkey, con.confkey) WITH ORDINALITY AS pair (here, there, place)
  JOIN pg_attribute a ON a.attrelid = con.conrelid AND a.attnum = here
  JOIN pg_attribute f ON f.attrelid = con.confrelid AND f.attnum = there
 WHERE con.contype = 'f' AND con.connamespace = 'public'::regnamespace
 GROUP BY 1, 2, 3, con.oid
"""


def verify_references(server: "Connection") -> None:
    """``FailedError('lab_seed_dangling')`` where a row names one that is not there."""
    from psycopg import sql

    for name, child, parent, columns, targets in server.execute(_REFERENCES).fetchall():
        here = [sql.Identifier("c", column) for column in columns]
        there = [sql.Identifier("p", column) for column in targets]
        joined = sql.SQL(" AND ").join(map(sql.SQL("{} = {}").format, here, there))
        given = sql.SQL(" AND ").join(map(sql.SQL("{} IS NOT NULL").format, here))
        found = server.execute(
            sql.SQL(
                "SELECT count(*) FROM {} c WHERE {} AND NOT EXISTS (SELECT FROM {} p WHERE {})"
            ).format(
                sql.Identifier("public", child), given, sql.Identifier("public", parent), joined
            )
        ).fetchone()
        if found and found[0]:
            raise FailedError(
                "lab_seed_dangling", f"{found[0]} rows of {child} break the foreign key {name}"
            )


def advance_sequences(server: "Connection", known: Shapes) -> None:
    """Past every number that a row holds: the next insert must not meet one of ours."""
    if "graph_events" in known:
        server.execute(
            "SELECT setval('public.graph_events_id_seq',"
            " (SELECT coalesce(max(id), 0) + 1 FROM public.graph_events), false)"
        )
    if "approval_requests" in known:
        server.execute(
            "SELECT setval('public.approval_requests_number_seq',"
            " (SELECT coalesce(max(substring(request_number FROM '\\d+$')::bigint), 0) + 1"
            " FROM public.approval_requests), false)"
        )
