"""Where a receiver begins: what is stored, the slot, and what the server still has."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aeterna_cli.errors import AeternaError, RefusedError, TransientError
from aeterna_cli.repository.wal_archive import covered, list_chunks, lsn_text
from aeterna_cli.workflows.backup.running import own_wal_folder
from aeterna_cli.workflows.backup.wal_position import (
    Gap,
    Line,
    Position,
    lines,
    next_wanted,
    on_life,
    stored_end,
)

if TYPE_CHECKING:
    from aeterna_cli.deployment import Deployment
    from aeterna_cli.stores.postgres_wal import ServerWal, WalSource


@dataclass(frozen=True)
class Start:
    """``position`` is where to begin. ``gap`` is WAL that should lie before it and is gone;
    ``fresh`` means that nothing of this cluster is stored yet."""

    position: Position
    gap: Gap | None = None
    fresh: bool = False


def held_from(place: "Deployment") -> int:
    """The permanent slot is there and holds WAL; from which LSN on.

    One that the server has given up (``lost``) is made anew at once: what it held is gone already,
    and every minute without a slot can lose more.
    """
    name = place.profile.postgres.receiver_slot
    state = place.postgres.slot_state(name)
    if state is not None and (state.status == "lost" or state.restart_lsn is None):
        place.postgres.drop_slot(name)
        state = None
    if state is None:
        place.postgres.create_slot(name)
        state = place.postgres.slot_state(name)
    if state is None or state.restart_lsn is None:
        raise RefusedError(
            "slot_not_physical",
            f"the replication slot {name} is there, but it is not a physical one",
            hint="another program uses this name: set postgres.receiver_slot to another one",
        )
    return state.restart_lsn


def choose(
    place: "Deployment", source: "WalSource", server: "ServerWal", folder: str, held: int
) -> Start:
    """The first position that closes up with what is stored; ``held`` is the slot's LSN.

    Where the server no longer has that, as early as possible behind it, and the gap is named.
    ``RefusedError('wal_ahead_of_server')`` where the stored WAL is longer than the server's.
    """
    life = lines(server.timeline, server.switches)
    size = server.segment_size
    wanted = next_wanted(life, lambda timeline: stored_end(place.objects, folder, timeline), size)
    if wanted is None:
        return Start(_earliest(place, source, server, life, held), fresh=True)
    _refuse_ahead(server, wanted, place.postgres.identity().in_recovery)
    if held <= wanted[1] or source.has(*wanted, size):
        return Start(wanted)
    found = _earliest(place, source, server, life, held)
    if found[1] <= wanted[1]:  # the newest backup ends before what the receiver stored
        found = on_life(life, held, size)
    return Start(found, gap=Gap(found[0], wanted[1], found[1]))


def _earliest(
    place: "Deployment", source: "WalSource", server: "ServerWal", life: list[Line], held: int
) -> Position:
    """The slot's segment, or before it the one in which the newest backup's own WAL ends."""
    from_slot = on_life(life, held, server.segment_size)
    end = _newest_backup_end(place, server, life)
    if end is None:
        return from_slot
    from_backup = on_life(life, end, server.segment_size)
    earlier = from_backup[1] < from_slot[1]
    return from_backup if earlier and source.has(*from_backup, server.segment_size) else from_slot


def _newest_backup_end(place: "Deployment", server: "ServerWal", life: list[Line]) -> int | None:
    """Where the own WAL of the newest backup of this cluster ends, if it lies on its life."""
    from aeterna_cli.repository.manifest import load

    try:
        backups = [one for one in place.repository.backups() if not one.fault]
        for entry in reversed(backups):
            if "postgres" not in entry.summary.get("stores", ()):
                continue
            part = load(place.repository, entry.backup).stores["postgres"]
            if part.identity != server.system_identifier:
                continue
            ranges = covered(list_chunks(place.objects, own_wal_folder(entry.backup)))
            ends = {line.timeline: line.end for line in life}
            last = ranges[-1] if ranges else None
            if last is None or last.timeline not in ends:
                return None
            limit = ends[last.timeline]
            return last.end if limit is None else min(last.end, limit)
    except TransientError:
        raise
    except AeternaError:
        return None  # a damaged backup must not keep WAL from being received
    return None


def _refuse_ahead(server: "ServerWal", wanted: Position, in_recovery: bool) -> None:
    timeline, position = wanted
    if timeline != server.timeline or position <= server.position:
        return
    what = (
        f"WAL up to {lsn_text(position)} is stored, the server ends at"
        f" {lsn_text(server.position)} on the same timeline {timeline}"
    )
    if in_recovery:
        raise TransientError("replica_behind", what, hint="this replica has to catch up first")
    raise RefusedError(
        "wal_ahead_of_server",
        what,
        hint="an older copy of the cluster was started without a new timeline: its WAL would mix"
        " with what is stored; promote it (pg_promote) to give it a timeline of its own",
        next_steps=["aeterna-cli backup wal status"],
    )
