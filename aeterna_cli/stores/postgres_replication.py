"""The replication protocol over libpq: BASE_BACKUP and START_REPLICATION PHYSICAL.

Every wait is a ``select`` with a bound, so that signals and stop conditions are seen; a COPY stream
is taken message by message, nothing is collected.
Source: postgresql.org/docs/18/protocol-replication.html.
"""

import select
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import monotonic, time
from typing import Any

import psycopg
from psycopg import pq, sql

from aeterna_cli.errors import ConflictError, RefusedError, RemoteError, TransientError
from aeterna_cli.stores.base.postgres import BaseBackupResult, BaseBackupSink, Tablespace, WalSink
from aeterna_cli.stores.postgres_connection import Connection, typed, wal_gap

_POLL = 0.2  # seconds between looks at the stop condition
_STATUS = 1.0  # seconds between reports of the flushed position
_SILENCE = 60.0  # seconds without a byte from a server that sends keepalives every few
_POSTGRES_EPOCH = 946_684_800  # 2000-01-01 in Unix seconds


@dataclass(frozen=True)
class System:
    """IDENTIFY_SYSTEM."""

    identifier: str
    timeline: int
    position: int


def lsn_number(text: str) -> int:
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


def lsn_text(position: int) -> str:
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def identify(connection: Connection) -> System:
    row = next(_rows(connection.pgconn, b"IDENTIFY_SYSTEM"))
    return System(row[0], int(row[1]), lsn_number(row[2]))


# -- base backup


def base_backup(
    connection: Connection, label: str, sink: BaseBackupSink, *, max_rate_kb: int = 0
) -> BaseBackupResult:
    """Stream a base backup; ``sink`` gets every archive in order, then the server's manifest.

    ``connection`` is a physical walsender. An error of ``sink`` passes through and leaves the
    connection unusable. The server checks its pages' checksums while it reads.
    """
    connection.pgconn.send_query(_backup_command(label, max_rate_kb))
    start = end = None
    spaces: tuple[Tablespace, ...] = ()
    for result in _results(connection.pgconn):
        if result.status == pq.ExecStatus.COPY_OUT:
            _take_archives(connection.pgconn, sink)
        elif result.status == pq.ExecStatus.TUPLES_OK:
            if start is None:
                start = _position_row(result)
            elif result.nfields >= 3:
                spaces = _tablespaces(result)
            else:
                end = _position_row(result)
    if start is None or end is None:
        raise RemoteError("base_backup_incomplete", "the server ended the base backup early")
    return BaseBackupResult(start[0], end[0], end[1], spaces)


def _backup_command(label: str, max_rate_kb: int) -> bytes:
    options = [
        sql.SQL("LABEL {}").format(sql.Literal(label)),
        sql.SQL("CHECKPOINT 'fast', WAIT false, PROGRESS true, TABLESPACE_MAP true"),
        sql.SQL("MANIFEST 'yes', MANIFEST_CHECKSUMS 'SHA256', TARGET 'client'"),
    ]
    if max_rate_kb:
        # Source: the server takes 32 kB/s to 1 GB/s
        rate = min(max(max_rate_kb, 32), 1_048_576)
        options.append(sql.SQL("MAX_RATE {}").format(sql.Literal(rate)))
    command = sql.SQL("BASE_BACKUP ({})").format(sql.SQL(", ").join(options))
    return command.as_bytes(None)


def _position_row(result: "pq.abc.PGresult") -> tuple[int, int]:
    return lsn_number(_value(result, 0, 0)), int(_value(result, 0, 1))


def _tablespaces(result: "pq.abc.PGresult") -> tuple[Tablespace, ...]:
    rows = range(result.ntuples)
    return tuple(
        Tablespace(int(_value(result, row, 0)), _value(result, row, 1))
        for row in rows
        if result.get_value(row, 0) is not None
    )


def _take_archives(connection: "pq.abc.PGconn", sink: BaseBackupSink) -> None:
    """One CopyOut for all: 'n' begins an archive, 'm' the manifest, 'd' is data of either."""
    deliver: Callable[[memoryview], None] = sink.data
    for message in _copy_messages(connection, _never):
        kind = bytes(message[:1])
        if kind == b"d":
            deliver(message[1:])
        elif kind == b"n":
            sink.archive(bytes(message[1:]).partition(b"\0")[0].decode())
            deliver = sink.data
        elif kind == b"m":
            deliver = sink.manifest
        elif kind == b"p":
            sink.progress(struct.unpack(">Q", message[1:9])[0])
        else:
            raise RemoteError("base_backup_protocol", f"unknown message {kind!r} in a base backup")


# -- WAL


def create_temporary_slot(connection: Connection, name: str) -> int:
    """A slot that lives as long as this connection and holds WAL from the returned position on."""
    command = sql.SQL("CREATE_REPLICATION_SLOT {} TEMPORARY PHYSICAL RESERVE_WAL").format(
        sql.Identifier(name)
    )
    row = next(_rows(connection.pgconn, command.as_bytes(None)))
    return lsn_number(row[1])


def stream(
    connection: Connection,
    sink: WalSink,
    *,
    slot: str | None,
    timeline: int,
    start: int,
    until: Callable[[], bool],
) -> None:
    """Stream WAL from ``start`` on, following timeline switches, until ``until`` says so.

    ``until`` is asked at least every ``_POLL`` seconds. The flushed position that is reported is
    ``sink.flushed``. ``RefusedError('wal_gap')`` where the WAL is gone; ``TransientError`` when the
    server goes away: the caller connects again and goes on from ``sink.flushed``.
    """
    while True:
        _fetch_history(connection, sink, timeline)
        sink.begin(timeline, start)
        _start(connection.pgconn, slot, timeline, start)
        following = _until_switch(connection.pgconn, sink, until)
        sink.flush()
        if following is None:
            return
        timeline, start = following


def _fetch_history(connection: Connection, sink: WalSink, timeline: int) -> None:
    if timeline == 1:
        return
    row = next(_rows(connection.pgconn, f"TIMELINE_HISTORY {timeline}".encode(), raw=True))
    sink.history(timeline, row[0].decode(), row[1])


def _start(connection: "pq.abc.PGconn", slot: str | None, timeline: int, start: int) -> None:
    named = sql.SQL("SLOT {} ").format(sql.Identifier(slot)) if slot else sql.SQL("")
    command = sql.SQL("START_REPLICATION {}PHYSICAL {} TIMELINE {}").format(
        named, sql.SQL(lsn_text(start)), sql.Literal(timeline)
    )
    connection.send_query(command.as_bytes(None))
    result = _result(connection)
    if result is None or result.status != pq.ExecStatus.COPY_BOTH:
        raise RemoteError("replication_protocol", "the server did not begin to stream")


def _until_switch(
    connection: "pq.abc.PGconn", sink: WalSink, until: Callable[[], bool]
) -> tuple[int, int] | None:
    """Take WAL until ``until`` (None) or the end of the timeline (the next one and its start)."""
    report = _Report(connection, sink)

    def between() -> bool:
        sink.tick()
        report.when_due()
        return until()

    for message in _copy_messages(connection, between):
        kind = bytes(message[:1])
        if kind == b"w":
            position: int = struct.unpack(">Q", message[1:9])[0]
            sink.write(position, message[25:])
        elif kind == b"k":
            if message[17]:
                report.now()
        else:
            raise RemoteError("replication_protocol", f"unknown message {kind!r} in a WAL stream")
    sink.flush()
    report.now()
    return _end_of_stream(connection)


def _end_of_stream(connection: "pq.abc.PGconn") -> tuple[int, int] | None:
    """Leave the COPY; what the server then says is where the next timeline begins, if any."""
    connection.put_copy_end()
    connection.flush()
    following = None
    deadline = monotonic() + _SILENCE
    while (result := _result(connection, deadline)) is not None:
        if result.status == pq.ExecStatus.COPY_OUT:
            for _message in _copy_messages(connection, _never):
                pass  # WAL that was on its way when we stopped: it will be sent again
        elif result.status == pq.ExecStatus.TUPLES_OK and result.ntuples:
            following = (int(_value(result, 0, 0)), lsn_number(_value(result, 0, 1)))
    return following


class _Report:
    """Standby status updates: only what survives our own death is called flushed."""

    def __init__(self, connection: "pq.abc.PGconn", sink: WalSink) -> None:
        self._connection = connection
        self._sink = sink
        self._next = 0.0

    def when_due(self) -> None:
        if monotonic() >= self._next:
            self.now()

    def now(self) -> None:
        flushed = self._sink.flushed
        moment = round((time() - _POSTGRES_EPOCH) * 1_000_000)
        message = struct.pack(">cQQQqB", b"r", flushed, flushed, 0, moment, 0)
        self._connection.put_copy_data(message)
        self._connection.flush()
        self._next = monotonic() + _STATUS


# -- libpq


def _never() -> bool:
    return False


def _copy_messages(connection: "pq.abc.PGconn", stop: Callable[[], bool]) -> Iterator[memoryview]:
    """The messages of a COPY until its end or until ``stop``; ``stop`` is asked every ``_POLL``."""
    heard = monotonic()
    asked = 0.0
    while True:
        now = monotonic()
        if now - asked >= _POLL:
            asked = now
            if stop():
                return
        size, message = connection.get_copy_data(1)
        if size > 0:
            heard = now
            yield message
        elif size == 0:
            if now - heard > _SILENCE and stop is not _never:
                raise TransientError(
                    "postgres_silent", "the server has not said anything for a minute"
                )
            _wait(connection, _POLL)
        else:
            if size == -2:
                raise _failure(connection)
            return


def _wait(connection: "pq.abc.PGconn", seconds: float) -> None:
    ready, _, _ = select.select([connection.socket], [], [], seconds)
    if ready:
        try:
            connection.consume_input()
        except psycopg.Error as error:
            raise typed(error) from error


def _result(connection: "pq.abc.PGconn", deadline: float | None = None) -> "pq.abc.PGresult | None":
    """The next result, an error raised as ours; None when the command has ended."""
    while connection.is_busy():
        if deadline is not None and monotonic() > deadline:
            raise TransientError("postgres_silent", "the server does not end the stream")
        _wait(connection, _POLL)
    result = connection.get_result()
    if result is not None and result.status in (
        pq.ExecStatus.FATAL_ERROR,
        pq.ExecStatus.BAD_RESPONSE,
    ):
        raise _result_error(result)
    return result


def _results(connection: "pq.abc.PGconn") -> Iterator[Any]:
    while (result := _result(connection)) is not None:
        yield result


def _rows(connection: "pq.abc.PGconn", command: bytes, *, raw: bool = False) -> Iterator[list[Any]]:
    """The rows of a replication command; every result is taken before the first row is given."""
    connection.send_query(command)
    rows: list[list[Any]] = []
    for result in _results(connection):
        for row in range(result.ntuples):
            values = [result.get_value(row, column) or b"" for column in range(result.nfields)]
            rows.append(values if raw else [value.decode() for value in values])
    if not rows:
        raise RemoteError(
            "replication_protocol", "the server gave no answer to a replication command"
        )
    return iter(rows)


def _value(result: "pq.abc.PGresult", row: int, column: int) -> str:
    return (result.get_value(row, column) or b"").decode()


def _result_error(result: "pq.abc.PGresult") -> Exception:
    said = " ".join(result.error_message.decode("utf-8", "replace").split())
    state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
    if state == "58P01" or "has already been removed" in said or "can no longer" in said:
        return wal_gap(said)
    if state == "55006":
        return ConflictError(
            "slot_in_use",
            f"another receiver uses the slot: {said}",
            hint="one receiver per slot; is the service running on another host?",
        )
    if state == "42704":
        return RefusedError(
            "slot_missing",
            f"the replication slot is not there: {said}",
            hint="WAL since the last receiver may be gone: take a new backup",
            next_steps=["aeterna-cli doctor"],
        )
    error = psycopg.OperationalError(said)
    error.sqlstate = state or None
    return typed(error)


def _failure(connection: "pq.abc.PGconn") -> Exception:
    said = connection.error_message.decode("utf-8", "replace").strip()
    return TransientError("postgres_unreachable", f"PostgreSQL went away: {said}")
