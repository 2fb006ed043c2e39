"""One step of a scenario, carried out and written down. Its errors are its outcome."""

import time
from collections.abc import Sequence
from typing import Any

from aeterna_cli.errors import AeternaError, InterruptedByUser, TerminatedBySignal
from aeterna_cli.signals import Stop
from aeterna_cli.workflows.dr_drill import tolerance
from aeterna_cli.workflows.dr_drill.journal import DrillJournal
from aeterna_cli.workflows.dr_drill.limits import Limit
from aeterna_cli.workflows.dr_drill.outcome import Part, StepOutcome
from aeterna_cli.workflows.dr_drill.providers import bind, is_fault
from aeterna_cli.workflows.dr_drill.scenario import Action, Pause, Probe
from aeterna_cli.workflows.dr_drill.surroundings import Surroundings

_STOPS = (InterruptedByUser, TerminatedBySignal)


class Stepping:
    """``outcomes`` grows with every step, in their order."""

    def __init__(self, around: Surroundings, journal: DrillJournal) -> None:
        self.outcomes: list[StepOutcome] = []
        self._around = around
        self._journal = journal

    def action(self, part: Part, step: Action, stop: Stop | None) -> bool:
        """Whether it had its effect. A stop is raised on after it was written down; without a
        ``stop`` nobody can stop it."""
        self._begin(part, step.title, step.action)
        limit = Limit(step.timeout, stop, step.title)
        began = time.monotonic()
        try:
            answer, code, passed = bind(step).call(self._around, limit), "", True
        except AeternaError as error:
            answer, code, passed = _words(error), error.code, False
            if isinstance(error, _STOPS) or (stop is not None and stop.requested):
                self._add(
                    part, step.title, step.action, began, passed=passed, found=answer, code=code
                )
                raise
        except Exception as error:  # noqa: BLE001 - a defect of a provider must not skip rollbacks
            answer, code, passed = f"a defect: {type(error).__name__}", "internal_error", False
        self._add(
            part, step.title, step.action, began, passed=passed,
            found=tolerance.shown(answer), code=code, phase=step.phase,
            fault=part == "method" and is_fault(step),
        )  # fmt: skip
        return passed

    def pause(self, step: Pause) -> None:
        """A duration that is part of the experiment."""
        self._begin("method", step.why, "pause")
        began = time.monotonic()
        limit = Limit(step.pause + 1, self._around.ctx.stop, step.why)
        limit.pause(step.pause)
        self._add("method", step.why, "pause", began, passed=True, found=f"{step.pause:g} s")

    def probes(self, part: Part, probes: Sequence[Probe]) -> bool:
        """Whether all hold; the outcomes of this part are then those of this round."""
        self.outcomes = [one for one in self.outcomes if one.part != part]
        held = [self._probe(part, one) for one in probes]
        return all(held)

    def _probe(self, part: Part, probe: Probe) -> bool:
        began, stop = time.monotonic(), self._around.ctx.stop
        limit = Limit(probe.timeout, stop, probe.title)
        wanted, code = tolerance.words(probe.tolerance), ""
        try:
            judged = tolerance.judge(probe.tolerance, bind(probe).call(self._around, limit))
            passed, found = judged.held, judged.found
        except AeternaError as error:
            if isinstance(error, _STOPS) or stop.requested:
                raise
            passed, found, code = False, _words(error), error.code
        self._add(
            part,
            probe.title,
            probe.probe,
            began,
            passed=passed,
            found=found,
            wanted=wanted,
            code=code,
        )
        return passed

    def _begin(self, part: Part, title: str, provider: str) -> None:
        self._around.ctx.out.note(f"[{self._around.ctx.profile_name}] {part}: {title}")
        self._journal.say("step_began", part=part, title=title, provider=provider)

    def _add(
        self, part: Part, title: str, provider: str, began: float, *, passed: bool, found: Any,
        **more: Any,
    ) -> None:  # fmt: skip
        done = StepOutcome(
            part, title, provider, round(began - self._journal.began, 4),
            round(time.monotonic() - began, 4), passed, found=str(found), **more,
        )  # fmt: skip
        self.outcomes.append(done)
        self._journal.say("step_ended", step=done)


def _words(error: AeternaError) -> str:
    return f"{error.message} [{error.code}]" + (f": {error.hint}" if error.hint else "")
