"""Sequences after rows were written with values of their own: never behind them, never back."""

from collections.abc import Iterator

from psycopg import sql

from aeterna_cli.stores.postgres_connection import Connection
from aeterna_cli.stores.postgres_slice_checks import oid_of
from aeterna_cli.stores.postgres_slice_table import SliceTable

#: owned by a column (serial, identity), or used by its default without being owned
_OF_TABLE = """
SELECT n.nspname, s.relname, a.attname, q.seqincrement
  FROM (SELECT d.refobjsubid AS number, d.objid AS seq FROM pg_depend d
         WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
           AND d.refobjid = %(oid)s AND d.deptype IN ('a', 'i')
        UNION
        SELECT f.adnum, d.refobjid FROM pg_attrdef f JOIN pg_depend d
            ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
           AND d.refclassid = 'pg_class'::regclass
         WHERE f.adrelid = %(oid)s) AS used
  JOIN pg_class s ON s.oid = used.seq AND s.relkind = 'S'
  JOIN pg_sequence q ON q.seqrelid = s.oid
  JOIN pg_namespace n ON n.oid = s.relnamespace
  JOIN pg_attribute a ON a.attrelid = %(oid)s AND a.attnum = used.number
 WHERE a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
 ORDER BY 1, 2
"""


def move_forward(connection: Connection, table: SliceTable) -> list[str]:
    """The table's sequences are at least at the highest value that came; which were moved.

    A sequence knows no transaction: it stays forward where this one is rolled back, which costs
    numbers and nothing else.
    """
    return list(_moved(connection, table))


def _moved(connection: Connection, table: SliceTable) -> Iterator[str]:
    found = connection.execute(_OF_TABLE, {"oid": oid_of(connection, table)}).fetchall()
    for schema, name, column, increment in found:
        if column not in table.columns or increment < 1:
            continue
        sequence = sql.Identifier(schema, name)
        query = sql.SQL(
            "SELECT setval({text}::regclass, came.highest) FROM"
            " (SELECT max({column})::bigint AS highest FROM {coming}) AS came, {sequence} AS now"
            " WHERE came.highest > now.last_value"
        ).format(
            text=sql.Literal(sequence.as_string(connection)),
            column=sql.Identifier(column),
            coming=table.coming,
            sequence=sequence,
        )
        if connection.execute(query).fetchone() is not None:
            yield f"{schema}.{name}"
