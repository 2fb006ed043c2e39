"""Programs of a scenario: argument lists, never a shell line, and no child is left behind."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from aeterna_cli.errors import FailedError
from aeterna_cli.lab import processes
from aeterna_cli.workflows.dr_drill.limits import Limit

STARTED = "program_started"
_KEPT = 4000  # characters of an output that enter the evidence
_GRACE = 5.0  # seconds between SIGTERM and SIGKILL


def filled(words: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """``{name}`` replaced by its value."""
    found = []
    for word in words:
        text = word
        for name, value in values.items():
            text = text.replace("{" + name + "}", value)
        found.append(text)
    return found


class Program:
    """One program in a process group of its own; its output goes to a file in ``folder``."""

    def __init__(
        self, words: Sequence[str], folder: Path, name: str, say: Callable[..., None]
    ) -> None:
        self.words = list(words)
        self._say = say
        self.output = folder / f"{name}.out"
        self._file: IO[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = folder

    def start(self) -> None:
        """``FailedError('drill_program_missing')`` where it cannot be started."""
        self._file = self.output.open("wb")
        try:
            self._process = subprocess.Popen(
                self.words, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=self._file,
                stderr=subprocess.STDOUT, process_group=0,
            )  # fmt: skip
        except (OSError, ValueError) as error:
            self._file.close()
            raise FailedError(
                "drill_program_missing",
                f"the program {self.words[0]!r} cannot be started: {error}",
            ) from error
        identity = processes.identify(self._process.pid)
        if identity is not None:  # else it has ended already
            self._say(STARTED, name=self.output.name, **asdict(identity))

    @property
    def code(self) -> int | None:
        """Its exit code, None while it runs."""
        return None if self._process is None else self._process.poll()

    def wait(self, limit: Limit) -> int:
        """It has ended with this code; on an error it and its children were killed."""
        try:
            limit.wait(lambda: self.code is not None)
        except BaseException:
            self.end()
            raise
        self.end()
        return self.code if self.code is not None else -1

    def end(self) -> None:
        """Nothing of its process group is left: SIGTERM, then SIGKILL. Safe to repeat."""
        process = self._process
        if process is not None:
            self._kill(process, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE)
            self._kill(process, signal.SIGKILL)
            process.wait()
        if self._file is not None:
            self._file.close()

    def _kill(self, process: "subprocess.Popen[bytes]", number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)

    def said(self) -> str:
        """The end of its output."""
        try:
            text = self.output.read_bytes().decode("utf-8", "replace")
        except OSError:
            return ""
        return text[-_KEPT:]


def end_left_over(started: Iterable[Mapping[str, Any]]) -> int:
    """Programs that a killed drill had started and that still run are ended; how many.

    ``started`` are the events of its journal: a pid alone names nobody.
    """
    ended = 0
    for one in started:
        process = processes.ProcessIdentity(one["pid"], one["started"], one["boot"])
        if processes.alive(process):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
                ended += 1
    return ended
