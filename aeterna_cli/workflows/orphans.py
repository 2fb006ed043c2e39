"""Orphans: ids that only one of PostgreSQL and Qdrant knows. Streams of sorted ids in, sets out.

Some orphans are normal (the platform's API writes memories to Qdrant alone; a synchronised row
waits for its embedding), so their count and digest are recorded at capture and compared after a
restore. Memory is bounded: both sides come sorted by bytes and are merged.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Side = Literal["rows", "points"]
SAMPLE = 5


@dataclass(frozen=True)
class OrphanSet:
    """Ids that stand on one side alone. ``digest`` is SHA-256 over the sorted ids, each with a
    line feed; ``sample`` holds the first few for people."""

    side: Side
    count: int
    digest: str
    sample: tuple[str, ...]


def merge(rows: Iterable[str], points: Iterable[str]) -> Iterator[tuple[Side, str]]:
    """Every id that only one side has. Both must be sorted by UTF-8 bytes; repeats are fine.

    ``ValueError`` when a side is not sorted: a wrong order would invent orphans.
    """
    left, right = _sorted(rows, "rows"), _sorted(points, "points")
    row, point = next(left, None), next(right, None)
    while row is not None or point is not None:
        if point is None or (row is not None and row < point):
            yield "rows", _text(row)
            row = next(left, None)
        elif row is None or point < row:
            yield "points", _text(point)
            point = next(right, None)
        else:
            row, point = next(left, None), next(right, None)


def summarise(orphans: Iterable[tuple[Side, str]]) -> tuple[OrphanSet, OrphanSet]:
    """The two sets (rows without a point, points without a row) of a merge."""
    hashes = {"rows": hashlib.sha256(), "points": hashlib.sha256()}
    counts = {"rows": 0, "points": 0}
    samples: dict[str, list[str]] = {"rows": [], "points": []}
    for side, name in orphans:
        hashes[side].update(name.encode() + b"\n")
        counts[side] += 1
        if len(samples[side]) < SAMPLE:
            samples[side].append(name)

    def one(side: Side) -> OrphanSet:
        return OrphanSet(side, counts[side], hashes[side].hexdigest(), tuple(samples[side]))

    return one("rows"), one("points")


def _text(value: bytes | None) -> str:
    return (value or b"").decode()


def _sorted(ids: Iterable[str], side: str) -> Iterator[bytes]:
    last: bytes | None = None
    for text in ids:
        value = text.encode()
        if last is not None and value < last:
            raise ValueError(f"{side} are not sorted: {text!r} after {last.decode()!r}")
        if value != last:
            yield value
        last = value
