"""What a drill's writers did, on file: the only witness of what was acknowledged.

One file per store, a line of ASCII words per event. Times are nanoseconds: ``mono`` of the
monotonic clock of this machine since its start, by which durations are measured, ``wall`` since
1970, by which they are shown.

| line | means |
| --- | --- |
| ``I number mono wall`` | this marker is about to be sent |
| ``A number mono wall server`` | it was acknowledged; on disk (fsync) before the next is sent |
| ``N number mono wall code`` | it was certainly not written |
| ``E number mono wall code`` | the attempt failed; whether it was written is in doubt |

A last line without its end was cut off by a death: the event did not happen.
"""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal

Kind = Literal["I", "A", "N", "E"]
_KINDS: dict[str, Kind] = {"I": "I", "A": "A", "N": "N", "E": "E"}


def log_name(store: str) -> str:
    return f"markers-{store}.log"


class MarkerLog:
    """Appends; what kills this process does not take a line back that was written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def __enter__(self) -> "MarkerLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _line(self, kind: Kind, number: int, *words: str) -> None:
        text = " ".join([kind, str(number), str(time.monotonic_ns()), str(time.time_ns()), *words])
        self._file.write(text.encode("ascii", "backslashreplace") + b"\n")

    def intent(self, number: int) -> None:
        self._line("I", number)

    def acknowledged(self, number: int, server: str) -> None:
        self._line("A", number, server.replace(" ", "_") or "-")
        os.fdatasync(self._file.fileno())

    def refused(self, number: int, code: str) -> None:
        self._line("N", number, code)

    def failed(self, number: int, code: str) -> None:
        self._line("E", number, code)


@dataclass(frozen=True)
class Event:
    """One line; times in seconds, ``word`` the server or the code."""

    kind: Kind
    number: int
    mono: float
    wall: float
    word: str


@dataclass
class MarkerHistory:
    """A log read back: events in their order, and what became of each number."""

    events: list[Event] = field(default_factory=list)
    acknowledged: dict[int, Event] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    intended: dict[int, Event] = field(default_factory=dict)

    @property
    def in_doubt(self) -> set[int]:
        """Sent, and neither acknowledged nor certainly refused."""
        return set(self.intended) - set(self.acknowledged) - self.refused


def read(path: Path) -> MarkerHistory:
    """Everything in the file; nothing for a file that is not there."""
    found = MarkerHistory()
    if not path.exists():
        return found
    with path.open("rb") as file:
        for line in file:
            words = line.decode("ascii", "replace").split()
            if not line.endswith(b"\n") or len(words) < 4 or words[0] not in _KINDS:
                continue
            _remember(found, words)
    return found


def _remember(found: MarkerHistory, words: list[str]) -> None:
    kind, number = _KINDS[words[0]], int(words[1])
    word = words[4] if len(words) > 4 else ""
    event = Event(kind, number, int(words[2]) / 1e9, int(words[3]) / 1e9, word)
    found.events.append(event)
    if kind == "A":
        found.acknowledged[number] = event
    elif kind == "N":
        found.refused.add(number)
    elif kind == "I":
        found.intended[number] = event
