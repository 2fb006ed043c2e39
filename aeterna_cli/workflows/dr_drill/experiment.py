"""One run of a scenario: writers, steady state, method, steady state again, rollbacks, measures.

Rollbacks run whatever happened before them: after a failed action, after a signal, and, by another
process, after a kill (``recover``).
"""

import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import (
    AeternaError,
    FailedError,
    InterruptedByUser,
    TerminatedBySignal,
)
from aeterna_cli.operations.kill_points import kill_point
from aeterna_cli.workflows.dr_drill import measuring
from aeterna_cli.workflows.dr_drill.journal import DrillJournal, events
from aeterna_cli.workflows.dr_drill.limits import Limit
from aeterna_cli.workflows.dr_drill.load import BackgroundLoad
from aeterna_cli.workflows.dr_drill.measure import Moments
from aeterna_cli.workflows.dr_drill.outcome import Outcome, Part, Status
from aeterna_cli.workflows.dr_drill.programs import STARTED, end_left_over
from aeterna_cli.workflows.dr_drill.providers import is_fault, is_recovery
from aeterna_cli.workflows.dr_drill.scenario import Pause, Scenario
from aeterna_cli.workflows.dr_drill.stepping import Stepping
from aeterna_cli.workflows.dr_drill.surroundings import Surroundings
from aeterna_cli.workflows.dr_drill.writers import DrillWriters

_STOPS = (InterruptedByUser, TerminatedBySignal)
_WARM_UP = 60.0  # seconds until every writer must have been acknowledged often enough


class Experiment:
    """One drill in its own folder. ``run`` or ``recover`` is called once."""

    def __init__(
        self, ctx: Context, scenario: Scenario, drill: str, folder: Path, seed: int
    ) -> None:
        self._ctx = ctx
        self._scenario = scenario
        self._seed = seed
        self._journal = DrillJournal(folder, ctx.clock)
        self._around = Surroundings(ctx, drill, folder, Random(seed), self._journal.say)  # noqa: S311 - a choice that can be repeated
        self._writers = DrillWriters(ctx.profile, drill, scenario.writers, folder)
        self._around.writers = self._writers
        self._load = BackgroundLoad(scenario.load, folder, self._around.values, self._journal.say)
        self._stepping = Stepping(self._around, self._journal)
        self._fault: float | None = None
        self._decided: float | None = None
        self._acted: float | None = None
        self._verified: float | None = None
        self._ended: float | None = None
        self._reason = ""

    def run(self) -> Outcome:
        """Everything of the scenario; no error of a server, a program or a signal leaves it."""
        self._journal.say("drill_began", seed=self._seed)
        status = self._guarded(self._until_verified)
        with self._ctx.stop.finishing():
            self._guarded(self._writers.stop)
            self._ended = self._ended or time.monotonic()
            self._guarded(self._load.end)
            kill_point("drill:rollbacks:before")
            self.roll_back()
            kill_point("drill:rollbacks:after")
            outcome = self._outcome(status)
            self._journal.say("drill_ended", status=outcome.status, reason=outcome.reason)
        return outcome

    def recover(self) -> Outcome:
        """The rollbacks of a run whose process died. What it measured nobody can vouch for."""
        started = [one for one in events(self._around.folder) if one["event"] == STARTED]
        ended = end_left_over(started)
        self._journal.say("drill_taken_up", reason="its process was gone", programs_ended=ended)
        with self._ctx.stop.finishing():
            self.roll_back()
            self._clean_up()
            self._reason = "the process of the drill died; another one rolled back"
            outcome = Outcome(
                "killed", self._seed, tuple(self._stepping.outcomes), reason=self._reason,
                seconds=self._since(),
            )  # fmt: skip
            self._journal.say("drill_ended", status="killed", reason=self._reason)
        return outcome

    def roll_back(self) -> None:
        """Every rollback is tried, also after one that failed."""
        for action in self._scenario.rollbacks:
            kill_point("drill:rollback:before")
            self._stepping.action("rollback", action, None)

    # -- the parts

    def _until_verified(self) -> Status:
        kill_point("drill:writers:before")
        self._writers.start()
        kill_point("drill:writers:after")
        limit = Limit(_WARM_UP, self._ctx.stop, "waiting for the writers")
        try:
            limit.wait(self._warm)
        except FailedError:
            raise
        except AeternaError as error:
            error.hint = self._writers.words()
            raise
        if not self._steady("before", 0):
            self._reason = "the steady state did not hold to begin with; nothing was broken"
            return "not-steady"
        self._load.start()
        kill_point("drill:method:before")
        fine = self._method()
        kill_point("drill:method:after")
        self._writers.check()
        if self._steady("after", self._scenario.hypothesis.within):
            self._verified = time.monotonic()
        self._ended = self._around.declared_lost
        return "completed" if fine else "failed"

    def _warm(self) -> bool:
        self._writers.check()
        return self._writers.warm

    def _method(self) -> bool:
        """False as soon as an action failed: what would come after it means nothing then."""
        for number, step in enumerate(self._scenario.method):
            kill_point(f"drill:method:{number}")
            if isinstance(step, Pause):
                self._stepping.pause(step)
                continue
            begun, first_fault = time.monotonic(), self._fault is None and is_fault(step)
            if first_fault:
                self._fault = begun
                self._around.fault_began = None
            elif self._decided is None and self._fault is not None and is_recovery(step):
                self._decided = begun
            passed = self._stepping.action("method", step, self._ctx.stop)
            if first_fault:
                self._fault = self._around.fault_began or begun
            if is_recovery(step):
                self._acted = time.monotonic()
            if not passed:
                self._reason = f"{step.title}: {self._stepping.outcomes[-1].found}"
                return False
        return True

    def _steady(self, part: Part, within: float) -> bool:
        """Whether every probe holds; asked again until ``within`` is over."""
        limit = Limit(within, self._ctx.stop, "waiting for the steady state")
        while True:
            held = self._stepping.probes(part, self._scenario.hypothesis.probes)
            if held or not limit.left:
                return held
            if limit.requested:
                limit.check()
            limit.pause(min(0.25, limit.left))

    def _guarded(self, work: Callable[[], Any]) -> Status:
        """What happened in ``work``, as a status; its errors go into the journal."""
        try:
            found = work()
        except _STOPS as error:
            self._reason = error.message
            self._journal.say("interrupted", message=error.message)
            return "interrupted"
        except AeternaError as error:
            self._reason = self._reason or f"{error.message} [{error.code}]" + (
                f" ({error.hint})" if error.hint else ""
            )
            self._journal.say("failed", code=error.code, message=error.message, hint=error.hint)
            return "interrupted" if self._ctx.stop.requested else "failed"
        return found if isinstance(found, str) else "completed"  # type: ignore[return-value]

    # -- the end

    def _outcome(self, status: Status) -> Outcome:
        moments = Moments(
            self._journal.began, self._fault, self._ended or time.monotonic(), self._decided,
            self._acted, self._verified,
        )  # fmt: skip
        measured, notes = measuring.measure(self._around, self._scenario, moments)
        versions = measuring.versions(self._around)
        notes += self._clean_up()
        kill_point("drill:measured")
        return Outcome(
            status=status,
            seed=self._seed,
            steps=tuple(self._stepping.outcomes),
            measured=tuple(measured),
            load=self._load.outcomes(),
            fault=self._fault - self._journal.began if self._fault is not None else None,
            seconds=self._since(),
            reason=self._reason,
            backups=tuple(self._around.backups),
            notes=tuple(notes),
            versions=versions,
        )

    def _clean_up(self) -> list[str]:
        left = self._writers.clear()
        self._journal.say("markers_removed", left=left)
        return [f"markers were left in {one}" for one in left]

    def _since(self) -> float:
        return round(time.monotonic() - self._journal.began, 3)
