"""Order-independent digests of tables, computed in the server, and their comparison.

Per table one sequential pass, bounded memory, any number of rows: the exact count, and the sums
modulo 2**64 of two differently seeded 64-bit hashes of each row as text (``hashtextextended``). Two
servers of one major and byte order with equal rows give equal digests, whatever their settings.

Covered: ordinary tables and the leaves of partitioned and inherited ones that are WAL-logged. Not
covered: temporary and unlogged tables (recovery empties them), materialised views (derived), large
objects and foreign tables, system catalogues, our own schema ``aeterna_ops``, and sequences: their
WAL runs up to 32 values ahead, so after a recovery they are ahead by design.
Source: postgresql.org/docs/18: row_security_active, pg_relation_filenode, TRUNCATE (not MVCC-safe).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from aeterna_cli.errors import AuthenticationError, RemoteError, TransientError
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.postgres import DigestSet, TableDigest

UNTAKEN = ""  # the digest of a table that was truncated, rewritten or dropped under the snapshot

#: Everything that changes how a value is printed, pinned; an empty search_path makes the names
#: that regclass and its like print complete.
OUTPUT_SETTINGS: Mapping[str, str] = {
    "search_path": "",
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "lc_numeric": "C",
    "lc_time": "C",
    "quote_all_identifiers": "off",
    "row_security": "off",
}
_PATIENCE = {  # a digest pass may be long and must not be ended by a server-wide habit
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_session_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
_LOCK_WAIT = "60s"  # behind an ALTER TABLE that itself waits

_TABLES = """
SELECT c.oid, n.nspname, c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname),
       c.relfilenode, row_security_active(c.oid)
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence = %s
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'aeterna_ops')
   AND n.nspname NOT LIKE 'pg\\_toast%%' AND n.nspname NOT LIKE 'pg\\_temp%%'
 ORDER BY n.nspname, c.relname
"""
_DIGEST = """
SELECT count(*), sum(hashtextextended(t::text COLLATE "C", 0)),
       sum(hashtextextended(t::text COLLATE "C", 7077074)), pg_relation_filenode({oid})
  FROM (SELECT row_.*::text AS t FROM ONLY {table} AS row_ OFFSET 0) AS texts
"""


@dataclass(frozen=True)
class Table:
    """A table as the catalogue showed it; ``name`` is quoted as the server quotes it."""

    oid: int
    schema: str
    relation: str
    name: str
    file_node: int


def configure(connection: psycopg.Connection[Any]) -> None:
    """Pin this session's output settings and lift its time limits; outside a transaction."""
    wanted = {**OUTPUT_SETTINGS, **_PATIENCE, "lock_timeout": _LOCK_WAIT}
    connection.execute(
        "SELECT set_config(name, value, false)"
        " FROM unnest(%s::text[], %s::text[]) AS wanted (name, value)"
        " WHERE EXISTS (SELECT FROM pg_settings s WHERE lower(s.name) = wanted.name)",
        (list(wanted), list(wanted.values())),
    )


def tables(connection: psycopg.Connection[Any], *, unlogged: bool = False) -> list[Table]:
    """The tables that digests cover (or the unlogged ones that they leave out), by name.

    ``AuthenticationError('rows_hidden')`` where row security would hide rows from this role.
    """
    rows = connection.execute(_TABLES, ("u" if unlogged else "p",)).fetchall()
    hidden = [row[3] for row in rows if row[5]]
    if hidden:
        raise rows_hidden(hidden)
    return [Table(*row[:5]) for row in rows]


def rows_hidden(names: Sequence[str]) -> AuthenticationError:
    """The error for tables whose rows this role sees only in part."""
    return AuthenticationError(
        "rows_hidden",
        f"row security hides rows of {len(names)} tables from this role: " + ", ".join(names[:5]),
        hint="a part of the rows would prove nothing",
        next_steps=["ALTER ROLE <backup role> BYPASSRLS"],
        details={"tables": list(names)},
    )


def digest(connection: psycopg.Connection[Any], table: Table) -> tuple[int, str]:
    """Rows and digest of one table in the current transaction.

    (0, ``UNTAKEN``) where the table was truncated, rewritten or dropped after the snapshot: what an
    older snapshot then sees is not what it was. ``TransientError('table_locked')``;
    ``RemoteError('row_unreadable')`` for a row that the server cannot print.
    """
    query = sql.SQL(_DIGEST).format(
        oid=sql.Literal(table.oid), table=sql.Identifier(table.schema, table.relation)
    )
    try:
        row = connection.execute(query).fetchone()
    except psycopg.errors.UndefinedTable:
        return 0, UNTAKEN
    except psycopg.errors.LockNotAvailable as error:
        raise TransientError(
            "table_locked",
            f"{table.name} was locked for more than {_LOCK_WAIT}",
            hint="an ALTER TABLE, VACUUM FULL or LOCK holds it or waits for it",
        ) from error
    except (psycopg.errors.ProgramLimitExceeded, psycopg.errors.InternalError_) as error:
        raise RemoteError(
            "row_unreadable",
            f"a row of {table.name} cannot be read as text: {error.diag.message_primary}",
            hint="PostgreSQL cannot print a row of more than 1 GB; a damaged row looks the same",
        ) from error
    if row is None or row[3] != table.file_node:
        return 0, UNTAKEN
    first, second = (int(part or 0) % (1 << 64) for part in row[1:3])
    return int(row[0]), f"{first:016x}{second:016x}"


def compare(expected: DigestSet, found: DigestSet) -> list[Finding]:
    """What differs, table by table; empty where every row is there and the same.

    ``found`` is of a server that nobody writes to. Where ``expected`` is not exact, nothing but
    ``info`` comes out: rows may have changed between the digest and the recovery point.
    """
    return [
        finding if expected.exact or finding.severity == "info" else _softened(finding)
        for finding in _differences(expected, found)
    ]


def _softened(finding: Finding) -> Finding:
    message = f"{finding.message} (approximate: taken while others could write)"
    details = finding.details
    return Finding(finding.code, "info", finding.subject, message, finding.mend, details)


def _differences(expected: DigestSet, found: DigestSet) -> Iterator[Finding]:
    before = {(table.database, table.table): table for table in expected.tables}
    after = {(table.database, table.table): table for table in found.tables}
    for key in sorted(before.keys() | after.keys()):
        subject = f"{key[0]}:{key[1]}"
        old, new = before.get(key), after.get(key)
        if old is None:
            yield Finding(
                "table_unexpected", "warning", subject, "the table was not there at the backup"
            )
        elif new is None:
            yield Finding(
                "table_missing", "error", subject, f"the table of {old.rows} rows is gone"
            )
        elif UNTAKEN in (old.digest, new.digest):
            message = "not compared: the table was truncated, rewritten or dropped meanwhile"
            yield Finding("table_not_compared", "info", subject, message)
        elif (old.rows, old.digest) != (new.rows, new.digest):
            yield _changed(subject, old, new)


def _changed(subject: str, old: TableDigest, new: TableDigest) -> Finding:
    message = (
        f"{old.rows} rows were expected, {new.rows} were found"
        if old.rows != new.rows
        else f"the {old.rows} rows are not the same rows"
    )
    details = {
        "expected": {"rows": old.rows, "digest": old.digest},
        "found": {"rows": new.rows, "digest": new.digest},
    }
    return Finding("table_differs", "error", subject, message, details=details)
