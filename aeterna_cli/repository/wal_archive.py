"""WAL as chunks of at most 4 MB that join to ordinary segment files, and what they cover.

A chunk is ``<folder>/<timeline>/<segment>/<start>-<end>``: the WAL bytes from LSN ``start`` up to
``end`` (both 16 hexadecimal digits), zstd, age. All chunks of a segment in key order, decrypted and
decompressed, are the segment file (short of its end while it is being written). Chunks are
create-only; a receiver that starts again may store an overlapping chunk, which is harmless: equal
positions hold equal bytes on one timeline.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from aeterna_cli.errors import RefusedError, RemoteError
from aeterna_cli.stores.base.objects import ObjectStore

_CHUNK = re.compile(r"^([0-9A-F]{8})/([0-9A-F]{24})/([0-9A-F]{16})-([0-9A-F]{16})$")
_HISTORY = re.compile(r"^([0-9A-F]{8})/\1\.history$")


def lsn_text(position: int) -> str:
    """PostgreSQL's own form: ``0/1A2B3C4D``."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def lsn_number(text: str) -> int:
    """The position of ``0/1A2B3C4D``; ``ValueError`` for anything else."""
    high, slash, low = text.partition("/")
    if not slash or not re.fullmatch(r"[0-9A-Fa-f]{1,8}", high) or not low:
        raise ValueError(f"not an LSN: {text!r}")
    return (int(high, 16) << 32) | int(low, 16)


def segment_name(timeline: int, position: int, segment_size: int) -> str:
    """The file name of the segment that holds ``position``. Source: XLogFileName in PostgreSQL."""
    number = position // segment_size
    per_id = 0x1_0000_0000 // segment_size
    return f"{timeline:08X}{number // per_id:08X}{number % per_id:08X}"


def segment_start(name: str, segment_size: int) -> int:
    """The first LSN of the segment file ``name``."""
    per_id = 0x1_0000_0000 // segment_size
    return (int(name[8:16], 16) * per_id + int(name[16:24], 16)) * segment_size


@dataclass(frozen=True, order=True)
class Chunk:
    """One stored chunk. ``end`` is exclusive; ``modified``, by the store's clock, where listed."""

    timeline: int
    segment: str
    start: int
    end: int
    key: str
    size: int
    modified: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Range:
    """An unbroken stretch of WAL on one timeline; ``end`` is exclusive."""

    timeline: int
    start: int
    end: int


def chunk_key(folder: str, timeline: int, start: int, end: int, segment_size: int) -> str:
    """Where the chunk is stored. It must not cross a segment border."""
    segment = segment_name(timeline, start, segment_size)
    if end <= start or segment_name(timeline, end - 1, segment_size) != segment:
        raise ValueError("a chunk lies inside one segment")
    return f"{folder}/{timeline:08X}/{segment}/{start:016X}-{end:016X}"


def list_chunks(store: ObjectStore, folder: str, within: str = "") -> list[Chunk]:
    """Every chunk below ``folder`` in order; a key of another shape is ignored (history files).

    ``within`` narrows it to the keys that go on so: ``00000001/``, ``00000001/<segment>/``.
    """
    found = []
    for item in store.list(f"{folder}/{within}"):
        match = _CHUNK.match(item.key.removeprefix(f"{folder}/"))
        if match:
            timeline, segment, start, end = match.groups()
            place = (int(timeline, 16), segment, int(start, 16), int(end, 16))
            found.append(Chunk(*place, item.key, item.size, item.modified))
    return sorted(found)


def covered(chunks: Sequence[Chunk]) -> list[Range]:
    """The unbroken ranges per timeline, in order; overlaps join."""
    ranges: list[Range] = []
    for timeline, group in groupby(sorted(chunks), key=lambda chunk: chunk.timeline):
        start = end = -1
        for chunk in sorted(group, key=lambda item: (item.start, item.end)):
            if end < 0:
                start, end = chunk.start, chunk.end
            elif chunk.start > end:
                ranges.append(Range(timeline, start, end))
                start, end = chunk.start, chunk.end
            else:
                end = max(end, chunk.end)
        ranges.append(Range(timeline, start, end))
    return ranges


def covers(ranges: Sequence[Range], timeline: int, start: int, end: int) -> bool:
    """Whether one unbroken range holds all of ``[start, end)`` on ``timeline``."""
    return any(r.timeline == timeline and r.start <= start and r.end >= end for r in ranges)


@dataclass(frozen=True)
class HistoryEntry:
    """The timeline ``parent`` was left at ``switch``."""

    parent: int
    switch: int


def parse_history(text: str) -> list[HistoryEntry]:
    """The ancestors of a timeline, oldest first.

    Source: PostgreSQL's timeline history files: ``<timeline> TAB <lsn> TAB <reason>`` per line.
    """
    entries = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        fields = line.split("\t")
        try:
            entries.append(HistoryEntry(int(fields[0]), lsn_number(fields[1].strip())))
        except (ValueError, IndexError) as error:
            raise RemoteError("history_damaged", "a timeline history file is damaged") from error
    return entries


def history_key(folder: str, timeline: int) -> str:
    return f"{folder}/{timeline:08X}/{timeline:08X}.history"


def timelines(store: ObjectStore, folder: str) -> list[int]:
    """Timelines that have a history file below ``folder``."""
    found = []
    for item in store.list(f"{folder}/"):
        match = _HISTORY.match(item.key.removeprefix(f"{folder}/"))
        if match:
            found.append(int(match.group(1), 16))
    return sorted(found)


class SegmentReader:
    """Gives whole segment files back from one or several folders of chunks.

    ``open_chunk`` turns a stored chunk into its plain bytes (and raises where it is damaged).
    """

    def __init__(
        self,
        store: ObjectStore,
        folders: Sequence[str],
        segment_size: int,
        open_chunk: Callable[[str, bytes], bytes],
    ) -> None:
        self._store = store
        self._size = segment_size
        self._open = open_chunk
        self._chunks: dict[str, list[Chunk]] = {}
        for folder in folders:
            for chunk in list_chunks(store, folder):
                self._chunks.setdefault(chunk.segment, []).append(chunk)
        self._folders = list(folders)

    def ranges(self) -> list[Range]:
        return covered([chunk for group in self._chunks.values() for chunk in group])

    def history(self, timeline: int) -> bytes | None:
        """The history file of a timeline, or None where no folder has it."""
        for folder in self._folders:
            key = history_key(folder, timeline)
            try:
                return self._open(key, self._store.read(key))
            except RefusedError as error:
                if error.code != "object_missing":
                    raise
        return None

    def segment(self, name: str) -> bytes | None:
        """The segment as it is known so far, padded with zeros to its full size; None if unknown.

        Zeros behind the last record end a recovery exactly there, as in a segment that the server
        itself was writing when it stopped.
        """
        chunks = self._chunks.get(name)
        if not chunks:
            return None
        base = segment_start(name, self._size)
        content = bytearray(self._size)
        position = base
        for chunk in self._needed(sorted(chunks, key=lambda c: (c.start, -c.end)), base):
            if chunk.start < base or chunk.end > base + self._size:
                raise RemoteError("wal_chunk_damaged", f"{chunk.key} lies outside of its segment")
            if chunk.start > position:
                break  # a gap inside the segment: what lies behind it must not be replayed
            plain = self._open(chunk.key, self._store.read(chunk.key))
            if len(plain) != chunk.end - chunk.start:
                raise RemoteError("wal_chunk_damaged", f"{chunk.key} has not the size it says")
            content[chunk.start - base : chunk.end - base] = plain
            position = max(position, chunk.end)
        return bytes(content) if position > base else None

    @staticmethod
    def _needed(chunks: Sequence[Chunk], base: int) -> Iterator[Chunk]:
        """The chunks that add something, in order."""
        reached = base
        for chunk in chunks:
            if chunk.end > reached:
                yield chunk
                reached = max(reached, chunk.end) if chunk.start <= reached else reached
