"""What a scenario may ask and do: one table of typed providers. Nothing else is ever called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from aeterna_cli.errors import RefusedError
from aeterna_cli.workflows.dr_drill import (
    provide_backup,
    provide_failover,
    provide_lab,
    provide_plain,
)
from aeterna_cli.workflows.dr_drill.limits import Limit
from aeterna_cli.workflows.dr_drill.scenario import Action, Need, Part, Pause, Probe, Scenario
from aeterna_cli.workflows.dr_drill.scenario_text import Parsed, Path, closest, first_problem
from aeterna_cli.workflows.dr_drill.surroundings import Surroundings

Use = Literal["probe", "action", "both"]
Call = Callable[[Surroundings, Any, Limit], Any]


@dataclass(frozen=True)
class Provider:
    """``fault``: the objectives are measured from when it begins. ``recovers``: it is what somebody
    does about it. ``changes``: a production profile wants a typed name for it. ``missing`` is why
    it cannot be called yet."""

    arguments: type[Part]
    call: Call | None
    use: Use = "action"
    fault: bool = False
    recovers: bool = False
    changes: bool = True
    needs: tuple[Need, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Bound:
    """A provider with its arguments checked."""

    name: str
    provider: Provider
    arguments: Part

    def call(self, around: Surroundings, limit: Limit) -> Any:
        if self.provider.call is None:
            raise RefusedError("drill_not_possible", f"{self.name}: {self.provider.missing}")
        return self.provider.call(around, self.arguments, limit)


_KUBERNETES = "there is no Kubernetes provider in this version: no pod can be deleted"
_REGION = "`failover region` is not in this version: no region can be promoted"

PROVIDERS: Mapping[str, Provider] = {
    "http": Provider(provide_plain.Http, provide_plain.http, "both", changes=False),
    "sql": Provider(provide_plain.Sql, provide_plain.sql, "both", changes=False),
    "process": Provider(provide_plain.Process, provide_plain.process, "both"),
    "wait_for": Provider(provide_plain.WaitFor, provide_plain.wait_for, changes=False),
    "marker.latest": Provider(
        provide_plain.MarkerLatest, provide_plain.marker_latest, "probe", changes=False
    ),
    "repository.reachable": Provider(
        provide_backup.Nothing, provide_backup.repository_reachable, "probe", changes=False,
        needs=("repository",),
    ),
    "loss.declare": Provider(
        provide_plain.Nothing, provide_plain.declare_loss, fault=True, changes=False
    ),
    "lab.fault": Provider(provide_lab.Fault, provide_lab.inject, fault=True, needs=("lab",)),
    "lab.heal": Provider(provide_lab.Heal, provide_lab.heal, needs=("lab",)),
    "markers.corrupt": Provider(
        provide_backup.Nothing, provide_backup.corrupt_markers, fault=True
    ),
    "backup.create": Provider(
        provide_backup.Create, provide_backup.create, changes=False, needs=("repository",)
    ),
    "wal.store": Provider(
        provide_backup.Nothing, provide_backup.store_wal, changes=False, needs=("repository",)
    ),
    "restore.run": Provider(
        provide_backup.Restore, provide_backup.restore, recovers=True, needs=("repository",)
    ),
    "failover.status": Provider(
        provide_failover.Status, provide_failover.status, "probe", changes=False
    ),
    "failover.switchover": Provider(
        provide_failover.Switchover, provide_failover.switchover, fault=True
    ),
    "failover.region": Provider(provide_plain.Free, None, missing=_REGION),
    "kubernetes.delete_pod": Provider(provide_plain.Free, None, fault=True, missing=_KUBERNETES),
}  # fmt: skip


def bind_all(parsed: Parsed, scenario: Scenario) -> None:
    """Every provider of the scenario exists, may be used where it stands, and its arguments are
    right; else ``UsageError('scenario_invalid')`` with the line."""
    for index, probe in enumerate(scenario.hypothesis.probes):
        _checked(parsed, ("steady-state", "probes", index), probe)
    for index, step in enumerate(scenario.method):
        if not isinstance(step, Pause):
            _checked(parsed, ("method", index), step)
    for index, action in enumerate(scenario.rollbacks):
        _checked(parsed, ("rollbacks", index), action)
    if not any(is_fault(step) for step in scenario.method):
        raise parsed.error(
            ("method",), "nothing in it is a fault: nothing would be measured",
            "add `fault: true` to the action that the objectives are measured from",
        )  # fmt: skip


def _checked(parsed: Parsed, at: Path, step: Probe | Action) -> None:
    word = "probe" if isinstance(step, Probe) else "action"
    name = step.probe if isinstance(step, Probe) else step.action
    provider = PROVIDERS.get(name)
    if provider is None:
        known = [one for one, of in PROVIDERS.items() if of.use in (word, "both")]
        raise parsed.error((*at, word), f"there is no {word} {name!r}", closest(name, known))
    if provider.use not in (word, "both"):
        raise parsed.error((*at, word), f"{name} is no {word}")
    try:
        arguments = provider.arguments.model_validate(step.arguments)
    except ValidationError as error:
        known = [field.alias or key for key, field in provider.arguments.model_fields.items()]
        raise first_problem(parsed, (*at, "with"), error, known) from None
    if isinstance(arguments, provide_plain.WaitFor):
        _checked(parsed, (*at, "with"), arguments.as_probe())


def bind(step: Probe | Action) -> Bound:
    """For a step of a scenario that ``bind_all`` has seen."""
    name = step.probe if isinstance(step, Probe) else step.action
    provider = PROVIDERS[name]
    return Bound(name, provider, provider.arguments.model_validate(step.arguments))


def is_fault(step: object) -> bool:
    """Whether the objectives are measured from when this begins."""
    return isinstance(step, Action) and (step.fault or PROVIDERS[step.action].fault)


def is_recovery(step: object) -> bool:
    """Whether this is what somebody does about the fault."""
    if not isinstance(step, Action):
        return False
    return step.phase == "action" or (step.phase is None and PROVIDERS[step.action].recovers)


def used(scenario: Scenario) -> list[tuple[str, Provider]]:
    """Every provider of a scenario, once, in its order."""
    steps: list[Any] = [*scenario.hypothesis.probes, *scenario.method, *scenario.rollbacks]
    names = [one.probe if isinstance(one, Probe) else one.action
             for one in steps if not isinstance(one, Pause)]  # fmt: skip
    return [(name, PROVIDERS[name]) for name in dict.fromkeys(names)]
