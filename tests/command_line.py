"""The command line inside the test's own process: fast, and its coverage counts."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from aeterna_cli.main import main

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What the JSON envelope on stdout holds."""
        return json.loads(self.out)["data"]

    @property
    def schema(self) -> str:
        return str(json.loads(self.out)["schema"])

    @property
    def error(self) -> dict[str, Any]:
        """The error object on stderr's last line."""
        found: dict[str, Any] = json.loads(self.err.strip().splitlines()[-1])["error"]
        return found


class CommandLine:
    """Runs commands as ``aeterna-cli`` would; the test's signal handlers are put back."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *words: str) -> Ran:
        self._capsys.readouterr()
        with _own_signals():
            code = main(list(words))
        captured = self._capsys.readouterr()
        return Ran(int(code), captured.out, captured.err)

    def ok(self, *words: str) -> Ran:
        """As a call, and the command must have succeeded."""
        ran = self(*words)
        assert ran.code == 0, f"{' '.join(words)}: exit {ran.code}\n{ran.err}"
        return ran


@contextmanager
def _own_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
