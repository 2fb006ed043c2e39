"""What the application did, on file before and after: it outlives the application's death.

One file per writing thread, a line of ASCII words per event, written without a buffer: whatever
kills the process, a line that was written stays (a lost machine is not survived: no fsync). The
intent stands before the request leaves, the acknowledgement after the answer came. So an intent
without an acknowledgement is an operation of which nobody knows whether it happened.

| line | means |
| --- | --- |
| ``I number version kind embedded updated_at`` | this is about to be written |
| ``A number version`` | every write of it that counts was acknowledged |
| ``E number version code`` | an attempt failed; number -1 for none in particular |
| ``S number version code`` | the second write did not arrive (``dropped``: on purpose) |
| ``B first count updated_at`` | a batch of inserts, version 1, is about to be written |
| ``C first count`` | the batch was acknowledged |
| ``R sort number text`` | a reader saw something that cannot be |

A last line without its end was cut off by the death: the event did not happen.
"""

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from aeterna_cli.lab.workload.model import Kind, Operation

_LETTERS: dict[Kind, str] = {"insert": "i", "update": "u", "payload": "p", "delete": "d"}
KINDS: dict[str, Kind] = {letter: kind for kind, letter in _LETTERS.items()}


class Log:
    """The file of one thread. A line is in the kernel's hands when a method returns."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)

    def __enter__(self) -> "Log":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _line(self, *words: object) -> None:
        self._file.write((" ".join(map(str, words)) + "\n").encode("ascii", "backslashreplace"))

    def intent(self, one: Operation) -> None:
        letter = _LETTERS[one.kind]
        self._line("I", one.number, one.version, letter, one.embedded, one.updated_at)

    def acknowledged(self, one: Operation) -> None:
        self._line("A", one.number, one.version)

    def failed(self, number: int, version: int, code: str) -> None:
        self._line("E", number, version, code)

    def second_missing(self, one: Operation, code: str) -> None:
        self._line("S", one.number, one.version, code)

    def batch_intent(self, first: int, count: int, updated_at: int) -> None:
        self._line("B", first, count, updated_at)

    def batch_acknowledged(self, first: int, count: int) -> None:
        self._line("C", first, count)

    def seen(self, sort: str, number: int, text: str) -> None:
        self._line("R", sort, number, text.replace("\n", " "))


def lines(path: Path) -> Iterator[list[str]]:
    """The words of each whole line."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line.decode("ascii").split()
