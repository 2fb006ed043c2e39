"""The backup's own WAL: streamed through a temporary slot from before the base backup to past the
recovery point, so that a backup never depends on an archive."""

import threading
from typing import Protocol

from aeterna_cli.errors import AeternaError, TransientError
from aeterna_cli.repository.wal_archive import lsn_text
from aeterna_cli.repository.wal_sink import ChunkSink
from aeterna_cli.stores.base.postgres import PostgresStore

START_SECONDS = 60.0


class Checked(Protocol):
    def check(self) -> None: ...


class WalCapture:
    """Streams from its own thread between ``start`` and ``finish``; ``check`` raises what ended it.

    A cut connection loses the temporary slot and with it WAL that may be needed, so it ends the
    backup instead of reconnecting.
    """

    def __init__(self, server: PostgresStore, sink: ChunkSink) -> None:
        self._server = server
        self._sink = sink
        self._started = threading.Event()
        self._goal: int | None = None
        self._abandoned = False
        self._error: AeternaError | None = None
        self._thread = threading.Thread(target=self._run, name="wal-capture", daemon=True)
        self.timeline = 0
        self.first = 0  # LSN of the first byte streamed

    def start(self) -> None:
        """WAL is reserved and streaming from ``first`` on when this returns."""
        self._thread.start()
        if not self._started.wait(START_SECONDS):
            self.check()
            raise TransientError("wal_stream_slow", "the WAL stream did not begin within a minute")
        self.check()

    def check(self) -> None:
        """Raises what ended the stream; does nothing while it runs."""
        if self._error is not None:
            raise self._error

    def finish(self, goal: int, timeout: float) -> int:
        """All WAL up to LSN ``goal`` is in the repository when this returns; where it ends."""
        self._goal = goal
        self._thread.join(timeout)
        self.check()
        if self._thread.is_alive():
            self.abandon()
            raise TransientError(
                "wal_stream_slow",
                f"WAL up to {lsn_text(goal)} did not arrive within {timeout:.0f} s",
                hint=f"it came as far as {lsn_text(self._sink.position)}",
            )
        return self._sink.flushed

    def abandon(self) -> None:
        """Ends the stream without waiting for anything. Safe to call at any time."""
        self._abandoned = True
        if self._thread.is_alive():
            self._thread.join(10)

    @property
    def received(self) -> int:
        return self._sink.received

    @property
    def stored(self) -> int:
        return self._sink.stored

    def _run(self) -> None:
        try:
            self._server.stream_wal(
                self._sink,
                start=None,
                timeline=None,
                slot=None,
                temporary=True,
                until=self._until,
                on_start=self._on_start,
            )
            self._sink.flush()
            if not self._until():
                raise TransientError("wal_stream_ended", "the server ended the WAL stream")
        except AeternaError as error:
            self._error = error
        finally:
            self._started.set()

    def _on_start(self, timeline: int, position: int) -> None:
        self.timeline, self.first = timeline, position
        self._started.set()

    def _until(self) -> bool:
        reached = self._goal is not None and self._sink.position >= self._goal
        return self._abandoned or reached
