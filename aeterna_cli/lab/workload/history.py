"""The logs folded into what must be on the servers now. Memory grows with the points alone."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aeterna_cli.errors import FailedError
from aeterna_cli.lab.workload.log import KINDS, lines
from aeterna_cli.lab.workload.model import Operation


@dataclass
class History:
    """``last`` is each point's newest acknowledged operation; ``open`` holds the newer one of which
    nobody knows whether it happened. Counts are of everything in the logs."""

    last: dict[int, Operation] = field(default_factory=dict)
    open: dict[int, Operation] = field(default_factory=dict)
    acknowledged: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    seconds_missing: Counter[str] = field(default_factory=Counter)
    seen: dict[str, list[str]] = field(default_factory=dict)
    seen_counts: Counter[str] = field(default_factory=Counter)

    def numbers(self) -> Iterator[int]:
        """Every point that may be there or may have been there."""
        yield from self.last
        yield from (number for number in self.open if number not in self.last)

    def allowed(self, number: int) -> tuple[Operation | None, ...]:
        """The states in which the point may be: one, or two where its last operation is open. None
        stands for a point that was never written."""
        certain = self.last.get(number)
        newer = self.open.get(number)
        return (certain,) if newer is None else (certain, newer)


def fold(folder: Path, *, examples: int = 10) -> History:
    """The history in one tenant's log files, whatever the order of its threads was.

    ``FailedError('workload_log_damaged')`` where a whole line makes no sense.
    """
    history = History()
    for path in sorted(folder.glob("*.log")):
        try:
            _fold_file(history, path, examples)
        except (KeyError, ValueError, IndexError) as error:
            raise FailedError(
                "workload_log_damaged", f"{path} is not the log of a workload: {error}"
            ) from error
    for number, one in list(history.open.items()):
        known = history.last.get(number)
        if known is not None and known.version >= one.version:
            del history.open[number]
    return history


def _fold_file(history: History, path: Path, examples: int) -> None:
    started: dict[int, Operation] = {}
    batches: dict[int, list[Operation]] = {}
    for letter, *words in lines(path):
        if letter == "I":
            number, version, embedded, stamp = (int(words[at]) for at in (0, 1, 3, 4))
            started[number] = Operation(number, version, KINDS[words[2]], embedded, stamp)
        elif letter == "A":
            _acknowledge(history, started.pop(int(words[0])))
        elif letter == "B":
            first, count, updated_at = map(int, words)
            batches[first] = [
                Operation(number, 1, "insert", 1, updated_at)
                for number in range(first, first + count)
            ]
        elif letter == "C":
            for one in batches.pop(int(words[0])):
                _acknowledge(history, one)
        elif letter == "E":
            history.errors[words[2]] += 1
        elif letter == "S":
            history.seconds_missing[words[2]] += 1
        elif letter == "R":
            _see(history, words[0], " ".join(words[2:]), examples)
    for one in (*started.values(), *(one for batch in batches.values() for one in batch)):
        known = history.open.get(one.number)
        if known is None or known.version < one.version:
            history.open[one.number] = one


def _acknowledge(history: History, one: Operation) -> None:
    history.acknowledged += 1
    known = history.last.get(one.number)
    if known is None or known.version < one.version:
        history.last[one.number] = one


def _see(history: History, sort: str, text: str, examples: int) -> None:
    history.seen_counts[sort] += 1
    kept = history.seen.setdefault(sort, [])
    if len(kept) < examples:
        kept.append(text)
