"""From where WAL is received: everything that is stored is kept, and nothing between is left out.

A cluster's life is one line of LSNs over several timelines, and each timeline is stored from the
start of the segment in which it began: under that name the server asks for the segment when it
recovers. So what was stored of an earlier timeline behind its end belongs to a branch that died.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from aeterna_cli.errors import ConflictError, RemoteError
from aeterna_cli.repository.wal_archive import covered, list_chunks, lsn_text
from aeterna_cli.stores.base.objects import ObjectStore

GAPS = "gaps"
_SCHEMA = "aeterna.wal-gap/1"

Position = tuple[int, int]  # timeline, LSN


@dataclass(frozen=True)
class Line:
    """A cluster on one timeline, from ``begin`` to ``end`` (None: that is where it is now)."""

    timeline: int
    begin: int
    end: int | None


@dataclass(frozen=True, order=True)
class Gap:
    """WAL that the server removed before it was stored; ``end`` is where receiving went on."""

    timeline: int
    start: int
    end: int

    def __str__(self) -> str:
        return f"{lsn_text(self.start)} to {lsn_text(self.end)} on timeline {self.timeline}"


def lines(timeline: int, switches: Sequence[tuple[int, int]]) -> list[Line]:
    """The life of a cluster, oldest timeline first; ``switches`` as in its history file."""
    found, begin = [], 0
    for parent, end in switches:
        found.append(Line(parent, begin, end))
        begin = end
    return [*found, Line(timeline, begin, None)]


def segment_begin(position: int, segment_size: int) -> int:
    return position - position % segment_size


def next_wanted(
    life: Sequence[Line], stored: Callable[[int], int | None], segment_size: int
) -> Position | None:
    """The first WAL that is not stored; None where nothing of this life is.

    ``stored`` gives the end of what is stored of a timeline.
    """
    for number in range(len(life) - 1, -1, -1):
        line = life[number]
        end = stored(line.timeline)
        if end is None:
            continue
        if line.end is None or end < line.end:
            return line.timeline, end
        return life[number + 1].timeline, segment_begin(line.end, segment_size)
    return None


def on_life(life: Sequence[Line], position: int, segment_size: int) -> Position:
    """The timeline that a stream from ``position`` begins on, and its start: a whole segment."""
    start = segment_begin(position, segment_size)
    for line in life:
        if line.end is None or start < segment_begin(line.end, segment_size):
            return line.timeline, start
    raise ValueError("a life has a last timeline")


def stored_end(store: ObjectStore, folder: str, timeline: int) -> int | None:
    """Where the stored WAL of a timeline ends: the last chunk's end, or a noted gap's.

    Looks into the last segment only, so that it costs the same in a large archive.
    """
    below = f"{folder}/{timeline:08X}/"
    names = sorted(name for name in store.list_folders(below) if len(name) == 24)
    ends = [gap.end for gap in list_gaps(store, folder, timeline)]
    for name in reversed(names):
        found = covered(list_chunks(store, folder, f"{timeline:08X}/{name}/"))
        if found:
            ends.append(found[-1].end)
            break
    return max(ends, default=None)


def note_gap(store: ObjectStore, folder: str, gap: Gap, noted: datetime) -> None:
    """The gap is on record when this returns, for every later receiver; safe to repeat."""
    document = {
        "schema": _SCHEMA,
        "timeline": gap.timeline,
        "start": lsn_text(gap.start),
        "end": lsn_text(gap.end),
        "noted": noted.isoformat(),
    }
    try:
        store.create(_gap_key(folder, gap), json.dumps(document, sort_keys=True).encode())
    except ConflictError as error:
        if error.code != "object_exists":
            raise


def list_gaps(store: ObjectStore, folder: str, timeline: int) -> list[Gap]:
    """The gaps on record that end on ``timeline``. Their names say everything."""
    below = f"{folder}/{timeline:08X}/{GAPS}/"
    found = []
    for item in store.list(below):
        name = item.key.removeprefix(below).removesuffix(".json")
        start, _, end = name.partition("-")
        try:
            found.append(Gap(timeline, int(start, 16), int(end, 16)))
        except ValueError as error:
            raise RemoteError(
                "wal_gap_damaged", f"{item.key} is not the record of a gap in WAL"
            ) from error
    return sorted(found)


def _gap_key(folder: str, gap: Gap) -> str:
    return f"{folder}/{gap.timeline:08X}/{GAPS}/{gap.start:016X}-{gap.end:016X}.json"
