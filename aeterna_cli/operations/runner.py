"""Carrying out a plan: confirmed, under leases, journalled step by step, resumable when cut off."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

from aeterna_cli import __version__
from aeterna_cli.errors import (
    AeternaError,
    DegradedError,
    InterruptedByUser,
    RefusedError,
    TerminatedBySignal,
    TransientError,
)
from aeterna_cli.operations.audit import AuditLog
from aeterna_cli.operations.confirm import Answers, confirm
from aeterna_cli.operations.identifiers import uuid7
from aeterna_cli.operations.journal import ENDED, Journal, state_of
from aeterna_cli.operations.kill_points import kill_point
from aeterna_cli.operations.lease import HEARTBEAT, VOID, Lease
from aeterna_cli.operations.plan import Danger, Plan, Step
from aeterna_cli.operations.step_run import Emit, StepRun
from aeterna_cli.signals import Stop
from aeterna_cli.stores.base.objects import ObjectStore


@dataclass(frozen=True)
class RunEnvironment:
    """Everything around a plan. ``store`` None runs without leases, with the local journal only."""

    store: ObjectStore | None
    state_directory: Path
    profile: str
    environment: str
    actor: str
    answers: Answers
    stop: Stop
    clock: Callable[[], datetime]
    emit: Emit
    reason: str = ""
    change: str = ""
    break_glass: str = ""
    dry_run: bool = False
    heartbeat: float = HEARTBEAT
    void: float = VOID


@dataclass(frozen=True)
class OperationOutcome:
    """What came of it. ``results`` by step; with ``dry_run`` nothing was done at all. ``pending``
    counts journal records that still wait for the repository."""

    operation: str
    results: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    dry_run: bool = False
    pending: int = 0


def execute(
    plan: Plan, around: RunEnvironment, *, replan: Callable[[], Plan] | None = None
) -> OperationOutcome:
    """Carry the plan out; every step has its effect when this returns.

    Confirmed first; then planned again where ``replan`` is given: ``RefusedError('plan_changed')``
    if its fingerprint moved meanwhile. On failure the journal says how far it came, the error names
    the operation, and ``resume`` goes on (a plan that is not restartable is marked abandoned).
    """
    if around.dry_run:
        return OperationOutcome("", dry_run=True)
    confirm(plan, around.answers, profile=around.profile, environment=around.environment)
    if replan is not None:
        _refuse_moved(plan, replan())
    operation = uuid7()
    with ExitStack() as stack:
        leases = stack.enter_context(_held(plan, around, operation))
        journal = _journal(around, operation)
        journal.append("started", _first_record(plan, around))
        return _Run(plan, around, journal, leases, results={}, checkpoints={}).to_the_end()


def resume(
    operation: str, rebuild: Callable[[Mapping[str, Any]], Plan], around: RunEnvironment
) -> OperationOutcome:
    """Go on with an operation that was cut off. ``rebuild`` makes its plan from record 0.

    Steps with a result are skipped, the one without is repeated. ``RefusedError``:
    ``operation_ended``, ``operation_not_restartable``, ``plan_changed`` (other steps than then).
    """
    journal = _journal(around, operation)
    journal.load()
    first = journal.records[0].data
    if state_of(journal.records) in ENDED:
        raise RefusedError(
            "operation_ended", f"operation {operation} is {state_of(journal.records)}"
        )
    if not first["plan"]["restartable"]:
        raise RefusedError(
            "operation_not_restartable",
            f"a {first['plan']['kind']} is not resumed: it starts anew",
            next_steps=[f"aeterna-cli operation abort {operation}"],
        )
    plan = rebuild(first)
    if [step.name for step in plan.steps] != first["plan"]["steps"]:
        raise RefusedError("plan_changed", "the plan of this operation has other steps now")
    confirm(plan, around.answers, profile=around.profile, environment=around.environment)
    results = {r.data["step"]: r.data["result"] for r in journal.records if r.kind == "result"}
    checkpoints = {
        r.data["step"]: r.data["data"] for r in journal.records if r.kind == "checkpoint"
    }
    with _held(plan, around, operation) as leases:
        journal.append("resumed", {"actor": around.actor, "reason": around.reason})
        run = _Run(plan, around, journal, leases, results=results, checkpoints=checkpoints)
        return run.to_the_end()


def abort(operation: str, around: RunEnvironment) -> None:
    """Mark an unfinished operation abandoned; nothing of it is undone.

    ``RefusedError('operation_ended')``; ``ConflictError('lease_held')`` while it runs.
    """
    journal = _journal(around, operation)
    journal.load()
    if state_of(journal.records) in ENDED:
        raise RefusedError(
            "operation_ended", f"operation {operation} is {state_of(journal.records)}"
        )
    journal.append("abandoned", {"actor": around.actor, "reason": around.reason})


def kill_points(plan: Plan) -> Iterator[str]:
    """Every point at which a test may kill this plan: around each journal write and each step."""
    records = 1 + 2 * len(plan.steps) + 1
    for sequence in range(records):
        yield f"journal:{sequence}:before"
        yield f"journal:{sequence}:after"
    for step in plan.steps:
        for place in ("before", "middle", "after"):
            yield f"step:{step.name}:{place}"


class _Run:
    """The steps of one plan, from wherever the journal says it is."""

    def __init__(
        self,
        plan: Plan,
        around: RunEnvironment,
        journal: Journal,
        leases: Sequence[Lease],
        *,
        results: dict[str, Any],
        checkpoints: dict[str, Any],
    ) -> None:
        self._plan = plan
        self._around = around
        self._journal = journal
        self._leases = leases
        self._results = results
        self._checkpoints = checkpoints
        self._degraded: DegradedError | None = None
        self._began = monotonic()

    def to_the_end(self) -> OperationOutcome:
        try:
            for step in self._plan.steps:
                if step.name not in self._results:
                    self._one(step)
        except BaseException as error:
            self._write_end(error)
            raise
        self._journal.append("finished", {})
        self._audit("finished" if self._degraded is None else "degraded")
        if self._degraded is not None:
            self._degraded.operation = self._journal.operation
            raise self._degraded
        return OperationOutcome(
            self._journal.operation,
            dict(self._results),
            monotonic() - self._began,
            pending=self._journal.pending,
        )

    def _one(self, step: Step) -> None:
        run = StepRun(
            self._journal.operation,
            step.name,
            self._results,
            stop=self._around.stop,
            leases=self._leases,
            emit=self._around.emit,
            checkpoint=lambda name, data: self._write("checkpoint", {"step": name, "data": data}),
            last_checkpoint=self._checkpoints.get(step.name),
        )
        run.safe_point()
        self._write("intent", {"step": step.name})
        run.emit("step_started")
        kill_point(f"step:{step.name}:before")
        began = monotonic()
        result = self._do(step, run)
        kill_point(f"step:{step.name}:after")
        self._write("result", {"step": step.name, "result": result})
        self._results[step.name] = result
        run.emit("step_finished", seconds=monotonic() - began)

    def _do(self, step: Step, run: StepRun) -> Any:
        """The step's result. A degraded step has its effect; it is remembered, and said last."""
        try:
            result = None
            try:
                result = step.do(run)
            except DegradedError as error:
                self._degraded = self._degraded or error
            if step.verify is not None:
                step.verify(run)
        except BaseException as error:
            if step.undo is not None:
                try:
                    step.undo(run)
                except AeternaError as second:
                    error.add_note(f"undoing {step.name} failed as well: {second.message}")
            raise
        return result

    def _write(self, kind: str, data: Mapping[str, Any]) -> None:
        self._journal.append(kind, data)

    def _write_end(self, error: BaseException) -> None:
        """The journal says how it ended; what raised is what the caller gets."""
        stopped = isinstance(error, InterruptedByUser | TerminatedBySignal)
        kind = "interrupted" if stopped else "failed"
        if not self._plan.restartable:
            kind = "abandoned"
        data: dict[str, Any] = {"error": type(error).__name__}
        if isinstance(error, AeternaError):
            data |= {"code": error.code, "message": error.message}
            self._explain(error)
        with suppress(AeternaError):  # a lost repository must not hide what went wrong
            self._journal.append(kind, data)
        with suppress(AeternaError):
            self._audit(kind)

    def _explain(self, error: AeternaError) -> None:
        error.operation = self._journal.operation
        if self._plan.restartable:
            step = f"aeterna-cli operation resume {self._journal.operation}"
            if self._plan.danger is Danger.DESTRUCTIVE:
                step += f" --confirm {self._plan.confirm_name}"
            error.next_steps = (*error.next_steps, step)

    def _audit(self, outcome: str) -> None:
        around = self._around
        AuditLog(around.state_directory).write(
            time=around.clock(),
            actor=around.actor,
            profile=around.profile,
            kind=self._plan.kind,
            target=self._plan.target,
            operation=self._journal.operation,
            outcome=outcome,
            reason=around.reason,
            change=around.change,
        )


@contextmanager
def _held(plan: Plan, around: RunEnvironment, operation: str) -> Iterator[list[Lease]]:
    """Every lease of the plan, given back in the end; none where the glass was broken."""
    held: list[Lease] = []
    try:
        for request in plan.leases:
            if around.store is None:
                break
            lease = Lease(
                around.store,
                request,
                operation=operation,
                actor=around.actor,
                heartbeat=around.heartbeat,
                void=around.void,
            )
            try:
                lease.acquire()
            except TransientError:
                if not around.break_glass:
                    raise
                continue
            held.append(lease)
        yield held
    finally:
        for lease in reversed(held):
            with suppress(AeternaError):  # it becomes void by itself
                lease.release()


def _journal(around: RunEnvironment, operation: str) -> Journal:
    return Journal(
        around.store,
        around.state_directory,
        operation,
        clock=around.clock,
        break_glass=around.break_glass,
    )


def _first_record(plan: Plan, around: RunEnvironment) -> dict[str, Any]:
    return {
        "plan": plan.as_document(),
        "fingerprint": plan.fingerprint,
        "profile": around.profile,
        "environment": around.environment,
        "actor": around.actor,
        "reason": around.reason,
        "change": around.change,
        "tool_version": __version__,
        "break_glass": around.break_glass,
    }


def _refuse_moved(plan: Plan, again: Plan) -> None:
    if plan.fingerprint == again.fingerprint:
        return
    before, after = plan.as_document(), again.as_document()
    changed = sorted(key for key in before if before[key] != after[key])
    raise RefusedError(
        "plan_changed",
        f"what the plan rests on has changed while it was confirmed: {', '.join(changed)}",
        hint="nothing was changed; look at the new plan",
        details={"changed": changed},
    )
