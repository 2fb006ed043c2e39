"""BASE_BACKUP: one COPY stream with every tar archive and the server's manifest.

Source: postgresql.org/docs/18/protocol-replication.html, BASE_BACKUP; measured on 15 and 18.
"""

import struct
from collections.abc import Callable

from psycopg import pq

from aeterna_cli.errors import InterruptedByUser, RemoteError
from aeterna_cli.stores.base.postgres import BaseBackupResult, BaseBackupSink, Tablespace
from aeterna_cli.stores.postgres_connection import Connection
from aeterna_cli.stores.postgres_wire import CopyStream, literal, lsn_number, result, text

_RATES = (32, 1 << 20)  # kB/s that the server takes


def base_backup(
    connection: Connection,
    label: str,
    sink: BaseBackupSink,
    *,
    stop: Callable[[], bool],
    max_rate_kb: int = 0,
    checkpoint_fast: bool = True,
) -> BaseBackupResult:
    """Stream a base backup; ``sink`` gets every archive in order, then the server's manifest.

    ``connection`` is a physical walsender and is of no use after an error. The server checks its
    pages while it reads them: ``RemoteError('postgres_pages_damaged')`` at the end of the stream.
    """
    pgconn = connection.pgconn

    def between() -> None:
        if stop():
            raise InterruptedByUser("interrupted", "stopped during the base backup")

    pgconn.send_query(_command(label, max_rate_kb, checkpoint_fast).encode())
    positions: list[tuple[int, int]] = []
    spaces: tuple[Tablespace, ...] = ()
    while (answer := result(pgconn, between)) is not None:
        if answer.status == pq.ExecStatus.COPY_OUT:
            _take_archives(CopyStream(pgconn, between), sink)
        elif answer.status == pq.ExecStatus.TUPLES_OK and answer.nfields == 2:
            positions.append((lsn_number(text(answer, 0, 0)), int(text(answer, 0, 1))))
        elif answer.status == pq.ExecStatus.TUPLES_OK:
            spaces = _tablespaces(answer)
    if len(positions) != 2:
        raise RemoteError("base_backup_incomplete", "the server ended the base backup early")
    (start, timeline), (end, _) = positions
    return BaseBackupResult(start, end, timeline, spaces)


def _command(label: str, max_rate_kb: int, checkpoint_fast: bool) -> str:
    options = [
        f"LABEL {literal(label)}",
        f"CHECKPOINT '{'fast' if checkpoint_fast else 'spread'}'",
        "WAIT false",  # for archiving: the WAL is taken by a stream of our own
        "PROGRESS true",
        "TABLESPACE_MAP true",
        "MANIFEST 'yes'",
        "MANIFEST_CHECKSUMS 'CRC32C'",  # against accidents on disk; the volumes have SHA-256
    ]
    if max_rate_kb:
        slowest, fastest = _RATES
        options.append(f"MAX_RATE {min(max(max_rate_kb, slowest), fastest)}")
    return f"BASE_BACKUP ({', '.join(options)})"


def _tablespaces(answer: "pq.abc.PGresult") -> tuple[Tablespace, ...]:
    """All but the data directory itself, which has no oid."""
    return tuple(
        Tablespace(int(text(answer, row, 0)), text(answer, row, 1))
        for row in range(answer.ntuples)
        if answer.get_value(row, 0) is not None
    )


def _take_archives(stream: CopyStream, sink: BaseBackupSink) -> None:
    """'n' begins an archive, 'm' the manifest, 'd' is data of either, 'p' the server's count."""
    deliver: Callable[[memoryview], None] = sink.data
    for message in stream:
        kind = message[0]
        if kind == ord("d"):
            deliver(message[1:])
        elif kind == ord("n"):
            sink.archive(bytes(message[1:]).partition(b"\0")[0].decode())
            deliver = sink.data
        elif kind == ord("m"):
            deliver = sink.manifest
        elif kind == ord("p"):
            sink.progress(struct.unpack(">Q", message[1:9])[0])
        else:
            raise RemoteError(
                "base_backup_protocol", f"unknown message {chr(kind)!r} in a base backup"
            )
