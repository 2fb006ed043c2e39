"""Physical WAL, streamed: START_REPLICATION, slots, and from one timeline to the next.

Source: postgresql.org/docs/18/protocol-replication.html; timeline history files: one line
``parent<TAB>switchpoint<TAB>reason`` per ancestor.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, time

from psycopg import pq

from aeterna_cli.errors import RefusedError, RemoteError, TransientError
from aeterna_cli.stores.base.postgres import WalSink
from aeterna_cli.stores.postgres_connection import Connection
from aeterna_cli.stores.postgres_faults import stream_fault
from aeterna_cli.stores.postgres_wire import (
    CopyStream,
    identifier,
    lsn_number,
    lsn_text,
    result,
    row,
    text,
)

_STATUS = 1.0  # seconds between two reports of the flushed position
_QUIET = 10.0  # seconds without a message after which the server is asked whether it is there
_PATIENCE = 20  # such questions, one a second, before it is given up
_SILENCE = 30.0  # seconds to wait for the answer to a command
_FAREWELL = 3.0  # seconds for the server to end a stream that we leave
_POSTGRES_EPOCH = 946_684_800  # 2000-01-01 in Unix seconds
_UNITS = {"B": 1, "kB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30}

Position = tuple[int, int]  # timeline, LSN


@dataclass(frozen=True)
class System:
    """IDENTIFY_SYSTEM: ``position`` is the end of the WAL that is safe on the server's disk."""

    identifier: str
    timeline: int
    position: int


@dataclass(frozen=True)
class Switch:
    """Where a timeline ends and the one after it begins."""

    timeline: int
    end: int


def identify(connection: Connection) -> System:
    values = [(value or b"").decode() for value in row(connection, "IDENTIFY_SYSTEM")]
    return System(values[0], int(values[1]), lsn_number(values[2]))


def segment_size(connection: Connection) -> int:
    """Bytes in a WAL segment file."""
    shown = (row(connection, "SHOW wal_segment_size")[0] or b"").decode()
    digits = shown.rstrip("kMGB")
    return int(digits) * _UNITS[shown[len(digits) :]]


def create_temporary_slot(connection: Connection, name: str) -> None:
    """A slot that lives as long as this connection; WAL written from now on is kept for it."""
    row(connection, f"CREATE_REPLICATION_SLOT {identifier(name)} TEMPORARY PHYSICAL RESERVE_WAL")


def temporary_begin(connection: Connection, slot: str, segment: int) -> Position:
    """From where a base backup that begins after this may need WAL.

    On a primary that is here. On a replica a backup begins at its last restartpoint, which lies
    back; the slot holds everything from there on.
    """
    if connection.pgconn.parameter_status(b"in_hot_standby") == b"on":
        return first_begin(connection, slot, segment)
    return first_begin(connection, None, segment)


def first_begin(connection: Connection, slot: str | None, segment: int) -> Position:
    """The segment of the slot's position; of the server's where there is no slot or it has none.

    ``RefusedError('slot_missing')`` where the named slot does not exist.
    """
    if slot is not None:
        kind, position, timeline = row(connection, f"READ_REPLICATION_SLOT {identifier(slot)}")
        if kind is None:
            raise stream_fault("42704", f'replication slot "{slot}" does not exist')
        if position is not None and timeline is not None:
            return int(timeline), _floor(lsn_number(position.decode()), segment)
    system = identify(connection)
    return system.timeline, _floor(system.position, segment)


def _floor(position: int, segment: int) -> int:
    return position - position % segment


def history(connection: Connection, timeline: int) -> tuple[str, bytes]:
    """The name and content of a timeline's history file; timeline 1 has none."""
    name, content = row(connection, f"TIMELINE_HISTORY {timeline}")
    return (name or b"").decode(), content or b""


def switches(content: bytes) -> list[Switch]:
    """The ancestors in a history file, oldest first."""
    lines = (line.split() for line in content.decode("utf-8", "replace").splitlines())
    fields = [words for words in lines if len(words) >= 2 and words[0].isdecimal()]
    return [Switch(int(words[0]), lsn_number(words[1])) for words in fields]


def continuation(
    connection: Connection, timeline: int | None, start: int, segment: int
) -> Position:
    """Where this server can go on for somebody who has ``timeline`` up to ``start``.

    After a failover that may be the next timeline, from the segment in which it branched off: what
    was received beyond belongs to a past that this server never had.
    ``RefusedError('timeline_unknown')`` where it does not descend from ``timeline``,
    ``RefusedError('wal_ahead_of_server')`` where it has gone back.
    """
    system = identify(connection)
    if timeline is None:
        timeline = system.timeline
    if timeline == system.timeline:
        if start > system.position:
            raise RefusedError(
                "wal_ahead_of_server",
                f"WAL up to {lsn_text(start)} was received, the server ends at"
                f" {lsn_text(system.position)} on the same timeline {timeline}",
                hint="an older copy was started without a new timeline, or this replica is behind",
                next_steps=["aeterna-cli backup create"],
            )
        return timeline, start
    known = switches(history(connection, system.timeline)[1]) if system.timeline > 1 else []
    for number, switch in enumerate(known):
        if switch.timeline == timeline:
            if start <= switch.end:
                return timeline, start
            after = known[number + 1].timeline if number + 1 < len(known) else system.timeline
            return after, _floor(switch.end, segment)
    raise RefusedError(
        "timeline_unknown",
        f"WAL of timeline {timeline} was received, but this server (timeline {system.timeline})"
        " does not descend from it",
        hint="it was restored from before the fork, or it is another copy of the cluster",
        next_steps=["aeterna-cli backup create"],
    )


def stream(
    connection: Connection,
    sink: WalSink,
    *,
    slot: str | None,
    start: Position,
    segment: int,
    until: Callable[[], bool],
    on_start: Callable[[int, int], None] | None = None,
) -> None:
    """Stream WAL from ``start`` on, over timeline switches, until ``until`` says so.

    ``until`` is asked at least every 0.2 s. Only ``sink.flushed`` is reported as flushed. A new
    timeline is taken from the start of the segment in which it begins, as the server's file is.
    ``on_start`` hears once from where the stream runs. The caller's answer to a ``TransientError``
    is a new connection from ``sink.flushed`` on.
    """
    connection.pgconn.nonblocking = 1
    following: Position | None = start
    while following is not None:
        timeline, position = following
        if timeline > 1:
            sink.history(timeline, *history(connection, timeline))
        command = f"PHYSICAL {lsn_text(position)} TIMELINE {timeline}"
        branch = _begin(
            connection.pgconn, f"SLOT {identifier(slot)} {command}" if slot else command
        )
        if branch is None:
            sink.begin(timeline, position)
            if on_start is not None:
                on_start(timeline, position)
                on_start = None
            branch = _until_switch(connection.pgconn, sink, until)
        following = (branch[0], _floor(branch[1], segment)) if branch else None


def _begin(pgconn: "pq.abc.PGconn", command: str) -> Position | None:
    """None when WAL comes; where nothing of this timeline is left, the next one and its start."""
    pgconn.send_query(f"START_REPLICATION {command}".encode())
    answer = result(pgconn, explain=stream_fault)
    if answer is not None and answer.status == pq.ExecStatus.COPY_BOTH:
        return None
    branch = _branch(pgconn, answer)
    if branch is None:
        raise RemoteError("replication_protocol", "the server did not begin to stream")
    return branch


def _branch(pgconn: "pq.abc.PGconn", answer: "pq.abc.PGresult | None") -> Position | None:
    """The next timeline, if the rest of a command's answers names one."""
    branch = None
    while answer is not None:
        if answer.status == pq.ExecStatus.TUPLES_OK and answer.ntuples:
            branch = int(text(answer, 0, 0)), lsn_number(text(answer, 0, 1))
        answer = result(pgconn, _deadline(), stream_fault)
    return branch


def _until_switch(
    pgconn: "pq.abc.PGconn", sink: WalSink, until: Callable[[], bool]
) -> Position | None:
    """Take WAL until ``until`` (None) or to the end of the timeline (the next one's start)."""
    report = _Report(pgconn, sink)
    left = False

    def between() -> bool:
        nonlocal left
        sink.tick()
        report.when_due(monotonic() - messages.heard)
        left = until()
        return left

    messages = CopyStream(pgconn, between)
    for message in messages:
        kind = message[0]
        if kind == ord("w"):
            sink.write(struct.unpack(">Q", message[1:9])[0], message[25:])
        elif kind == ord("k"):
            if message[17]:
                report.now()
        else:
            raise RemoteError(
                "replication_protocol", f"unknown message {chr(kind)!r} in a WAL stream"
            )
    sink.flush()
    if not left:
        return _follow(pgconn, report)
    _leave(pgconn, report)
    return None


def _follow(pgconn: "pq.abc.PGconn", report: "_Report") -> Position:
    """The server ended the stream: with its timeline, or because it shuts down."""
    answer = result(pgconn, _deadline(), stream_fault)
    if answer is not None and answer.status == pq.ExecStatus.COPY_IN:
        report.now()
        pgconn.put_copy_end()
        branch = _branch(pgconn, result(pgconn, _deadline(), stream_fault))
        if branch is not None:
            return branch
    raise TransientError("wal_stream_ended", "the server ended the WAL stream: is it shut down?")


def _leave(pgconn: "pq.abc.PGconn", report: "_Report") -> None:
    """Say what is flushed and end the stream. WAL still on its way will be sent again."""
    report.now()
    pgconn.put_copy_end()
    deadline = monotonic() + _FAREWELL
    for _message in CopyStream(pgconn, lambda: monotonic() > deadline):
        pass


def _deadline() -> Callable[[], None]:
    """A wait that ends with ``TransientError`` after ``_SILENCE``."""
    end = monotonic() + _SILENCE

    def check() -> None:
        if monotonic() > end:
            raise TransientError("postgres_silent", "PostgreSQL does not answer any more")

    return check


class _Report:
    """Standby status updates: only what survives our own death is called flushed."""

    def __init__(self, pgconn: "pq.abc.PGconn", sink: WalSink) -> None:
        self._pgconn = pgconn
        self._sink = sink
        self._next = 0.0
        self._unanswered = 0

    def when_due(self, quiet: float) -> None:
        """Report once a second. A server without writes says nothing, so it is asked to.

        Questions are counted, not seconds: a sink that took long must not look like silence.
        """
        if monotonic() < self._next:
            return
        asking = quiet > _QUIET
        self._unanswered = self._unanswered + 1 if asking else 0
        if self._unanswered > _PATIENCE:
            raise TransientError(
                "postgres_silent", f"PostgreSQL has not answered for {quiet:.0f} s"
            )
        self.now(answer=asking)

    def now(self, *, answer: bool = False) -> None:
        flushed = self._sink.flushed
        moment = round((time() - _POSTGRES_EPOCH) * 1_000_000)
        self._pgconn.put_copy_data(
            struct.pack(">cQQQq?", b"r", flushed, flushed, 0, moment, answer)
        )
        self._pgconn.flush()
        self._next = monotonic() + _STATUS
