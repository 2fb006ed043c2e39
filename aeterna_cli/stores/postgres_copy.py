"""Some rows of a table, out and in again: COPY in text form with an explicit list of columns.

Text is portable between majors and independent of type oids. Every value is printed and read under
the pinned settings of ``postgres_digests``. Generated columns are left out: the server makes them.

Two digests of a slice are independent of the rows' order. ``digest`` is computed in the server, as
those of whole tables are, over ``ROW(column, ...)::text``. ``lines`` is the sum modulo 2**256 of
BLAKE2b with 32 bytes of each line of the COPY text without its end, read as a little endian number:
it needs no server, so an archive can be proven by itself.
Source: postgresql.org/docs/18/sql-copy.html (text format: only a line feed ends a row).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import psycopg
from psycopg import sql

from aeterna_cli.errors import RemoteError
from aeterna_cli.stores.postgres_connection import Connection, postgres_errors
from aeterna_cli.stores.postgres_digests import rows_hidden

_MODULUS = 1 << 256
_LONGEST_LINE = 1 << 30  # the server's own limit of a field
_BLOCK = 1 << 18

_DIGEST = """
SELECT count(*), sum(hashtextextended(t COLLATE "C", 0)),
       sum(hashtextextended(t COLLATE "C", 7077074))
  FROM (SELECT {row}::text AS t FROM {source} AS t WHERE {where} OFFSET 0) AS texts
"""


@dataclass(frozen=True)
class RowSlice:
    """The rows of one table that ``where`` is true for; the table goes by the alias ``t`` in it.

    ``parameters`` are what the named placeholders of ``where`` are bound to.
    """

    schema: str
    name: str
    columns: tuple[str, ...]
    where: sql.Composable
    parameters: Mapping[str, Any]

    @property
    def relation(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True)
class SliceDigest:
    """``digest`` is two numbers of 16 hexadecimal digits."""

    rows: int
    digest: str


@dataclass(frozen=True)
class CopiedRows:
    """What was written: how many rows, and both digests of them."""

    rows: int
    digest: str
    lines: str


class LineDigest:
    """Adds up the lines of COPY text that comes in pieces of any size."""

    def __init__(self) -> None:
        self.rows = 0
        self._total = 0
        self._rest = b""

    def feed(self, data: bytes | memoryview) -> None:
        """``RemoteError('copy_damaged')`` for a line that no server wrote."""
        *whole, self._rest = (self._rest + bytes(data)).split(b"\n")
        for line in whole:
            number = blake2b(line, digest_size=32).digest()
            self._total += int.from_bytes(number, "little")
        self._total %= _MODULUS
        self.rows += len(whole)
        if len(self._rest) > _LONGEST_LINE:
            raise RemoteError("copy_damaged", "a row of the archive is absurdly long")

    def result(self) -> str:
        """``RemoteError('copy_damaged')`` where the last line has no end."""
        if self._rest:
            raise RemoteError("copy_damaged", "the rows of the archive end in the middle of one")
        return f"{self._total % _MODULUS:064x}"


def columns_list(columns: Sequence[str], alias: str | None = None) -> sql.Composed:
    """The columns by name, or as columns of what goes by ``alias``."""
    names = [sql.Identifier(alias, one) if alias else sql.Identifier(one) for one in columns]
    return sql.SQL(", ").join(names)


def row_of(columns: Sequence[str], alias: str = "t") -> sql.Composed:
    """The row value that digests and comparisons are about."""
    return sql.SQL("ROW({})").format(columns_list(columns, alias))


def sums_as_digest(rows: int, first: Any, second: Any) -> SliceDigest:
    """The server's count and two sums as ``postgres_digests`` writes them."""
    words = [int(one or 0) % (1 << 64) for one in (first, second)]
    return SliceDigest(rows, "".join(f"{word:016x}" for word in words))


def digest_of(
    connection: Connection,
    source: sql.Composable,
    columns: Sequence[str],
    where: sql.Composable,
    parameters: Mapping[str, Any] | None = None,
) -> SliceDigest:
    """The digest of the rows of ``source`` (alias ``t``) that ``where`` is true for, by the server.

    The caller has pinned the output settings (``postgres_digests.configure``).
    """
    query = sql.SQL(_DIGEST).format(row=row_of(columns), source=source, where=where)
    found = connection.execute(query, parameters or None).fetchone()
    assert found is not None  # noqa: S101 - an aggregate has a row
    return sums_as_digest(*found)


def copy_out(connection: Connection, rows: RowSlice, write: Callable[[bytes], None]) -> CopiedRows:
    """Write the slice as the connection's transaction sees it, in blocks of bounded size.

    The connection holds a configured transaction (``Snapshot.reading``). What was written and what
    the server counts agree when this returns, else ``RemoteError('copy_differs')``.
    ``AuthenticationError('rows_hidden')`` where row security would hide some from this role.
    """
    query = sql.SQL("COPY (SELECT {} FROM {} AS t WHERE {}) TO STDOUT").format(
        columns_list(rows.columns, "t"), rows.relation, rows.where
    )
    lines = LineDigest()
    pending = bytearray()

    def flush() -> None:
        lines.feed(bytes(pending))
        write(bytes(pending))
        pending.clear()

    try:
        with postgres_errors(), connection.cursor() as cursor:
            with cursor.copy(query, rows.parameters) as copy:
                for block in copy:
                    pending += block
                    if len(pending) >= _BLOCK:
                        flush()
            if pending:
                flush()
            expected = digest_of(
                connection, rows.relation, rows.columns, rows.where, rows.parameters
            )
    except psycopg.errors.InsufficientPrivilege as error:
        raise rows_hidden([f"{rows.schema}.{rows.name}"]) from error
    if lines.rows != expected.rows:
        raise RemoteError(
            "copy_differs",
            f"{rows.schema}.{rows.name} gave {lines.rows} rows, the server counts {expected.rows}",
            hint="a condition that is not the same twice; nothing was kept",
        )
    return CopiedRows(lines.rows, expected.digest, lines.result())


def copy_in(
    connection: Connection,
    target: sql.Composable,
    columns: Sequence[str],
    blocks: Iterable[bytes],
) -> int:
    """Load COPY text into ``target``; how many rows came. Errors as of ``postgres_errors``."""
    query = sql.SQL("COPY {} ({}) FROM STDIN").format(target, columns_list(columns))
    with postgres_errors(), connection.cursor() as cursor:
        with cursor.copy(query) as copy:
            for block in blocks:
                copy.write(block)
        return cursor.rowcount
