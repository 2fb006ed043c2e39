"""A drill's markers in PostgreSQL, and a scenario's questions to it."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import psycopg

from aeterna_cli.errors import AeternaError, RefusedError, TransientError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores.base.drill import NotSentError, Written
from aeterna_cli.stores.postgres_connection import Connection, connect, postgres_errors

_TABLE = """
CREATE TABLE IF NOT EXISTS aeterna_ops.drill_marker (
    drill uuid NOT NULL,
    number bigint NOT NULL,
    written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (drill, number)
)
"""
_SCHEMA_MISSING = "SELECT to_regnamespace('aeterna_ops') IS NULL"
_TABLE_THERE = "SELECT to_regclass('aeterna_ops.drill_marker') IS NOT NULL"
_WRITE = "INSERT INTO aeterna_ops.drill_marker (drill, number) VALUES (%s, %s)"
_WHO = "SELECT coalesce(host(inet_server_addr()), 'local') || ':' || inet_server_port()"
#: wrong content, as a bad deployment writes it; only rows of this drill
_CORRUPT = """
UPDATE aeterna_ops.drill_marker SET number = -number - 1
 WHERE drill = %s AND number >= 0
"""
_LONGEST_ANSWER = 1000  # rows


class PostgresMarkers:
    """Rows of ``aeterna_ops.drill_marker``. An attempt ends after ``timeout`` seconds, also where
    the server is frozen and its kernel goes on acknowledging bytes."""

    def __init__(self, settings: PostgresSettings, drill: str, timeout: float) -> None:
        self._settings = settings.model_copy(
            update={"connect_timeout": timeout, "statement_timeout": timeout}
        )
        self._drill = drill
        self._timeout = timeout
        self._connection: Connection | None = None
        self._server = ""
        self._warnings: list[str] = []

    def close(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def prepare(self) -> None:
        with self._used() as connection:
            if connection.execute(_SCHEMA_MISSING).fetchone() == (True,):
                connection.execute("CREATE SCHEMA aeterna_ops")
            if connection.execute(_TABLE_THERE).fetchone() != (True,):
                connection.execute(_TABLE)

    def write(self, number: int) -> Written:
        """Committed, and as durable as this cluster promises.

        A commit that comes back with a warning is not: the server gave up waiting for its
        synchronous replica (``TransientError('marker_not_durable')``). Source: PostgreSQL,
        ``SyncRepWaitForLSN``: the transaction has already committed locally.
        """
        try:
            self._open()
        except AeternaError as error:
            raise NotSentError(error.code, error.message) from error
        self._warnings.clear()
        with self._used() as connection:
            connection.execute(_WRITE, (self._drill, number))
        if self._warnings:
            raise TransientError(
                "marker_not_durable",
                f"PostgreSQL acknowledged with a warning: {self._warnings[0]}",
            )
        return Written(self._server)

    def read(self) -> set[int]:
        """Also of a restored server that never had the table."""
        query = "SELECT number FROM aeterna_ops.drill_marker WHERE drill = %s"
        with self._used() as connection:
            if connection.execute(_TABLE_THERE).fetchone() != (True,):
                return set()
            return {int(row[0]) for row in connection.execute(query, (self._drill,))}

    def clear(self) -> None:
        with self._used() as connection:
            if connection.execute(_TABLE_THERE).fetchone() == (True,):
                query = "DELETE FROM aeterna_ops.drill_marker WHERE drill = %s"
                connection.execute(query, (self._drill,))

    def corrupt(self) -> tuple[datetime, int]:
        """Every marker of this drill gets a wrong number. The server's time just before, and how
        many there were."""
        with self._used() as connection:
            row = connection.execute("SELECT clock_timestamp()").fetchone()
            changed = connection.execute(_CORRUPT, (self._drill,)).rowcount
        if row is None:
            raise RefusedError("postgres_silent", "PostgreSQL did not tell its time")
        return row[0], changed

    def clock(self) -> datetime:
        """The server's time now."""
        with self._used() as connection:
            row = connection.execute("SELECT clock_timestamp()").fetchone()
        if row is None:
            raise RefusedError("postgres_silent", "PostgreSQL did not tell its time")
        moment: datetime = row[0]
        return moment

    def _open(self) -> Connection:
        if self._connection is None:
            connection = connect(self._settings)
            connection.add_notice_handler(self._noticed)
            with postgres_errors():
                row = connection.execute(_WHO).fetchone()
            self._server = str(row[0]) if row and row[0] else ""
            self._connection = connection
        return self._connection

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self._warnings.append(notice.message_primary or "a warning without words")

    @contextmanager
    def _used(self) -> Iterator[Connection]:
        """The connection for one attempt; after any fault the next one opens another."""
        connection = self._open()
        cut = _Cut(connection, self._timeout)
        try:
            with postgres_errors(), cut:
                yield connection
        except BaseException:
            self.close()
            raise


class _Cut:
    """Shuts a connection's socket when the block takes too long: libpq then sees its end."""

    def __init__(self, connection: Connection, seconds: float) -> None:
        self._number = os.dup(connection.fileno())
        self._timer = threading.Timer(seconds + 0.25, self._shut)  # statement_timeout comes first
        self._timer.daemon = True

    def _shut(self) -> None:
        with suppress(OSError), socket.socket(fileno=os.dup(self._number)) as link:
            link.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
        os.close(self._number)


def question(settings: PostgresSettings, query: str, timeout: float) -> Any:
    """One read-only statement's answer: a single value, a row as a list, or a list of rows.

    Sent by the extended protocol, which takes one statement: nothing can end the read-only
    transaction and go on. Errors as of ``postgres_errors``.
    """
    limited = settings.model_copy(update={"connect_timeout": timeout, "statement_timeout": timeout})
    with postgres_errors(), connect(limited, autocommit=False) as connection:
        connection.read_only = True
        with _Cut(connection, timeout):
            cursor = connection.execute(query.encode(), (), prepare=True)
            rows = cursor.fetchmany(_LONGEST_ANSWER) if cursor.description else []
            connection.rollback()
    plain = [[_plain(value) for value in row] for row in rows]
    if len(plain) == 1:
        return plain[0][0] if len(plain[0]) == 1 else plain[0]
    return plain


def _plain(value: Any) -> Any:
    from decimal import Decimal

    if value is None or isinstance(value, bool | int | float | str):
        return value
    return float(value) if isinstance(value, Decimal) else str(value)
