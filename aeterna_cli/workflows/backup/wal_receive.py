"""``backup wal receive``: a service that stores WAL as it is written.

It is one lease (``wal-receiver``) and a line in the audit trail when it starts and when it ends. It
writes no journal: a journal says how to go on after a crash, and for WAL the stored chunks say it
themselves, every 4 MB or 2 s. A record for each would be more objects than the WAL has.

Where WAL was lost (the slot gave up, or somebody dropped it) the receiver ends with exit 7 and
names the gap. The gap is on record and the slot is made anew before that, so a service manager that
starts it again loses nothing more. ``backup wal status`` shows the gap until a newer backup closes
it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from aeterna_cli.context import Context, actor
from aeterna_cli.errors import AeternaError, InterruptedByUser, RefusedError, TerminatedBySignal
from aeterna_cli.keys.wal_identity import WalRecipients
from aeterna_cli.operations.audit import AuditLog
from aeterna_cli.operations.identifiers import uuid7
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import human_bytes, human_seconds
from aeterna_cli.repository import layout
from aeterna_cli.repository.blobs import seal
from aeterna_cli.repository.wal_archive import lsn_text
from aeterna_cli.workflows.backup.preflight import Preflight, preflight
from aeterna_cli.workflows.backup.wal_position import lines, next_wanted, stored_end
from aeterna_cli.workflows.backup.wal_receiver import Receiver, ServiceLease

if TYPE_CHECKING:
    from aeterna_cli.stores.postgres_wal import ServerWal

SCHEMA = "aeterna.backup.wal.receive/1"
_STOPS = (InterruptedByUser, TerminatedBySignal)


@dataclass(frozen=True)
class Planned:
    """Where a run would begin; ``timeline`` and ``position`` are None where nothing is stored."""

    system: str
    slot: str
    slot_exists: bool
    timeline: int | None
    position: str | None
    server_position: str


@dataclass(frozen=True)
class Received:
    """What one run did. ``position`` is the end of what is stored; bytes are of WAL as the server
    wrote it, and as it is stored."""

    system: str
    timeline: int
    position: str
    received_bytes: int
    stored_bytes: int
    reconnects: int
    seconds: float


def run(ctx: Context, until_idle: bool) -> Result:
    """Receives until a signal (exit 130 or 143, nothing pending is lost), or, with ``until_idle``,
    until everything that the server had at the start is stored.

    ``ConflictError('lease_held')`` where another receiver is at work, ``RefusedError('wal_gap')``
    where WAL was lost. A server or repository that goes away is waited for, except with
    ``until_idle``: then it is exit 4.
    """
    from aeterna_cli.stores.postgres_wal import WalSource

    begun = monotonic()
    place = ctx.deployment
    ready = preflight(place, ())
    source = WalSource(place.profile.postgres)
    server = source.where()
    identities = {**ready.identities, "postgres": server.system_identifier}
    place.pins.check(identities)
    _look_at_settings(ctx)
    folder = layout.wal_folder(server.system_identifier)
    if ctx.flags.dry_run:
        return _dry(ctx, server, folder)
    recipients = _recipients(ctx, ready)
    recipients.current(ctx.clock())  # a key service that refuses is known before any WAL comes
    operation = uuid7()
    lease = ServiceLease(ctx, operation)
    lease.take()
    try:
        place.pins.record(identities)
        receiver = Receiver(
            ctx,
            source,
            server,
            folder,
            lease,
            seal=lambda plain: seal(plain, recipients.current(ctx.clock())),
            once=until_idle,
        )
        with _audited(ctx, operation):
            receiver.run()
            ctx.stop.check()
    finally:
        lease.give_back()
    totals = receiver.totals
    done = Received(
        server.system_identifier,
        totals.position[0],
        lsn_text(totals.position[1]),
        totals.received,
        totals.stored,
        totals.reconnects,
        monotonic() - begun,
    )
    return Result(SCHEMA, done, lambda: _view(done))


def _recipients(ctx: Context, ready: Preflight) -> WalRecipients:
    place = ctx.deployment
    return WalRecipients(
        place.objects,
        layout.WAL_KEYS,
        repository=place.repository.info.uuid,
        key_service=place.key_service,
        sign=ready.signing_key.sign,
        verify=place.repository.verify,
        offline=place.profile.keys.offline_recipients,
    )


def _look_at_settings(ctx: Context) -> None:
    """What makes receiving impossible is refused, what makes it dangerous is said."""
    for finding in ctx.deployment.postgres.findings("receive"):
        if finding.code == "wal_level_minimal":
            raise RefusedError(finding.code, finding.message, hint=finding.mend)
        if finding.code == "slot_unlimited":
            ctx.out.warn(f"{finding.message}; {finding.mend}", code=finding.code)


@contextmanager
def _audited(ctx: Context, operation: str) -> Iterator[None]:
    """A line in the audit trail at both ends of the service's life."""

    def write(outcome: str) -> None:
        AuditLog(ctx.state_directory).write(
            time=ctx.clock(),
            actor=actor(),
            profile=ctx.profile_name,
            kind="backup.wal.receive",
            target=ctx.deployment.id,
            operation=operation,
            outcome=outcome,
            reason=ctx.reason,
            change=ctx.change,
        )

    write("started")
    try:
        yield
    except AeternaError as error:
        error.operation = operation
        write("stopped" if isinstance(error, _STOPS) else f"failed: {error.code}")
        raise
    write("finished")


def _dry(ctx: Context, server: "ServerWal", folder: str) -> Result:
    place = ctx.deployment
    life = lines(server.timeline, server.switches)
    wanted = next_wanted(
        life, lambda timeline: stored_end(place.objects, folder, timeline), server.segment_size
    )
    slot = place.postgres.slot_state(place.profile.postgres.receiver_slot)
    would = Planned(
        system=server.system_identifier,
        slot=place.profile.postgres.receiver_slot,
        slot_exists=slot is not None,
        timeline=wanted[0] if wanted else None,
        position=lsn_text(wanted[1]) if wanted else None,
        server_position=lsn_text(server.position),
    )
    begin = f"from {lsn_text(wanted[1])} on timeline {wanted[0]}" if wanted else "from its start"
    made = "" if slot is not None else ", which would be made"
    text = (
        f"would receive WAL of {server.system_identifier} {begin}"
        f" through slot {place.profile.postgres.receiver_slot}{made},"
        f" to {place.objects.description}"
    )
    return Result("aeterna.backup.wal.receive.planned/1", would, lambda: text)


def _view(done: Received) -> str:
    return (
        f"WAL stored up to {done.position} on timeline {done.timeline}:"
        f" {human_bytes(done.received_bytes)} received, {human_bytes(done.stored_bytes)} stored"
        f" in {human_seconds(done.seconds)}"
    )
