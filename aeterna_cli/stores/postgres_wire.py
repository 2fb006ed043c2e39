"""Replication commands and COPY streams over libpq, one message at a time.

Every wait is a ``poll`` with a bound, so stop conditions are seen; nothing is collected. psycopg
has no COPY BOTH of its own, and its blocking calls would hold the interpreter.
Source: postgresql.org/docs/18/protocol-replication.html and libpq-copy.html.
"""

import select
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import Any

from psycopg import pq

from aeterna_cli.errors import AeternaError, RemoteError
from aeterna_cli.stores.postgres_connection import Connection
from aeterna_cli.stores.postgres_faults import explained

POLL = 0.2  # seconds between two questions whether to stop

Explain = Callable[[str, str], AeternaError]


def lsn_number(text: str) -> int:
    """The position of PostgreSQL's ``0/1A2B3C4D``."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def literal(text: str) -> str:
    """A string of the replication grammar: quotes are doubled, a backslash is itself."""
    return "'" + text.replace("'", "''") + "'"


def identifier(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def goes_on() -> None:
    """The stop condition of work that nobody stops."""


def wait(connection: "pq.abc.PGconn", seconds: float = POLL) -> None:
    """Returns when something came, could be sent, or ``seconds`` are over."""
    poll = select.poll()
    sending = connection.nonblocking and connection.flush()
    poll.register(connection.socket, select.POLLIN | (select.POLLOUT if sending else 0))
    poll.poll(seconds * 1000)
    connection.consume_input()


def result(
    connection: "pq.abc.PGconn",
    between: Callable[[], None] = goes_on,
    explain: Explain = explained,
) -> "pq.abc.PGresult | None":
    """The next result; None when the command has ended. A failed one is raised as our error.

    ``between`` is called at least every ``POLL`` seconds and ends the wait by raising.
    """
    while connection.is_busy():
        between()
        wait(connection)
    found = connection.get_result()
    if found is None or found.status not in (
        pq.ExecStatus.FATAL_ERROR,
        pq.ExecStatus.BAD_RESPONSE,
    ):
        return found
    state = (found.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    said = found.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or found.error_message
    raise explain(state, " ".join(said.decode("utf-8", "replace").split()))


def rows(connection: Connection, command: str) -> list[list[bytes | None]]:
    """All rows of a short replication command."""
    pgconn = connection.pgconn
    pgconn.send_query(command.encode())
    found: list[list[bytes | None]] = []
    while (answer := result(pgconn)) is not None:
        columns = range(answer.nfields)
        found += [[answer.get_value(row, one) for one in columns] for row in range(answer.ntuples)]
    return found


def row(connection: Connection, command: str) -> list[bytes | None]:
    """The one row of a command that always has one."""
    found = rows(connection, command)
    if not found:
        raise RemoteError(
            "replication_protocol", f"the server gave no answer to {command.split(maxsplit=1)[0]}"
        )
    return found[0]


def text(answer: "pq.abc.PGresult", number: int, column: int) -> str:
    return (answer.get_value(number, column) or b"").decode()


@dataclass
class CopyStream:
    """The messages of a COPY, each a view that belongs to the caller.

    ``between`` is called at least every ``POLL`` seconds, also when nothing comes: it may raise,
    or return True to leave the stream. ``heard`` is when the last message came (monotonic).
    """

    connection: "pq.abc.PGconn"
    between: Callable[[], bool | None]
    heard: float = 0.0

    def __iter__(self) -> Iterator[memoryview]:
        pgconn: Any = self.connection
        get, asked = pgconn.get_copy_data, 0.0
        self.heard = monotonic()
        looked = True  # whether what lies in the socket was taken since the last message
        while True:
            now = monotonic()
            if now - asked >= POLL:
                asked = now
                if self.between():
                    return
            size, message = get(1)
            if size > 0:
                self.heard, looked = now, False
                yield message
            elif size == 0 and not looked:
                pgconn.consume_input()  # under load the next one is there: no poll for each
                looked = True
            elif size == 0:
                wait(pgconn)
            else:
                return
