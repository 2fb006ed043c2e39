"""Whether a drill passed: one check for each thing that was to hold. Pure: data in, data out.

A drill that measured nothing has not passed, whatever else went well.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from aeterna_cli.settings import TargetSettings
from aeterna_cli.workflows.dr_drill.measure import Measured
from aeterna_cli.workflows.dr_drill.outcome import Outcome, Part, StepOutcome
from aeterna_cli.workflows.dr_drill.scenario import Scenario, StoreName

Kind = Literal["run", "steady-state", "method", "rollback", "load", "writes", "objective"]
_KINDS: Mapping[Part, Kind] = {
    "before": "steady-state", "after": "steady-state", "method": "method", "rollback": "rollback",
    "load": "load", "clean-up": "run",
}  # fmt: skip
_WORDS: Mapping[Part, str] = {
    "before": "before: ", "after": "after: ", "method": "", "rollback": "rollback: ",
    "load": "", "clean-up": "",
}  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One thing that was to hold. ``seconds`` is how long it took, or what was measured."""

    kind: Kind
    name: str
    passed: bool
    wanted: str
    found: str
    seconds: float


@dataclass(frozen=True)
class Target:
    """The objectives of one store in seconds, and where they come from."""

    store: StoreName
    rto: float
    rpo: float
    source: str


def targets(scenario: Scenario, promised: TargetSettings) -> tuple[Target, ...]:
    """Of every store that is written to: the scenario's own words, else the profile's targets."""
    usual = {"postgres": promised.rto_postgres, "qdrant": promised.rto_qdrant,
             "redis": promised.rto_redis}  # fmt: skip
    found = []
    for store in scenario.writers.stores:
        own = scenario.objectives.get(store)
        rto = own.rto if own is not None and own.rto is not None else float(usual[store])
        rpo = own.rpo if own is not None and own.rpo is not None else float(promised.rpo)
        whole = own is not None and own.rto is not None and own.rpo is not None
        found.append(Target(store, rto, rpo, "scenario" if whole else "profile and scenario"))
    return tuple(found)


def judge(outcome: Outcome, wanted: Sequence[Target]) -> tuple[Check, ...]:
    """Every check, in the order of the drill."""
    checks = [_whole(outcome)]
    checks += [_step(one) for one in outcome.steps]
    checks += [
        Check("load", one.title, one.passed, "ends well and leaves its summary", one.found, 0.0)
        for one in outcome.load
    ]
    measured = {one.store: one for one in outcome.measured}
    for target in wanted:
        checks += _of_store(target, measured.get(target.store), outcome.fault)
    return tuple(checks)


def passed(checks: Sequence[Check]) -> bool:
    """All hold, and at least one objective is among them."""
    objectives = [one for one in checks if one.kind == "objective"]
    return bool(objectives) and all(one.passed for one in checks)


def _whole(outcome: Outcome) -> Check:
    fine = outcome.status == "completed" and outcome.fault is not None
    found = outcome.status if outcome.fault is not None else f"{outcome.status}, no fault began"
    if outcome.reason:
        found += f": {outcome.reason}"
    return Check("run", "the drill ran to its end", fine, "completed", found, outcome.seconds)


def _step(one: StepOutcome) -> Check:
    wanted = one.wanted or "succeeds"
    name = f"{_WORDS[one.part]}{one.title}"
    return Check(_KINDS[one.part], name, one.passed, wanted, one.found, one.seconds)


def _of_store(target: Target, found: Measured | None, fault: float | None) -> Iterator[Check]:
    store = target.store
    if found is None or not found.acknowledged:
        message = "no write was acknowledged: nothing was measured"
        yield Check("writes", f"{store}: writes were acknowledged", False, "at least 1", message, 0)
    else:
        words = f"{found.acknowledged} of {found.attempts}"
        yield Check("writes", f"{store}: writes were acknowledged", True, "at least 1", words, 0)
    yield _rto(target, found, fault)
    yield _rpo(target, found)
    if found is not None and found.unexpected:
        message = f"{found.unexpected} markers are there that were not to be"
        yield Check("writes", f"{store}: nothing foreign was found", False, "none", message, 0)


def _rto(target: Target, found: Measured | None, fault: float | None) -> Check:
    name, wanted = f"{target.store}: RTO", f"at most {target.rto:g} s"
    if found is None or fault is None or not found.acknowledged:
        return Check("objective", name, False, wanted, "not measured", 0)
    if found.rto is None or not found.recovered:
        gap = f"no write for {found.gap:g} s until the end" if found.gap else "not measured"
        words = f"not recovered: {gap}" if found.how == "writes" else "not recovered"
        return Check("objective", name, False, wanted, words, found.gap or 0)
    return Check(
        "objective", name, found.rto <= target.rto, wanted, f"{found.rto:.2f} s", found.rto
    )


def _rpo(target: Target, found: Measured | None) -> Check:
    name, wanted = f"{target.store}: RPO", f"at most {target.rpo:g} s"
    if target.rpo == 0:
        wanted = "no acknowledged write is lost"
    if found is None or found.rpo is None:
        return Check("objective", name, False, wanted, "not measured", 0)
    words = f"{found.rpo:.2f} s"
    if found.lost:
        words += f": {found.lost} acknowledged writes lost (markers " + (
            ", ".join(map(str, found.lost_examples)) + (", ...)" if found.lost > 10 else ")")
        )
    fine = found.rpo <= target.rpo and not (target.rpo == 0 and found.lost)
    return Check("objective", name, fine, wanted, words, found.rpo)
