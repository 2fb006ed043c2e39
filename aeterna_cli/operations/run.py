"""One run of a plan: its steps in order, each journalled before and after."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any

from aeterna_cli.errors import (
    AeternaError,
    ConflictError,
    DegradedError,
    InterruptedByUser,
    TerminatedBySignal,
)
from aeterna_cli.operations.journal import Journal, Record
from aeterna_cli.operations.kill_points import kill_point
from aeterna_cli.operations.lease import Lease
from aeterna_cli.operations.plan import Danger, Plan, Step
from aeterna_cli.operations.run_environment import OperationOutcome, RunEnvironment
from aeterna_cli.operations.step_run import StepRun


class Run:
    """The steps of one plan, from wherever the journal says it is."""

    def __init__(
        self,
        plan: Plan,
        around: RunEnvironment,
        journal: Journal,
        leases: Sequence[Lease],
    ) -> None:
        self._plan = plan
        self._around = around
        self._journal = journal
        self._leases = leases
        self._began = monotonic()
        self._results: dict[str, Any] = {}
        self._checkpoints: dict[str, Any] = {}
        self._degraded: DegradedError | None = None
        for record in journal.records:
            self._remember(record)

    def _remember(self, record: Record) -> None:
        if record.kind == "result":
            self._results[record.data["step"]] = record.data["result"]
            if "degraded" in record.data:
                self._degraded = self._degraded or DegradedError(**record.data["degraded"])
        elif record.kind == "checkpoint":
            self._checkpoints[record.data["step"]] = record.data["data"]

    def to_the_end(self, kind: str, data: Mapping[str, Any]) -> OperationOutcome:
        """Write a record of this kind, then do every step that has no result yet.

        Once the last step is done this never fails: what cannot be recorded any more makes it a
        ``DegradedError``, as does the first step that was degraded, also before a crash.
        """
        try:
            self._journal.append(kind, data)
            for step in self._plan.steps:
                if step.name not in self._results:
                    self._one(step)
        except AeternaError as error:
            told = self._around.stop.told(error)
            self._write_end(told)
            if told is error:
                raise
            raise told from error
        except BaseException as error:
            self._write_end(error)
            raise
        self._finish()
        return OperationOutcome(
            self._journal.operation,
            dict(self._results),
            monotonic() - self._began,
            pending=self._journal.pending,
        )

    def _finish(self) -> None:
        with self._degrading():
            self._journal.append("finished", {})
        with self._degrading():
            self._audit("finished" if self._degraded is None else "degraded")
        if self._degraded is not None:
            self._degraded.operation = self._journal.operation
            raise self._degraded

    @contextmanager
    def _degrading(self) -> Iterator[None]:
        try:
            yield
        except AeternaError as error:
            self._degraded = self._degraded or DegradedError(
                "end_not_recorded",
                f"everything is done, but its end is not recorded: {error.message}",
                hint=error.hint,
                next_steps=[f"aeterna-cli operation show {self._journal.operation}"],
                details={"code": error.code},
            )

    def _one(self, step: Step) -> None:
        run = StepRun(
            self._journal.operation,
            step.name,
            self._results,
            stop=self._around.stop,
            leases=self._leases,
            emit=self._around.emit,
            checkpoint=self._checkpoint,
            last_checkpoint=self._checkpoints.get(step.name),
        )
        run.safe_point()
        self._journal.append("intent", {"step": step.name})
        run.emit("step_started")
        kill_point(f"step:{step.name}:before")
        began = monotonic()
        data = {"step": step.name, **self._do(step, run)}
        kill_point(f"step:{step.name}:after")
        for lease in self._leases:  # an effect beside somebody else's is not taken for done
            lease.assert_held()
        self._journal.append("result", data)
        self._results[step.name] = data["result"]
        run.emit("step_finished", seconds=monotonic() - began)

    def _do(self, step: Step, run: StepRun) -> dict[str, Any]:
        """The step's result. A degraded step has its effect; it is remembered, and said last."""
        data: dict[str, Any] = {"result": None}
        try:
            try:
                data["result"] = step.do(run)
            except DegradedError as error:
                self._degraded = self._degraded or error
                data["degraded"] = _as_arguments(error)
            if step.verify is not None:
                step.verify(run)
        except BaseException as error:
            # Whoever has the lease now may be at work on the same things: hands off.
            if step.undo is not None and not lease_is_lost(error):
                self._undo(step, run, error)
            raise
        return data

    def _undo(self, step: Step, run: StepRun, error: BaseException) -> None:
        """What failed first stays what is raised; that undoing failed is said with it."""
        try:
            if run.last_checkpoint is not None:  # what is undone must not be skipped later
                self._checkpoint(step.name, None)
            if step.undo is not None:
                step.undo(run)
        except AeternaError as second:
            said = f"undoing {step.name} failed as well: {second.message}"
            if isinstance(error, AeternaError):
                error.hint = f"{error.hint}; {said}" if error.hint else said
            else:
                error.add_note(said)

    def _checkpoint(self, step: str, data: Any) -> None:
        self._journal.append("checkpoint", {"step": step, "data": data})

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
        for write in (partial(self._journal.append, kind, data), partial(self._audit, kind)):
            try:
                write()
            except AeternaError as second:  # it must not hide what went wrong first
                fields = {"operation": self._journal.operation, "code": second.code}
                self._around.emit("end_not_recorded", {**fields, "message": second.message})

    def _explain(self, error: AeternaError) -> None:
        error.operation = self._journal.operation
        if self._plan.restartable and not lease_is_lost(error):
            step = f"aeterna-cli operation resume {self._journal.operation}"
            if self._plan.danger is Danger.DESTRUCTIVE:
                step += f" --confirm {self._plan.confirm_name}"
            error.next_steps = (*error.next_steps, step)

    def _audit(self, outcome: str) -> None:
        self._around.audit(self._journal.operation, self._plan.as_document(), outcome)


def lease_is_lost(error: BaseException) -> bool:
    """Whether somebody else may go on in our place: then nothing is put right by us either."""
    lost = ("lease_lost", "operation_taken_over")
    return isinstance(error, ConflictError) and error.code in lost


def _as_arguments(error: DegradedError) -> dict[str, Any]:
    return {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "next_steps": list(error.next_steps),
        "details": error.details,
    }
