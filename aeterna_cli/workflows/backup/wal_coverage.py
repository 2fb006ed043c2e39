"""Which moments stored WAL makes restorable: unbroken stretches of a cluster's life, and the gaps.

Positions are LSNs on one axis: the timelines of a life follow each other, and what was stored of an
earlier one behind its end does not count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from aeterna_cli.repository.wal_archive import Range
from aeterna_cli.workflows.backup.wal_position import Gap, Line, segment_begin


@dataclass(frozen=True, order=True)
class Stretch:
    """WAL without a hole; ``end`` is exclusive."""

    start: int
    end: int


@dataclass(frozen=True)
class Archive:
    """What the repository has of one cluster beside its backups: received WAL, gaps on record, and
    the timelines that the cluster went through."""

    ranges: tuple[Range, ...]
    noted: tuple[Gap, ...]
    life: tuple[Line, ...]
    segment_size: int


@dataclass(frozen=True)
class Wants:
    """What one backup needs of the WAL: everything from ``start`` (where its base backup began),
    at least up to ``point``. ``own`` is the WAL in its own folder."""

    backup: str
    timeline: int
    start: int
    point: int
    own: tuple[Range, ...]


@dataclass(frozen=True)
class Reach:
    """How far a backup can be recovered: from ``point`` to ``end``, without a hole between.

    ``whole`` is False where WAL is missing before its recovery point: it restores to no moment.
    ``on_life`` is False for a backup of a branch that the cluster has left.
    """

    backup: str
    timeline: int
    point: int
    end: int
    whole: bool
    on_life: bool


@dataclass(frozen=True)
class OpenGap:
    """A gap and the backups that cannot be recovered past it; ``open`` while the newest is one."""

    gap: Gap
    backups: tuple[str, ...]
    open: bool


def stretches(ranges: Iterable[Range], archive: Archive) -> list[Stretch]:
    """What is stored of the cluster's life, joined over its timelines, in order."""
    found: list[Stretch] = []
    lines = {line.timeline: line for line in archive.life}
    for one in ranges:
        line = lines.get(one.timeline)
        if line is None:
            continue
        start = max(one.start, segment_begin(line.begin, archive.segment_size))
        end = one.end if line.end is None else min(one.end, line.end)
        if start < end:
            found.append(Stretch(start, end))
    return _joined(found)


def reach(wants: Wants, archive: Archive) -> Reach:
    """How far one backup goes, with its own WAL and the archive's."""
    line = next((one for one in archive.life if one.timeline == wants.timeline), None)
    on_life = line is not None and (line.end is None or wants.point <= line.end)
    everything = [*archive.ranges, *wants.own]
    if on_life:
        stored = stretches(everything, archive)
    else:
        mine = [one for one in everything if one.timeline == wants.timeline]
        stored = _joined(Stretch(one.start, one.end) for one in mine)
    end = next((one.end for one in stored if one.start <= wants.start < one.end), wants.start)
    return Reach(wants.backup, wants.timeline, wants.point, end, end >= wants.point, on_life)


def gaps(backups: Sequence[Wants], reaches: Sequence[Reach], archive: Archive) -> list[OpenGap]:
    """Every hole between what is stored, and every noted one behind which nothing is stored yet.

    ``backups`` and ``reaches`` belong together.
    """
    pairs = zip(backups, reaches, strict=True)
    living = [(wants, found) for wants, found in pairs if found.on_life]
    newest = max(living, key=lambda pair: pair[0].point)[0].backup if living else None
    result = []
    for hole in _holes(backups, archive):
        stopped = tuple(
            wants.backup
            for wants, found in living
            if wants.start < hole.end and found.end <= hole.start
        )
        gap = Gap(_timeline_at(archive.life, hole.start), hole.start, hole.end)
        result.append(OpenGap(gap, stopped, newest in stopped))
    return result


def _holes(backups: Sequence[Wants], archive: Archive) -> list[Stretch]:
    own = [one for wants in backups for one in wants.own]
    stored = stretches([*archive.ranges, *own], archive)
    holes = [Stretch(before.end, after.start) for before, after in pairwise(stored)]
    noted = [
        Stretch(gap.start, gap.end)
        for gap in archive.noted
        if not any(hole.start < gap.end and gap.start < hole.end for hole in holes)
        and not any(one.start <= gap.start and gap.end <= one.end for one in stored)
    ]
    return sorted([*holes, *noted])


def _joined(found: Iterable[Stretch]) -> list[Stretch]:
    joined: list[Stretch] = []
    for one in sorted(found):
        if joined and one.start <= joined[-1].end:
            joined[-1] = Stretch(joined[-1].start, max(joined[-1].end, one.end))
        else:
            joined.append(one)
    return joined


def _timeline_at(life: Sequence[Line], position: int) -> int:
    return next(one.timeline for one in life if one.end is None or position < one.end)
