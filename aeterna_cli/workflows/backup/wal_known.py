"""What the repository and the server know of a cluster's WAL; the repository alone is enough."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from aeterna_cli.errors import AeternaError, RefusedError
from aeterna_cli.repository import layout
from aeterna_cli.repository.manifest import Manifest, load
from aeterna_cli.repository.wal_archive import (
    Chunk,
    Range,
    covered,
    history_key,
    list_chunks,
    lsn_number,
    parse_history,
    timelines,
)
from aeterna_cli.workflows.backup.running import own_wal_folder
from aeterna_cli.workflows.backup.wal_coverage import Archive, Wants
from aeterna_cli.workflows.backup.wal_position import Line, lines, list_gaps

if TYPE_CHECKING:
    from aeterna_cli.deployment import Deployment
    from aeterna_cli.stores.postgres import SlotState
    from aeterna_cli.stores.postgres_wal import ServerWal

_READERS = 8  # manifests fetched at once: each is a round trip
_SEGMENT = 16 << 20  # where neither the server nor a backup says how large a segment is


@dataclass
class Known:
    """``server`` and ``slot`` are None where the server is away (``away`` says why). ``manifests``
    are those of every acceptable backup, oldest first. ``system`` is None where nothing is known
    of the cluster at all."""

    now: datetime
    system: str | None = None
    server: "ServerWal | None" = None
    slot: "SlotState | None" = None
    away: str = ""
    manifests: tuple[Manifest, ...] = ()
    wants: tuple[Wants, ...] = ()
    chunks: Sequence[Chunk] = ()
    own: tuple[Chunk, ...] = ()
    archive: Archive = field(default_factory=lambda: Archive((), (), (), _SEGMENT))
    segment_size: int = _SEGMENT
    notes: list[str] = field(default_factory=list)


def look(place: "Deployment") -> Known:
    """Everything that can be known now. ``RefusedError('another_cluster')`` where the server is not
    the pinned one; errors of the repository as they are."""
    known = Known(now=place.repository.store.now())
    _ask_server(place, known)
    _read_manifests(place, known)
    known.system = _system(place, known)
    if known.system is None:
        return known
    folder = layout.wal_folder(known.system)
    _read_own_wal(place, known)
    known.chunks = list_chunks(place.objects, folder)
    ranges = tuple(covered(known.chunks))
    life = tuple(_life(place, known, folder, ranges))
    noted = tuple(gap for line in life for gap in list_gaps(place.objects, folder, line.timeline))
    known.archive = Archive(ranges, noted, life, known.segment_size)
    return known


def _ask_server(place: "Deployment", known: Known) -> None:
    from aeterna_cli.stores.postgres_wal import WalSource

    try:
        server = WalSource(place.profile.postgres).where()
        slot = place.postgres.slot_state(place.profile.postgres.receiver_slot)
    except AeternaError as error:
        known.away = error.message
        return
    place.pins.check({"postgres": server.system_identifier})
    known.server, known.slot = server, slot
    known.segment_size = server.segment_size


def _read_manifests(place: "Deployment", known: Known) -> None:
    entries = place.repository.backups()

    def read(backup: str) -> Manifest | str:
        try:
            return load(place.repository, backup)
        except RefusedError as error:
            return f"backup {backup} is not counted: {error.message}"
        except AeternaError as error:
            if error.code not in ("manifest_invalid", "signature_invalid"):
                raise
            return f"backup {backup} is not counted: {error.message}"

    with ThreadPoolExecutor(_READERS, "manifests") as readers:
        found = list(readers.map(read, [one.backup for one in entries]))
    known.manifests = tuple(one for one in found if isinstance(one, Manifest))
    known.notes += [one for one in found if isinstance(one, str)]


def _system(place: "Deployment", known: Known) -> str | None:
    """The cluster that is meant: the server's, the pinned one, the newest backup's, the only one
    whose WAL is here."""
    if known.server is not None:
        return known.server.system_identifier
    pinned = place.pins.read().get("postgres")
    if pinned is not None:
        return pinned
    parts = [one.stores["postgres"] for one in known.manifests if "postgres" in one.stores]
    if parts:
        return parts[-1].identity
    received = list(place.objects.list_folders(f"{layout.WAL}/"))
    return received[0] if len(received) == 1 else None


def _read_own_wal(place: "Deployment", known: Known) -> None:
    """What is really there of every backup's own WAL, not what its manifest says."""
    mine = [
        one
        for one in known.manifests
        if "postgres" in one.stores and one.stores["postgres"].identity == known.system
    ]
    with ThreadPoolExecutor(_READERS, "own-wal") as readers:
        folders = [own_wal_folder(one.backup) for one in mine]
        chunks = list(readers.map(lambda folder: list_chunks(place.objects, folder), folders))
    known.own = tuple(chunk for group in chunks for chunk in group)
    known.wants = tuple(
        _wants(manifest, tuple(covered(group)))
        for manifest, group in zip(mine, chunks, strict=True)
    )
    if known.server is None and mine:
        known.segment_size = int(mine[-1].stores["postgres"].facts["wal_segment_size"])


def _wants(manifest: Manifest, own: tuple[Range, ...]) -> Wants:
    facts = manifest.stores["postgres"].facts
    start = lsn_number(facts["start_lsn"])
    point = lsn_number(manifest.recovery_point.lsn or facts["end_lsn"])
    return Wants(manifest.backup, int(facts["timeline"]), start, point, own)


def _life(place: "Deployment", known: Known, folder: str, archive: Sequence[Range]) -> list[Line]:
    """The timelines of the cluster, from the server, else from the newest stored history."""
    if known.server is not None:
        return lines(known.server.timeline, known.server.switches)
    seen = [one.timeline for one in (*archive, *(r for w in known.wants for r in w.own))]
    seen += timelines(place.objects, folder)
    newest = max(seen, default=1)
    if newest == 1:
        return lines(1, ())
    try:
        content = _stored_history(place, folder, newest)
    except AeternaError as error:
        known.notes.append(
            f"the history of timeline {newest} cannot be read ({error.message}):"
            " earlier timelines are shown by themselves"
        )
        return lines(newest, ())
    return lines(newest, [(one.parent, one.switch) for one in parse_history(content)])


def _stored_history(place: "Deployment", folder: str, timeline: int) -> str:
    from aeterna_cli.keys.wal_identity import WalIdentities
    from aeterna_cli.repository.blobs import unseal

    identities = WalIdentities(
        place.objects,
        layout.WAL_KEYS,
        repository=place.repository.info.uuid,
        key_services=[place.key_service],
    )
    return identities.open(place.objects.read(history_key(folder, timeline)), unseal).decode()
