"""``dr-drill run``: break something on purpose, measure what it cost, roll back, sign it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import SystemRandom
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import DegradedError, FindingsError, UsageError
from aeterna_cli.operations.journal import Journal
from aeterna_cli.operations.lease import LeaseRequest
from aeterna_cli.operations.plan import Danger, Plan, Step
from aeterna_cli.operations.runner import OperationOutcome, execute, resume
from aeterna_cli.output.documents import document
from aeterna_cli.output.result import Result
from aeterna_cli.repository.signing import SigningKey
from aeterna_cli.signals import Stop
from aeterna_cli.workflows.dr_drill import library, needs, provide_backup, state, view, window
from aeterna_cli.workflows.dr_drill.drill_steps import DrillSteps, People
from aeterna_cli.workflows.dr_drill.escaping import clean
from aeterna_cli.workflows.dr_drill.judgement import targets
from aeterna_cli.workflows.dr_drill.library import Loaded
from aeterna_cli.workflows.dr_drill.providers import bind, used
from aeterna_cli.workflows.dr_drill.scenario import Action
from aeterna_cli.workflows.dr_drill.verdict import SCHEMA
from aeterna_cli.workflows.leases import DRILL

_SEEDS = 1 << 31


@dataclass(frozen=True)
class Options:
    """As typed. One of ``scenario`` and ``rollback`` is set."""

    scenario: str | None
    rollback: str | None
    seed: int | None
    people: People


@dataclass(frozen=True)
class Planned:
    """What a dry run would do. ``steps`` are the scenario's own, in their order."""

    scenario: str
    title: str
    seed: int
    scenario_sha256: str
    stores: tuple[str, ...]
    steps: tuple[str, ...]
    rollbacks: tuple[str, ...]
    targets: tuple[str, ...]


def run(ctx: Context, asked: Options) -> Result:
    """The drill ran, was rolled back, and its signed evidence is stored; exit 8 where it failed.

    ``RefusedError`` (7, nothing was touched): ``drill_not_possible``, ``drill_not_allowed``,
    ``drill_outside_window``, ``drill_target_not_segregated``. ``ConflictError`` (3):
    ``drill_unfinished``, ``lease_held``. With ``rollback``, what a drill that was cut off broke is
    mended and its evidence says so.
    """
    if (asked.scenario is None) == (asked.rollback is None):
        raise UsageError("drill_missing", "name one drill, or give --rollback ID")
    if asked.rollback is not None:
        return _roll_back(ctx, asked.rollback)
    people = People(**clean(asdict(asked.people)))
    loaded = library.load(str(asked.scenario), ctx.profile)
    seed = asked.seed if asked.seed is not None else loaded.scenario.seed
    seed = seed if seed is not None else SystemRandom().randrange(_SEEDS)
    made, steps = _prepared(ctx, loaded, seed, people)
    if ctx.flags.dry_run:
        return _dry(ctx, loaded, seed)
    state.refuse_unfinished(ctx)
    ctx.out.note(f"drill {loaded.name} with seed {seed}: {loaded.scenario.title}")
    # A signal ends the experiment, which then rolls back and keeps its evidence; the operation
    # around it goes on to its end.
    around = replace(ctx.run_environment(), stop=Stop())
    outcome = execute(made, around)
    return _finished(ctx, steps, outcome)


def _prepared(ctx: Context, loaded: Loaded, seed: int, people: People) -> tuple[Plan, DrillSteps]:
    """The plan, and everything refused that can be known before anything is touched."""
    needs.refuse(loaded.name, loaded.scenario, ctx.profile)
    window.refuse(loaded.name, ctx.profile, ctx.clock())
    _refuse_shared_targets(ctx, loaded)
    steps = DrillSteps(ctx, loaded, seed, people, SigningKey.load(ctx.deployment.signing_key_file))
    if not ctx.flags.break_glass:
        _ = ctx.deployment.repository  # initialised, ours, and its key the pinned one
    return plan(ctx, loaded, seed, people, steps), steps


def _refuse_shared_targets(ctx: Context, loaded: Loaded) -> None:
    for step in loaded.scenario.method:
        if isinstance(step, Action) and step.action == "restore.run":
            asked = bind(step).arguments
            if isinstance(asked, provide_backup.Restore):
                provide_backup.segregated(ctx, asked.into)


def plan(ctx: Context, loaded: Loaded, seed: int, people: People, steps: DrillSteps) -> Plan:
    """What is confirmed: in a lab with a yes, elsewhere with the profile's name."""
    changes = [name for name, one in used(loaded.scenario) if one.changes]
    lab = ctx.profile.environment == "lab"
    danger = Danger.DESTRUCTIVE if changes and not lab else Danger.REVERSIBLE
    return Plan(
        kind=state.KIND,
        summary=f"break and mend {', '.join(loaded.scenario.writers.stores)} of"
        f" {ctx.profile_name} by the drill {loaded.name}",
        target=loaded.name,
        danger=danger,
        facts={
            "scenario_sha256": loaded.sha256,
            "seed": seed,
            "actions": changes,
            "targets": [asdict(one) for one in targets(loaded.scenario, ctx.profile.targets)],
        },
        steps=(
            Step("experiment", steps.experiment, note="rollbacks always run"),
            Step("evidence", steps.evidence),
        ),
        leases=(LeaseRequest(DRILL),),
        confirm_name=ctx.profile_name,
        parameters={
            "name": loaded.name,
            "origin": loaded.origin,
            "scenario": loaded.data.decode("utf-8"),
            "seed": seed,
            "people": asdict(people),
            "danger": danger.value,
        },
    )


def _roll_back(ctx: Context, drill: str) -> Result:
    store = None if ctx.flags.break_glass else ctx.deployment.objects
    journal = Journal(store, ctx.state_directory, drill, clock=ctx.clock)
    journal.load()
    first = journal.records[0].data
    if first["plan"]["kind"] != state.KIND:
        raise UsageError("not_a_drill", f"operation {drill} is a {first['plan']['kind']}")
    return rolled_back(ctx, drill, first)


def rolled_back(ctx: Context, drill: str, first: Mapping[str, Any]) -> Result:
    """What a drill that was cut off broke is mended; its evidence says that it was killed (8).

    ``RefusedError('operation_ended')`` for one that had its end; ``ConflictError('lease_held')``
    while it runs.
    """
    parameters = first["plan"]["parameters"]
    loaded = library.loaded_from(
        str(parameters["scenario"]).encode(), parameters["name"], parameters["origin"]
    )
    people, seed = People(**parameters["people"]), int(parameters["seed"])
    key = SigningKey.load(ctx.deployment.signing_key_file)
    steps = DrillSteps(ctx, loaded, seed, people, key, taken_up=True)
    made = plan(ctx, loaded, seed, people, steps)
    around = replace(ctx.run_environment(), stop=Stop())
    outcome = resume(drill, lambda _first: made, around)
    return _finished(ctx, steps, outcome)


def _finished(ctx: Context, steps: DrillSteps, outcome: OperationOutcome) -> Result:
    """The result is printed before the error that says how it went."""
    drill = steps.drill(outcome.operation, outcome.results["experiment"])
    folder = outcome.results["evidence"]["folder"]
    result = Result(SCHEMA, drill, lambda: view.one(document(drill), Path(folder)))
    if drill.verdict == "passed" and outcome.results["evidence"]["stored"]:
        return result
    ctx.out.result(result)
    if drill.outcome.status == "interrupted" and ctx.stop.requested:
        error = ctx.stop.error()
        error.operation = outcome.operation
        error.hint = "everything was rolled back; the evidence says that it was interrupted"
        raise error
    if drill.verdict == "failed":
        failed = [one.name for one in drill.checks if not one.passed]
        raise FindingsError(
            "drill_failed",
            f"the drill {drill.scenario} failed: {'; '.join(failed[:3])}"
            + (f" and {len(failed) - 3} more" if len(failed) > 3 else ""),
            operation=outcome.operation,
            next_steps=[f"aeterna-cli dr-drill report {drill.id}"],
        )
    raise DegradedError(
        "evidence_not_stored",
        "the drill passed, but its evidence lies on this machine only",
        hint=folder,
        operation=outcome.operation,
        next_steps=["aeterna-cli dr-drill history  # sends what waits"],
    )


def _dry(ctx: Context, loaded: Loaded, seed: int) -> Result:
    scenario = loaded.scenario
    would = Planned(
        scenario=loaded.name,
        title=scenario.title,
        seed=seed,
        scenario_sha256=loaded.sha256,
        stores=tuple(scenario.writers.stores),
        steps=tuple(view.step_words(one) for one in scenario.method),
        rollbacks=tuple(view.step_words(one) for one in scenario.rollbacks),
        targets=tuple(
            f"{one.store}: RTO {one.rto:g} s, RPO {one.rpo:g} s"
            for one in targets(scenario, ctx.profile.targets)
        ),
    )
    return Result("aeterna.dr_drill.run.planned/1", would, lambda: view.planned(would))
