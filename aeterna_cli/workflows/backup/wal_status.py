"""``backup wal status``: what could be restored right now, and how old the last moment of it is.

Every age is on the repository's clock. A store's last restorable moment is shown by itself: the WAL
of PostgreSQL says nothing of Qdrant and Redis, whose newest image is that of the newest backup.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from aeterna_cli.context import Context
from aeterna_cli.errors import FindingsError
from aeterna_cli.output.result import Result
from aeterna_cli.repository.manifest import Manifest
from aeterna_cli.repository.wal_archive import Chunk, lsn_text
from aeterna_cli.stores.base.server_control import STORES
from aeterna_cli.workflows.backup import wal_known
from aeterna_cli.workflows.backup.wal_coverage import OpenGap, Reach, gaps, reach
from aeterna_cli.workflows.backup.wal_known import Known

if TYPE_CHECKING:
    from aeterna_cli.deployment import Deployment

SCHEMA = "aeterna.backup.wal.status/1"


@dataclass(frozen=True)
class ServerStatus:
    """``reachable`` False: ``why``, and the rest is None."""

    reachable: bool
    why: str
    timeline: int | None
    position: str | None


@dataclass(frozen=True)
class SlotStatus:
    """The receiver's slot; ``safe_bytes`` None means that the server sets no limit."""

    name: str
    active: bool
    status: str
    restart_lsn: str | None
    retained_bytes: int
    safe_bytes: int | None


@dataclass(frozen=True)
class StoredRange:
    """An unbroken stretch of received WAL on one timeline."""

    timeline: int
    start: str
    end: str
    bytes: int


@dataclass(frozen=True)
class GapStatus:
    """``open`` while the newest backup cannot be recovered past it; a newer backup closes it."""

    timeline: int
    start: str
    end: str
    bytes: int
    backups: tuple[str, ...]
    open: bool


@dataclass(frozen=True)
class Lag:
    """How far the stored WAL is behind the server: ``bytes`` None where the server is away;
    ``seconds`` since the last chunk was stored, 0 where nothing is missing."""

    bytes: int | None
    seconds: float | None


@dataclass(frozen=True)
class WindowStatus:
    """The moments that one backup and the WAL behind it can restore PostgreSQL to. ``until`` is
    when the last of that WAL was stored, now where nothing newer was written."""

    backup: str
    timeline: int
    since: datetime
    until: datetime | None
    since_lsn: str
    until_lsn: str
    whole: bool


@dataclass(frozen=True)
class StoreAge:
    """How old the last restorable moment of a store is. None: it is in no backup."""

    store: str
    moment: datetime | None
    seconds: float | None
    from_backup: str | None


@dataclass(frozen=True)
class Status:
    """``aeterna.backup.wal.status/1``. ``worst`` is the store whose last moment is the oldest."""

    system: str | None
    checked: datetime
    server: ServerStatus
    slot: SlotStatus | None
    stored: tuple[StoredRange, ...]
    gaps: tuple[GapStatus, ...]
    lag: Lag
    windows: tuple[WindowStatus, ...]
    stores: tuple[StoreAge, ...]
    worst: str | None
    worst_seconds: float | None
    target_seconds: int
    findings: tuple[str, ...]
    notes: tuple[str, ...]


def run(ctx: Context, exit_code: bool) -> Result:
    """Reads only. With ``exit_code`` the result is printed and open gaps, a recovery point older
    than the target, or no backup at all end the command with exit 8."""
    status = examine(ctx.deployment)
    result = Result(SCHEMA, status, lambda: _view(status))
    if exit_code and status.findings:
        ctx.out.result(result)
        raise FindingsError(
            "wal_findings",
            "; ".join(status.findings),
            hint="a backup closes a gap; a receiver that runs keeps the last moment young",
            next_steps=["aeterna-cli backup create", "aeterna-cli backup wal receive"],
        )
    return result


def examine(place: "Deployment") -> Status:
    """What is known now, judged; errors as of ``wal_known.look``."""
    known = wal_known.look(place)
    reaches = [reach(wants, known.archive) for wants in known.wants]
    found = gaps(known.wants, reaches, known.archive)
    windows = tuple(_windows(place, known, reaches))
    ages = tuple(_ages(known, reaches, windows))
    aged = [(one.seconds, one.store) for one in ages if one.seconds is not None]
    worst = max(aged, default=None)
    target = place.profile.targets.rpo
    return Status(
        system=known.system,
        checked=known.now,
        server=_server(known),
        slot=_slot(known),
        stored=tuple(_range(r.timeline, r.start, r.end) for r in known.archive.ranges),
        gaps=tuple(_gap(one) for one in found),
        lag=_lag(place, known),
        windows=windows,
        stores=ages,
        worst=worst[1] if worst else None,
        worst_seconds=worst[0] if worst else None,
        target_seconds=target,
        findings=tuple(_findings(known, found, windows, ages, target)),
        notes=tuple(_notes(known, ages)),
    )


# -- parts of the result


def _server(known: Known) -> ServerStatus:
    if known.server is None:
        return ServerStatus(False, known.away, None, None)
    return ServerStatus(True, "", known.server.timeline, lsn_text(known.server.position))


def _slot(known: Known) -> SlotStatus | None:
    slot = known.slot
    if slot is None:
        return None
    restart = lsn_text(slot.restart_lsn) if slot.restart_lsn is not None else None
    return SlotStatus(
        slot.name, slot.active, slot.status, restart, slot.retained_bytes, slot.safe_bytes
    )


def _range(timeline: int, start: int, end: int) -> StoredRange:
    return StoredRange(timeline, lsn_text(start), lsn_text(end), end - start)


def _gap(found: OpenGap) -> GapStatus:
    gap = found.gap
    return GapStatus(
        gap.timeline,
        lsn_text(gap.start),
        lsn_text(gap.end),
        gap.end - gap.start,
        found.backups,
        found.open,
    )


def _lag(place: "Deployment", known: Known) -> Lag:
    """Of the archive alone: whether the receiver keeps up."""
    last = max(known.chunks, key=lambda chunk: chunk.end, default=None)
    if last is None:
        return Lag(None, None)
    behind = max(0, known.server.position - last.end) if known.server is not None else None
    if behind == 0:
        return Lag(0, 0.0)
    stored = place.objects.info(last.key).modified
    return Lag(behind, max(0.0, (known.now - stored).total_seconds()))


def _windows(place: "Deployment", known: Known, reaches: Sequence[Reach]) -> Iterator[WindowStatus]:
    manifests = {one.backup: one for one in known.manifests}
    stored: dict[int, datetime | None] = {}
    for one in reaches:
        if one.end not in stored:
            stored[one.end] = _stored_at(place, known, one.end)
        until = stored[one.end]
        if one.on_life and known.server is not None and one.end >= known.server.position:
            until = known.now  # nothing was written since: every moment up to now is there
        yield WindowStatus(
            one.backup,
            one.timeline,
            manifests[one.backup].recovery_point.time,
            until if one.whole else None,
            lsn_text(one.point),
            lsn_text(one.end),
            one.whole,
        )


def _stored_at(place: "Deployment", known: Known, end: int) -> datetime | None:
    """When WAL up to ``end`` was first stored."""
    chunks: list[Chunk] = [one for one in (*known.chunks, *known.own) if one.end == end]
    return min((place.objects.info(one.key).modified for one in chunks), default=None)


def _ages(
    known: Known, reaches: Sequence[Reach], windows: Sequence[WindowStatus]
) -> Iterator[StoreAge]:
    moments: list[tuple[datetime | None, str]]
    for store in STORES:
        if store == "postgres":
            living = {one.backup for one in reaches if one.on_life}
            moments = [(one.until, one.backup) for one in windows if one.backup in living]
        else:
            moments = [(_image(one, store), one.backup) for one in known.manifests]
        found = [(moment, backup) for moment, backup in moments if moment is not None]
        if not found:
            yield StoreAge(store, None, None, None)
            continue
        moment, backup = max(found)
        seconds = max(0.0, (known.now - moment).total_seconds())
        yield StoreAge(store, moment, seconds, backup)


def _image(manifest: Manifest, store: str) -> datetime | None:
    """The moment that a backup certainly holds of a store: its image may be no newer."""
    part = manifest.stores.get(store)
    return part.window.start if part is not None else None


def _findings(
    known: Known,
    found: Sequence[OpenGap],
    windows: Sequence[WindowStatus],
    ages: Sequence[StoreAge],
    target: int,
) -> Iterator[str]:
    for one in found:
        if one.open:
            yield f"gap in the WAL: {one.gap}; no backup reaches beyond it"
    for window in windows:
        if not window.whole:
            yield f"backup {window.backup} lacks WAL that its own recovery needs"
    if known.slot is not None and known.slot.status == "lost":
        yield f"slot {known.slot.name} is lost: WAL that was not received is gone"
    if not known.wants:
        yield "there is no backup of PostgreSQL: no moment of it can be restored"
    for age in ages:
        if age.seconds is not None and age.seconds > target:
            yield (
                f"the last restorable moment of {age.store} is {age.seconds:.0f} s old,"
                f" the target is {target} s"
            )


def _notes(known: Known, ages: Sequence[StoreAge]) -> Iterator[str]:
    yield from known.notes
    if known.server is None:
        yield f"PostgreSQL does not answer ({known.away}): this is what the repository knows"
    elif known.slot is None:
        yield "there is no receiver's slot: no WAL is received (aeterna-cli backup wal receive)"
    elif not known.slot.active:
        yield f"no receiver is connected to slot {known.slot.name}"
    for age in ages:
        if age.seconds is None and age.store != "postgres":
            yield f"no backup holds {age.store}"


def _view(status: Status) -> str:
    from aeterna_cli.workflows.backup.wal_status_view import view

    return view(status)
