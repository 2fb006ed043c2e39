"""The whole server as one RDB, by the replication protocol: no access to its files is needed.

We introduce ourselves as a replica that wants the RDB only. The server forks, so the image is of
one moment; it arrives as ``$<length>`` (from a file) or ``$EOF:<40 bytes>`` (diskless), after line
feeds that keep the connection alive while the fork works.
Source: replication.c and rdb.c of Redis 7.0 and Valkey 9.1; the RDB ends with opcode 0xFF and a
CRC64 (Jones, reflected, initial value 0, little endian) of everything before, 0 where switched off.
"""

import re
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import anycrc

from aeterna_cli.errors import (
    AeternaError,
    InterruptedByUser,
    RefusedError,
    RemoteError,
    TransientError,
)
from aeterna_cli.stores import redis_info
from aeterna_cli.stores.base.redis import RdbResult
from aeterna_cli.stores.redis_connection import ErrorReply, RedisConnection, error_of, pack

Sink = Callable[[memoryview], object]
Stop = Callable[[], bool]

MAGIC = re.compile(rb"(REDIS|VALKEY)\d{3,4}")
_MAGIC_BYTES = 9
_TRAILER = 9  # the end opcode and eight bytes of CRC64
_MARK = 40
_BUFFER = 1 << 20
_POLL = 0.5  # seconds between two looks at ``stop``
_HEAD = 512

_Read = TypeVar("_Read")


def written_by(head: bytes) -> str:
    """The version that wrote an RDB, from its first auxiliary fields; "" where it does not say."""
    found = re.search(rb"(?:redis|valkey)-ver(.)", head, re.DOTALL)
    if found is None:
        return ""
    start = found.end()
    return head[start : start + found.group(1)[0]].decode(errors="replace")


class RdbCheck:
    """Follows an RDB as it passes: its head, its end and its checksum."""

    def __init__(self) -> None:
        self._crc = anycrc.Model("CRC64-REDIS")
        self._sum = 0
        self._tail = b""
        self.head = b""
        self.bytes = 0

    def update(self, data: memoryview) -> None:
        if len(self.head) < _HEAD:
            self.head += bytes(data[: _HEAD - len(self.head)])
        self._sum = self._crc.calc(data, self._sum)
        self._tail = (self._tail + bytes(data[-_TRAILER:]))[-_TRAILER:]
        self.bytes += len(data)

    def finish(self) -> int | None:
        """The verified CRC64, None where the writer left it out.

        ``RemoteError``: ``rdb_invalid`` for what is no whole RDB, ``rdb_checksum`` for a damaged
        one. A CRC over data followed by their own CRC is zero.
        """
        if not MAGIC.match(self.head) or len(self._tail) < _TRAILER or self._tail[0] != 0xFF:
            raise RemoteError("rdb_invalid", "what the server sent is not a whole RDB")
        checksum = int.from_bytes(self._tail[1:], "little")
        if checksum == 0:
            return None
        if self._sum != 0:
            raise RemoteError(
                "rdb_checksum",
                "the RDB does not match its own checksum",
                hint="it was damaged on its way or in the server's memory; capture it again",
            )
        return checksum


class _Stream:
    """One full synchronisation on a connection that is closed when it ends."""

    def __init__(self, link: RedisConnection, sink: Sink, stop: Stop, silence: float) -> None:
        self._link, self._sink, self._stop, self._silence = link, sink, stop, silence
        self.check = RdbCheck()
        self.offset: int | None = None

    def introduce(self, version: str | None) -> None:
        words = [["capa", "eof", "capa", "psync2"], ["rdb-only", "1"]]
        if version is not None:
            words.append(["version", version])
        answers = self._link.replies([["REPLCONF", *word] for word in words])
        refused = [answer for answer in answers[:2] if isinstance(answer, ErrorReply)]
        if refused:
            raise _refused(refused[0], self._link.description)

    def run(self) -> None:
        self._link.send(pack(["PSYNC", "?", "-1"]))
        line = self._line()
        if line.startswith(b"+FULLRESYNC"):
            self.offset = int(line.split()[2])
            line = self._line()
        if line.startswith(b"-"):
            reply = ErrorReply(line[1:].decode(errors="replace").split(", with args")[0])
            raise _refused(reply, self._link.description)
        if line.startswith(b"$EOF:") and len(line) == 5 + _MARK:
            self._until_mark(line[5:])
        elif re.fullmatch(rb"\$\d+", line):
            self._sized(int(line[1:]))
        else:
            raise RemoteError(
                "rdb_invalid", f"{self._link.description} began its RDB with {line[:40]!r}"
            )

    def _line(self) -> bytes:
        """The next line; empty ones are the server's way to say that it still works."""
        while True:
            if line := self._patiently(lambda: self._link.line(_POLL)):
                return line

    def _patiently(self, read: Callable[[], _Read]) -> _Read:
        """What ``read`` gives, asked again until the server was silent for too long."""
        deadline = time.monotonic() + self._silence
        while True:
            if self._stop():
                raise InterruptedByUser(
                    "interrupted", f"stopped after {self.check.bytes} bytes of the RDB"
                )
            try:
                return read()
            except TransientError as error:
                raise self._cut(error) from error
            except TimeoutError as error:
                if time.monotonic() > deadline:
                    raise TransientError(
                        "redis_timeout",
                        f"{self._link.description} was silent for {self._silence:g} s "
                        f"after {self.check.bytes} bytes of its RDB",
                        hint="is its disk slow, or its memory too tight to fork?",
                    ) from error

    def _receive(self, view: memoryview) -> int:
        return self._patiently(lambda: self._link.receive_into(view, _POLL))

    def _cut(self, error: TransientError) -> TransientError:
        if error.code != "redis_connection_lost":
            return error
        return TransientError(
            "rdb_cut",
            f"{self._link.description} ended its RDB after {self.check.bytes} bytes",
            hint="it stopped, could not fork or save, or cut us off as too slow "
            "(client-output-buffer-limit replica); its log says which",
        )

    def _deliver(self, data: memoryview) -> None:
        if data:
            self.check.update(data)
            self._sink(data)

    def _sized(self, size: int) -> None:
        view = memoryview(bytearray(_BUFFER))
        while size:
            received = self._receive(view[: min(size, len(view))])
            self._deliver(view[:received])
            size -= received

    def _until_mark(self, mark: bytes) -> None:
        """All but the last 40 bytes received are RDB for certain; those may be the mark."""
        view = memoryview(bytearray(_BUFFER))
        held = 0
        while True:
            held += self._receive(view[held:])
            if view[max(0, held - _MARK) : held] == mark:
                self._deliver(view[: held - _MARK])
                return
            sure = max(0, held - _MARK)
            self._deliver(view[:sure])
            view[: held - sure] = bytes(view[sure:held])
            held -= sure


def _refused(reply: ErrorReply, description: str) -> AeternaError:
    if reply.kind == "NOPERM" or reply.command_missing:
        return RefusedError(
            "sync_refused",
            f"{description} does not hand out its RDB: {reply}",
            hint="give our user +psync +replconf, or take a logical capture (managed servers)",
        )
    return error_of(reply, description)


def _formats(connect: Callable[[], RedisConnection]) -> Sequence[str | None]:
    """The formats to ask for, one after another: None is the portable one, else a version's own."""
    link = connect()
    try:
        facts = redis_info.info(link)
    finally:
        link.close()
    own = redis_info.version_of(facts)[1]
    return [own] if redis_info.has_field_times(facts) else [None, own]


def capture(
    connect: Callable[[], RedisConnection], sink: Sink, *, stop: Stop, silence: float
) -> RdbResult:
    """Stream the server's RDB into ``sink``; at most about 1 MiB of it is held at a time.

    ``sink`` gets memory that is used again: it takes its bytes before it returns. When this
    returns the RDB is whole and its checksum verified. On failure the sink holds a part to be
    thrown away. The image is portable (``REDIS0011`` from Valkey 9) unless hash fields have times
    of their own: then it is the server's own format, which only such a server reads.
    ``RefusedError('sync_refused')`` where the server does not hand out its RDB;
    ``TransientError('rdb_cut')`` where the stream ends early; ``RemoteError('rdb_checksum')``;
    ``InterruptedByUser`` within a second after ``stop`` became true.
    """
    formats = _formats(connect)
    begun = time.monotonic()
    for version in formats:
        link = connect()
        stream = _Stream(link, sink, stop, silence)
        try:
            stream.introduce(version)
            stream.run()
            break
        except TransientError as error:
            # A field time that was set just now makes the portable format impossible.
            if error.code != "rdb_cut" or stream.check.bytes or version == formats[-1]:
                raise
        finally:
            link.close()
    checksum = stream.check.finish()
    return RdbResult(
        bytes=stream.check.bytes,
        crc64=checksum,
        replication_offset=stream.offset,
        seconds=time.monotonic() - begun,
        version=stream.check.head[:_MAGIC_BYTES].decode("ascii"),
        written_by=written_by(stream.check.head),
    )
