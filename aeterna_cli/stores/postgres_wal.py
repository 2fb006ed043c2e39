"""A PostgreSQL cluster as its WAL receiver sees it: which timelines it went through, which WAL it
still has, and the stream from any position of it."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from time import monotonic

from aeterna_cli.errors import RefusedError
from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores import postgres_replication
from aeterna_cli.stores.base.postgres import WalSink
from aeterna_cli.stores.postgres_connection import connect_physical, postgres_errors

_PROBE_SECONDS = 5.0  # a server that has the WAL sends it at once


@dataclass(frozen=True)
class ServerWal:
    """Where a cluster is. ``switches`` are its earlier timelines, oldest first, each with the LSN
    at which it was left; ``position`` is the end of its flushed WAL."""

    system_identifier: str
    timeline: int
    position: int
    segment_size: int
    switches: tuple[tuple[int, int], ...]


class WalSource:
    """The WAL of one cluster. Each call has a connection of its own; errors are those of
    ``postgres_errors`` and ``postgres_replication.stream``."""

    def __init__(self, settings: PostgresSettings) -> None:
        self._settings = settings

    def where(self) -> ServerWal:
        with postgres_errors(), closing(connect_physical(self._settings)) as connection:
            system = postgres_replication.identify(connection)
            earlier: tuple[tuple[int, int], ...] = ()
            if system.timeline > 1:
                _, content = postgres_replication.history(connection, system.timeline)
                found = postgres_replication.switches(content)
                earlier = tuple((one.timeline, one.end) for one in found)
            size = postgres_replication.segment_size(connection)
        return ServerWal(system.identifier, system.timeline, system.position, size, earlier)

    def has(self, timeline: int, position: int, segment_size: int) -> bool:
        """Whether the server can still send its WAL from ``position`` on.

        True also for a position at the very end of the WAL, where there is nothing to send yet.
        """
        probe = _Probe()
        deadline = monotonic() + _PROBE_SECONDS
        try:
            self.stream(
                probe,
                slot=None,
                start=(timeline, position),
                segment_size=segment_size,
                until=lambda: probe.received or monotonic() > deadline,
            )
        except RefusedError as error:
            if error.code != "wal_gap":
                raise
            return False
        return True

    def stream(
        self,
        sink: WalSink,
        *,
        slot: str | None,
        start: tuple[int, int],
        segment_size: int,
        until: Callable[[], bool],
    ) -> None:
        """Stream from ``start`` (timeline, LSN) until ``until``, over timeline switches."""
        with postgres_errors(), closing(connect_physical(self._settings)) as connection:
            postgres_replication.stream(
                connection, sink, slot=slot, start=start, segment=segment_size, until=until
            )


class _Probe:
    """A sink that only sees whether something comes; it calls nothing flushed."""

    received = False
    flushed = 0

    def begin(self, timeline: int, start: int) -> None:
        """Nothing is kept."""

    def write(self, start: int, data: memoryview) -> None:
        self.received = True

    def tick(self) -> None:
        """Nothing waits."""

    def flush(self) -> None:
        """Nothing is kept."""

    def history(self, timeline: int, filename: str, content: bytes) -> None:
        """Nothing is kept."""
