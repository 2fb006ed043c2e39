"""What ``failover switchover`` and ``failover run`` have in common.

All checks of all components come before the first write; a refusal of one refuses everything. Then
the stages run one after the other, each checked, done and verified, while numbered writes measure
how long each store did not take any.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from time import monotonic
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import AeternaError, DegradedError, RefusedError, TransientError, UsageError
from aeterna_cli.operations.lease import LeaseRequest
from aeterna_cli.operations.plan import Danger, Plan, Step
from aeterna_cli.operations.runner import execute, resume
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.output.result import Result
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.workflows import leases
from aeterna_cli.workflows.failover.component import Component, Preflight, Request, Stage
from aeterna_cli.workflows.failover.components import chosen, opened
from aeterna_cli.workflows.failover.fence import proven
from aeterna_cli.workflows.failover.probe import Gap, WriteProbe, store_of
from aeterna_cli.workflows.failover.wanted import Wanted

SCHEMAS = {
    "failover.switchover": "aeterna.failover.switchover/1",
    "failover.run": "aeterna.failover.run/1",
}


@dataclass(frozen=True)
class Switched:
    """``gaps`` by store, where it was measured. ``results`` by stage."""

    operation: str
    components: tuple[str, ...]
    dry_run: bool
    plan: tuple[str, ...]
    findings: tuple[Finding, ...]
    results: Mapping[str, Any]
    gaps: Mapping[str, Gap]
    seconds: float


def run(ctx: Context, wanted: Wanted, kind: str) -> Result:
    """Done, and seen to be done, when this returns.

    ``RefusedError('failover_refused')`` (7) with every reason: leader and roles are as they were.
    ``DegradedError`` (9): it is switched and a node is missing.
    """
    with _prepared(ctx, wanted) as work:
        if ctx.flags.dry_run:
            return _result(kind, work.told("", {}, {}, 0.0, dry_run=True))
        plan = work.plan(kind)
        began = monotonic()
        try:
            with work.probes() as gaps:
                outcome = execute(plan, ctx.run_environment(), replan=lambda: work.again(kind))
        except DegradedError as error:
            error.details = {**error.details, "gaps": _as_documents(gaps)}
            raise
        seconds = monotonic() - began
        return _result(
            kind, work.told(outcome.operation, outcome.results, gaps, seconds, dry_run=False)
        )


def resumed(ctx: Context, operation: str, first: Mapping[str, Any]) -> Result:
    """``operation resume``: the stages that were not done, with the candidate of then."""
    parameters, kind = first["plan"]["parameters"], first["plan"]["kind"]
    wanted = Wanted(**parameters["wanted"])
    with _reopened(ctx, wanted, parameters["found"]) as work:
        plan = work.plan(kind)
        began = monotonic()
        outcome = resume(operation, lambda _first: plan, ctx.run_environment())
        seconds = monotonic() - began
        return _result(kind, work.told(operation, outcome.results, {}, seconds, dry_run=False))


class Work:
    """The components of one command, with what was found before anything is written."""

    def __init__(
        self,
        ctx: Context,
        wanted: Wanted,
        components: list[Component],
        found: list[Preflight],
        request: Request,
    ) -> None:
        self._ctx = ctx
        self._wanted = wanted
        self._components = components
        self._found = found
        self._request = request
        self._gaps: dict[str, Gap] = {}

    def refuse(self) -> None:
        refusals = [(found.component, one) for found in self._found for one in found.refusals]
        if refusals:
            component, first = refusals[0]
            raise RefusedError(
                "failover_refused",
                f"{component}, {first.subject}: {first.message}",
                hint=f"{len(refusals)} reasons; nothing was changed",
                next_steps=[first.mend or f"aeterna-cli failover status --component {component}"],
                details={"refusals": [_finding(*one) for one in refusals]},
            )

    def stages(self) -> Iterator[tuple[Component, Stage]]:
        for component, found in zip(self._components, self._found, strict=True):
            for stage in component.stages(self._request, found):
                yield component, stage

    def plan(self, kind: str) -> Plan:
        planned = self._wanted.intent == "switchover"
        names = [one.name for one in self._components]
        return Plan(
            kind=kind,
            summary=f"{self._wanted.intent} of {', '.join(names)}: {'; '.join(self._moves())}",
            target=self._ctx.deployment.id,
            danger=Danger.REVERSIBLE if planned else Danger.DESTRUCTIVE,
            facts={one.component: dict(one.facts) for one in self._found},
            steps=tuple(_step(stage) for _, stage in self.stages()),
            leases=(LeaseRequest(leases.FAILOVER), LeaseRequest(leases.RESTORE, shared=True)),
            confirm_name="" if planned else self._ctx.profile_name,
            parameters={
                "wanted": asdict(self._wanted),
                "found": {
                    one.component: {
                        "leader": one.leader, "candidate": one.candidate, "facts": dict(one.facts)
                    }
                    for one in self._found
                },
            },
        )  # fmt: skip

    def again(self, kind: str) -> Plan:
        """The same plan from what is found now."""
        self._found = [one.preflight(self._request) for one in self._components]
        self.refuse()
        return self.plan(kind)

    def _moves(self) -> list[str]:
        chosen_by_servers = "whom its servers choose"
        return [
            f"{one.component} from {one.leader or 'nobody'} to {one.candidate or chosen_by_servers}"
            for one in self._found
        ]

    @contextmanager
    def probes(self) -> Iterator[dict[str, Gap]]:
        """Numbered writes to every store that takes them, for as long as the block lasts."""
        running: dict[str, WriteProbe] = {}
        planned = self._wanted.intent == "switchover" and self._wanted.probe
        with ExitStack() as stack:
            for component in self._components if planned else []:
                made = store_of(self._ctx.deployment, component.name)
                if made is not None:
                    store, close = made
                    stack.callback(close)
                    running[component.name] = WriteProbe(store)
                    running[component.name].start()
            try:
                yield self._gaps
            finally:
                for name, probe in running.items():
                    try:
                        self._gaps[name] = probe.stop()
                    except AeternaError as error:
                        self._ctx.out.warn(f"{name} takes no write yet: {error.message}")

    def told(
        self,
        operation: str,
        results: Mapping[str, Any],
        gaps: Mapping[str, Gap],
        seconds: float,
        *,
        dry_run: bool,
    ) -> Switched:
        return Switched(
            operation=operation,
            components=tuple(one.name for one in self._components),
            dry_run=dry_run,
            plan=tuple(f"{one.name} {one.note}".strip() for _, one in self.stages()),
            findings=tuple(finding for one in self._found for finding in one.findings),
            results=dict(results),
            gaps=dict(gaps),
            seconds=round(seconds, 3),
        )


@contextmanager
def _prepared(ctx: Context, wanted: Wanted) -> Iterator[Work]:
    """Every component was looked at, and none refuses."""
    names = chosen(wanted.component)
    if wanted.to is not None and len(names) > 1:
        raise UsageError("to_needs_component", "--to is a node of one component: name it")
    fenced = wanted.intent == "failover" and proven(ctx.deployment, wanted)
    request = Request(wanted.intent, wanted.to, wanted.accept_loss, fenced)
    with ExitStack() as stack:
        components = []
        for name in names:
            try:
                made = opened(ctx.deployment, name)
            except RefusedError as error:
                if len(names) == 1:
                    raise
                ctx.out.note(f"left out: {name}: {error.message}")
                continue
            stack.callback(made.close)
            components.append(made)
        found = [one.preflight(request) for one in components]
        work = Work(ctx, wanted, components, found, request)
        work.refuse()
        yield work


@contextmanager
def _reopened(ctx: Context, wanted: Wanted, known: Mapping[str, Any]) -> Iterator[Work]:
    """As it was planned before it was cut off; what is true now, the stages look at."""
    request = Request(wanted.intent, wanted.to, wanted.accept_loss, fenced=True)
    with ExitStack() as stack:
        components, found = [], []
        for name in chosen(wanted.component):
            if name not in known:
                continue
            made = opened(ctx.deployment, name)
            stack.callback(made.close)
            components.append(made)
            then = known[name]
            found.append(
                Preflight(name, made.status(), then["leader"], then["candidate"], (), then["facts"])
            )
        yield Work(ctx, wanted, components, found, request)


def _step(stage: Stage) -> Step:
    def do(run: StepRun) -> Any:
        began = monotonic()
        if stage.check is not None:
            stage.check(run)
        result = stage.do(run)
        if monotonic() - began > stage.limit:
            raise TransientError(
                "stage_too_long", f"{stage.name} took longer than {stage.limit:.0f} s"
            )
        return result

    return Step(stage.name, do, verify=stage.verify, undo=stage.undo, note=stage.note)


def _finding(component: str, one: Finding) -> dict[str, str]:
    return {
        "component": component,
        "code": one.code,
        "subject": one.subject,
        "message": one.message,
        "mend": one.mend,
    }


def _as_documents(gaps: Mapping[str, Gap]) -> dict[str, Any]:
    return {name: asdict(gap) for name, gap in gaps.items()}


def _result(kind: str, done: Switched) -> Result:
    return Result(SCHEMAS[kind], done, lambda: _view(done))


def _view(done: Switched) -> str:
    lines = ["would do:" if done.dry_run else f"operation {done.operation}"]
    lines += [f"  {one}" for one in done.plan]
    for name, gap in done.gaps.items():
        lines.append(
            f"{name}: no write was acknowledged for {gap.seconds:.2f} s at most;"
            f" {gap.acknowledged:,} were, {gap.lost} of them are lost"
        )
    lines += [f"{one.severity}: {one.subject}: {one.message}" for one in done.findings]
    if not done.dry_run:
        lines.append(f"done in {done.seconds:.1f} s")
    return "\n".join(lines)
