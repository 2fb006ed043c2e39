"""Sorting more text than fits into memory: sorted runs on disk, merged."""

import heapq
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

RUN = 500_000  # lines sorted in memory at a time


def sorted_lines(lines: Iterable[str], work: Path, *, run: int = RUN) -> Iterator[str]:
    """``lines`` sorted by their UTF-8 bytes. Their runs lie below ``work`` until it is removed.

    A line must not hold a line feed.
    """
    source = iter(lines)
    runs: list[Path] = []
    while block := list(islice(source, run)):
        block.sort(key=str.encode)
        path = work / f"sorted-{id(source):x}-{len(runs)}"
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in block)
        runs.append(path)
    return heapq.merge(*(_read(path) for path in runs), key=str.encode)


def _read(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            yield line.rstrip("\n")
    path.unlink()
