"""Two ways of doing the same thing, measured in turns so that the machine's mood hits both."""

import os
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

PAIRS = 7


@dataclass(frozen=True)
class Ratio:
    """``ours`` and ``theirs`` are median seconds; ``ratio`` is the median of each pair's ratio of
    speeds (above 1: ours is faster)."""

    name: str
    ours: float
    theirs: float
    ratio: float
    target: str
    met: bool
    pairs: int

    def line(self) -> str:
        verdict = "met" if self.met else "MISSED"
        return (
            f"{self.name}: {self.ratio:.2f}x (ours {self.ours:.2f} s, theirs {self.theirs:.2f} s,"
            f" median of {self.pairs} pairs; target {self.target}: {verdict})"
        )


def seconds(work: Callable[[], object]) -> float:
    began = perf_counter()
    work()
    return perf_counter() - began


def compare(
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    at_least: float,
    pairs: int = PAIRS,
    their_start: float = 0.0,
    after: Callable[[], object] = lambda: None,
) -> Ratio:
    """Interleaved pairs. ``their_start`` is the seconds that their process needs to begin, taken
    off their time (ours runs in this process); ``after`` follows every run, untimed."""
    mine, other = [], []
    for number in range(pairs):
        for which in (0, 1) if number % 2 else (1, 0):
            if which == 0:
                mine.append(seconds(ours))
            else:
                other.append(seconds(theirs) - their_start)
            after()
    ratio = statistics.median(b / a for a, b in zip(mine, other, strict=True))
    return Ratio(
        name,
        statistics.median(mine),
        statistics.median(other),
        ratio,
        f">= {at_least}x",
        ratio >= at_least,
        pairs,
    )


def shell(command: str, **environment: str) -> None:
    """A pipeline as the people we compare with type it; any failing part fails."""
    subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        check=True,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def peak_bytes(words: Sequence[str], environment: dict[str, str]) -> tuple[int, float]:
    """The largest resident set of a process and all its descendants together, and its seconds."""
    began = perf_counter()
    child = subprocess.Popen(
        list(words), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    peak = 0
    while True:
        try:
            _, errors = child.communicate(timeout=0.05)
            break
        except subprocess.TimeoutExpired:
            peak = max(peak, sum(_resident(pid) for pid in _tree(child.pid)))
    if child.returncode:
        raise RuntimeError(f"{words[0]} exited with {child.returncode}: {errors.decode()[-800:]}")
    return peak, perf_counter() - began


def _resident(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found
