"""The two steps of a drill as an operation: the experiment with its rollbacks, and the evidence."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from aeterna_cli import __version__
from aeterna_cli.context import Context, actor
from aeterna_cli.errors import AeternaError
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.output.documents import document, rfc3339
from aeterna_cli.repository.signing import SigningKey
from aeterna_cli.workflows.dr_drill import evidence, judgement, outcome, state
from aeterna_cli.workflows.dr_drill.escaping import clean
from aeterna_cli.workflows.dr_drill.experiment import Experiment
from aeterna_cli.workflows.dr_drill.library import Loaded
from aeterna_cli.workflows.dr_drill.outcome import Outcome
from aeterna_cli.workflows.dr_drill.providers import used
from aeterna_cli.workflows.dr_drill.verdict import Drill, DrillFinding


@dataclass(frozen=True)
class People:
    """Who stands for it, and why. ``due_days``: until when a finding's owner has time."""

    approver: str = ""
    observer: str = ""
    owner: str = ""
    due_days: int = 30
    reason: str = ""
    change: str = ""


class DrillSteps:
    """``taken_up``: another process began it and died, so it is rolled back and not run."""

    def __init__(
        self, ctx: Context, loaded: Loaded, seed: int, people: People, key: SigningKey, *,
        taken_up: bool = False,
    ) -> None:  # fmt: skip
        self._ctx = ctx
        self._loaded = loaded
        self._seed = seed
        self._people = people
        self._key = key
        self._taken_up = taken_up

    def experiment(self, run: StepRun) -> Any:
        """What was done and measured; never fails, so that what it broke is always rolled back."""
        folder = state.folder_of(self._ctx, run.operation)
        started = self._ctx.clock()
        one = Experiment(self._ctx, self._loaded.scenario, run.operation, folder, self._seed)
        done = one.recover() if self._taken_up else one.run()
        return {
            "outcome": clean(document(done)),
            "started": rfc3339(started),
            "finished": rfc3339(self._ctx.clock()),
            "ran_by": actor(),
        }

    def evidence(self, run: StepRun) -> Any:
        """The signed folder; in the repository, or on this machine where the glass is broken."""
        folder = state.folder_of(self._ctx, run.operation)
        drill = self.drill(run.operation, run.results["experiment"])
        target = evidence.write(
            folder,
            drill,
            plan=self._plan(),
            environment=self._environment(),
            scenario=self._loaded.data,
            key=self._key,
        )
        mark = folder / evidence.UNSENT
        mark.touch(mode=0o600)
        try:
            evidence.store(self._ctx.deployment.objects, run.operation, target)
        except AeternaError as error:
            if not self._ctx.flags.break_glass:
                raise
            return {"folder": str(target), "stored": False, "why": error.message}
        mark.unlink()
        return {"folder": str(target), "stored": True}

    def drill(self, operation: str, result: Mapping[str, Any]) -> Drill:
        """The verdict, from what the experiment's step wrote down: always the same."""
        ctx, scenario, profile = self._ctx, self._loaded.scenario, self._ctx.profile
        done: Outcome = outcome.from_document(result["outcome"])
        wanted = judgement.targets(scenario, profile.targets)
        checks = judgement.judge(done, wanted)
        started = datetime.fromisoformat(result["started"])
        return Drill(
            id=operation,
            scenario=self._loaded.name,
            title=scenario.title,
            scope=scenario.scope,
            test_type=_test_type(scenario, profile.environment),
            verdict="passed" if judgement.passed(checks) else "failed",
            profile=ctx.profile_name,
            environment=profile.environment,
            deployment=ctx.deployment.id,
            ran_by=result["ran_by"],
            approved_by=self._people.approver,
            observed_by=self._people.observer,
            reason=self._people.reason,
            change=self._people.change,
            started=started,
            finished=datetime.fromisoformat(result["finished"]),
            next_due=started + timedelta(days=profile.drills.every_days),
            scenario_sha256=self._loaded.sha256,
            tool_version=__version__,
            emulated=scenario.emulated,
            targets=wanted,
            checks=checks,
            findings=self._findings(checks, started, result["ran_by"]),
            outcome=done,
        )

    def _findings(
        self, checks: tuple[judgement.Check, ...], started: datetime, ran_by: str
    ) -> tuple[DrillFinding, ...]:
        due = started + timedelta(days=self._people.due_days)
        owner = self._people.owner or ran_by
        return tuple(
            DrillFinding(f"{one.name}: wanted {one.wanted}, found {one.found}", owner, due)
            for one in checks
            if not one.passed
        )

    def _plan(self) -> dict[str, Any]:
        scenario = self._loaded.scenario
        return {
            "scenario": self._loaded.name,
            "origin": self._loaded.origin,
            "scenario_sha256": self._loaded.sha256,
            "seed": self._seed,
            "targets": judgement.targets(scenario, self._ctx.profile.targets),
            "summaries": [one.summary for one in scenario.load if one.summary],
        }

    def _environment(self) -> dict[str, Any]:
        """Where it ran: addresses, never a secret or a file of one."""
        profile = self._ctx.profile
        return {
            "profile": self._ctx.profile_name,
            "environment": profile.environment,
            "deployment": self._ctx.deployment.id,
            "machine": platform.node(),
            "system": platform.platform(),
            "tool_version": __version__,
            "postgres": profile.postgres.hosts
            or f"{profile.postgres.host}:{profile.postgres.port}",
            "redis": profile.redis.sentinels or f"{profile.redis.host}:{profile.redis.port}",
            "qdrant": profile.qdrant.peers or profile.qdrant.url,
            "repository": self._ctx.deployment.objects.description,
        }


def _test_type(scenario: Any, environment: str) -> str:
    """In an auditor's words."""
    names = [name for name, _one in used(scenario)]
    if "restore.run" in names:
        return "recovery into a segregated environment"
    kind = "failover of live servers"
    return f"simulation in a lab: {kind}" if environment == "lab" else kind
