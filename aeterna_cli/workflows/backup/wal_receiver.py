"""The receiver while it runs: sessions of one stream each, until somebody stops it."""

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from aeterna_cli.context import Context, actor
from aeterna_cli.errors import (
    AeternaError,
    ConflictError,
    InterruptedByUser,
    RefusedError,
    TerminatedBySignal,
    TransientError,
)
from aeterna_cli.operations.lease import Lease, LeaseRequest
from aeterna_cli.output.tables import human_bytes
from aeterna_cli.repository.wal_archive import lsn_text
from aeterna_cli.repository.wal_sink import ChunkSink
from aeterna_cli.workflows.backup import wal_start
from aeterna_cli.workflows.backup.wal_position import Position, note_gap
from aeterna_cli.workflows.leases import WAL_RECEIVER

if TYPE_CHECKING:
    from aeterna_cli.deployment import Deployment
    from aeterna_cli.stores.postgres_wal import ServerWal, WalSource

FIRST_PAUSE = 0.5  # seconds before the first new attempt; doubled up to
LONGEST_PAUSE = 15.0
SLOT_SECONDS = 90.0  # until the server notices that our last connection is dead
REPORT = 5.0  # seconds between two lines about progress
IDLE_REPORT = 60.0  # the same where nothing is written
_RELEASE_SECONDS = 3.0  # a lease that cannot be given back becomes void by itself


@dataclass
class Totals:
    """Since the receiver started: bytes of WAL and of objects, connections made anew."""

    received: int = 0
    stored: int = 0
    reconnects: int = 0
    position: Position = (0, 0)


class ServiceLease:
    """The lease of one receiver for its whole life, also over an outage of the repository.

    After an outage longer than the lease lives it is taken anew, unless somebody else has it.
    """

    def __init__(self, ctx: Context, operation: str) -> None:
        self._ctx = ctx
        self._operation = operation
        self._lease: Lease | None = None

    def take(self) -> None:
        """Ours when this returns; ``ConflictError('lease_held')`` names the other receiver."""
        self.give_back(wait=False)
        lease = Lease(
            self._ctx.deployment.objects,
            LeaseRequest(WAL_RECEIVER),
            operation=self._operation,
            actor=actor(),
        )
        lease.acquire()
        self._lease = lease

    def check(self) -> None:
        """``ConflictError('lease_lost')`` where it may be somebody else's by now."""
        if self._lease is not None:
            self._lease.assert_held()

    def give_back(self, *, wait: bool = True) -> None:
        """Within a bounded time, whatever the repository does."""
        lease, self._lease = self._lease, None
        if lease is None:
            return

        def release() -> None:
            with suppress(AeternaError):
                lease.release()

        thread = threading.Thread(target=release, name="lease-release", daemon=True)
        thread.start()
        if wait:
            thread.join(_RELEASE_SECONDS)


class Sink(ChunkSink):
    """Remembers whether it was the repository that failed."""

    failed = False

    def flush(self) -> None:
        try:
            super().flush()
        except AeternaError:
            self.failed = True
            raise


class Receiver:
    """Receives until ``run`` is told to stop. What is pending when a connection ends is stored
    first: after the death of a server nobody else has it."""

    def __init__(
        self,
        ctx: Context,
        source: "WalSource",
        server: "ServerWal",
        folder: str,
        lease: ServiceLease,
        *,
        seal: Callable[[bytes], bytes],
        once: bool,
    ) -> None:
        self._ctx = ctx
        self._place: Deployment = ctx.deployment
        self._source = source
        self._system = server.system_identifier
        self._folder = folder
        self._lease = lease
        self._seal = seal
        self._goal = (server.timeline, server.position) if once else None
        self._pause = FIRST_PAUSE
        self._slot_busy_since: float | None = None
        self._stuck = 0  # refusals for missing WAL or slot without any progress between
        self._reported = (0.0, 0)
        self.totals = Totals()

    def run(self) -> None:
        """Until a signal, or until the goal of ``--once`` is stored; both without loss.

        ``RefusedError('wal_gap')`` where WAL was lost: the gap is on record and the slot holds WAL
        again, so whoever starts the receiver anew goes on behind the gap.
        """
        while not self._ctx.stop.requested:
            try:
                self._session()
                return
            except AeternaError as error:
                if self._goal is not None or not self._may_pass(error):
                    raise
                self._wait(error)

    def _session(self) -> None:
        server = self._source.where()
        self._same_cluster(server)
        start = self._start(server)
        sink = Sink(
            self._place.objects, self._folder, segment_size=server.segment_size, seal=self._seal
        )
        self._say_start(server, start)
        try:
            self._source.stream(
                sink,
                slot=self._place.profile.postgres.receiver_slot,
                start=start,
                segment_size=server.segment_size,
                until=lambda: self._until(sink),
            )
        except AeternaError as error:
            out_of_time = isinstance(error, InterruptedByUser | TerminatedBySignal)
            if not (sink.failed or out_of_time):
                sink.flush()
            raise
        finally:
            self._count(sink)

    def _same_cluster(self, server: "ServerWal") -> None:
        if server.system_identifier != self._system:
            raise RefusedError(
                "another_cluster",
                f"PostgreSQL is {server.system_identifier} now, WAL of {self._system} was received",
                hint="the address leads to another cluster since the receiver started",
                next_steps=["aeterna-cli config show --origin"],
            )

    def _start(self, server: "ServerWal") -> Position:
        held = wal_start.held_from(self._place)
        found = wal_start.choose(self._place, self._source, server, self._folder, held)
        if found.gap is not None:
            note_gap(self._place.objects, self._folder, found.gap, self._ctx.clock())
            raise RefusedError(
                "wal_gap",
                f"WAL is gone from the server before it was stored: {found.gap}",
                hint="the gap is on record and the slot holds WAL again: started anew, the receiver"
                " goes on behind it; moments behind it need a backup taken after it",
                next_steps=[
                    "aeterna-cli backup wal receive",
                    "aeterna-cli backup create",
                    "aeterna-cli backup wal status",
                ],
                details={
                    "timeline": found.gap.timeline,
                    "start": lsn_text(found.gap.start),
                    "end": lsn_text(found.gap.end),
                },
            )
        return found.position

    def _until(self, sink: Sink) -> bool:
        """Asked every 0.2 s: True leaves the stream, with everything stored."""
        self._slot_busy_since = None
        self._report(sink)
        if self._ctx.stop.requested:
            return True
        self._lease.check()
        if self._goal is None:
            return False
        timeline, position = self._goal
        return sink.timeline > timeline or (sink.timeline == timeline and sink.position >= position)

    def _count(self, sink: Sink) -> None:
        self.totals.received += sink.received
        self.totals.stored += sink.stored
        if sink.timeline:
            self.totals.position = (sink.timeline, sink.flushed)
        if sink.stored:
            self._stuck = 0
            self._pause = FIRST_PAUSE

    # -- what may pass

    def _may_pass(self, error: AeternaError) -> bool:
        """Whether a new session may do better. Every answer leaves the position as it is."""
        # A server that is starting up is taken for one without our database, which was there when
        # the receiver began.
        if isinstance(error, TransientError) or error.code == "database_missing":
            return True
        if error.code == "lease_lost":
            self._lease.take()
            return True
        if error.code in ("slot_missing", "wal_gap") and "start" not in error.details:
            self._stuck += 1  # the next session looks what is left, and names the gap
            return self._stuck < 3
        if error.code == "slot_in_use" and isinstance(error, ConflictError):
            now = monotonic()
            self._slot_busy_since = self._slot_busy_since or now
            return now - self._slot_busy_since < SLOT_SECONDS
        return False

    def _wait(self, error: AeternaError) -> None:
        """A line in the log, then a pause that a signal cuts short."""
        self.totals.reconnects += 1
        pause, self._pause = self._pause, min(self._pause * 2, LONGEST_PAUSE)
        self._ctx.out.warn(
            f"{error.message} [{error.code}]; again in {pause:.1f} s, nothing is lost:"
            " the slot holds the WAL",
            code=error.code,
        )
        end = monotonic() + pause
        while monotonic() < end and not self._ctx.stop.requested:
            threading.Event().wait(min(0.2, max(0.0, end - monotonic())))

    # -- what is said

    def _say_start(self, server: "ServerWal", start: Position) -> None:
        behind = max(0, server.position - start[1])
        self._reported = (monotonic(), start[1])
        self._ctx.out.note(
            f"[{self._ctx.profile_name}] receiving WAL from {lsn_text(start[1])} on timeline"
            f" {start[0]}, {human_bytes(behind)} behind",
            timeline=start[0],
            position=lsn_text(start[1]),
            lag_bytes=behind,
        )

    def _report(self, sink: Sink) -> None:
        at, position = self._reported
        interval = REPORT if position != sink.flushed else IDLE_REPORT
        if monotonic() - at < interval or not sink.timeline:
            return
        self._reported = (monotonic(), sink.flushed)
        lag: int | None = None
        with suppress(AeternaError):  # a line in the log must not end the stream
            lag = max(0, self._place.postgres.current_lsn() - sink.flushed)
        behind = f"{human_bytes(lag)} behind" if lag is not None else "lag unknown"
        self._ctx.out.note(
            f"WAL stored up to {lsn_text(sink.flushed)} on timeline {sink.timeline}, {behind}",
            timeline=sink.timeline,
            position=lsn_text(sink.flushed),
            lag_bytes=lag,
        )
