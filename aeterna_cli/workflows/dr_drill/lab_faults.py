"""Faults of an ordinary lab: one server of each kind, killed, stopped or frozen."""

import signal
from pathlib import Path
from random import Random
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import FailedError, UsageError
from aeterna_cli.lab import names, processes
from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.workflows.dr_drill.limits import Limit

KINDS = ("kill", "stop", "freeze")


class LabFaults:
    """Injects into and heals the lab in one folder. Every call may be repeated."""

    def __init__(self, directory: Path) -> None:
        self._lab = Lab(directory)
        self._control = LabControl(self._lab)

    def resolve(self, _ctx: Context, target: str, random: Random) -> str:
        """The part that is meant; one of several is chosen by the seed."""
        words = sorted({word.strip() for word in target.split(",")})
        word = random.choice(words)
        return names.canonical(word.rpartition(":")[2])

    def inject(
        self, kind: str, target: str, _options: dict[str, Any], _limit: Limit
    ) -> dict[str, Any]:
        """The part is broken when this returns."""
        if kind not in KINDS:
            raise UsageError(
                "fault_unknown", f"an ordinary lab knows no fault {kind!r}",
                hint=f"one of {', '.join(KINDS)}",
            )  # fmt: skip
        if kind == "freeze":
            return {"frozen": self._freeze(target)}
        report = self._control.kill(target) if kind == "kill" else self._control.stop(target)
        return {"ended": report.pid}

    def heal(self, target: str | None, _limit: Limit) -> dict[str, Any]:
        """What was frozen goes on and what was ended runs again."""
        state = self._lab.file.read()
        parts = [names.canonical(target)] if target else list(state.parts if state else ())
        for part in parts:
            self._signal(part, signal.SIGCONT)
            self._control.start(part)
        return {"running": parts}

    def _freeze(self, part: str) -> int:
        frozen = self._signal(part, signal.SIGSTOP)
        if not frozen:
            raise FailedError("fault_without_effect", f"{part} does not run: nothing to freeze")
        return frozen

    def _signal(self, part: str, number: signal.Signals) -> int:
        state = self._lab.file.read()
        process = state.processes.get(part) if state else None
        if process is None:
            return 0
        return sum(processes.send(one, number) for one in processes.family(process))
