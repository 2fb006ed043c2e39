"""What a drill did and found, before anybody judges it: plain data that a journal can keep."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aeterna_cli.workflows.dr_drill.measure import Measured

#: ``not-steady``: nothing was broken, since the steady state did not hold to begin with;
#: ``failed``: an action of the method failed; ``killed``: the process died, and another one rolled
#: back.
Status = Literal["completed", "not-steady", "failed", "interrupted", "killed"]
Part = Literal["before", "method", "load", "after", "rollback", "clean-up"]


@dataclass(frozen=True)
class StepOutcome:
    """One probe, action or pause. ``begun`` is seconds since the drill began. ``wanted`` is of a
    probe, ``found`` its answer or the action's."""

    part: Part
    title: str
    provider: str
    begun: float
    seconds: float
    passed: bool
    wanted: str = ""
    found: str = ""
    code: str = ""
    fault: bool = False
    phase: str | None = None


@dataclass(frozen=True)
class LoadOutcome:
    """A background program; ``rate`` is requests a second and ``p99`` milliseconds, by its own
    summary, None where it does not tell."""

    title: str
    exit: int | None
    rate: float | None
    p99: float | None
    passed: bool
    found: str


@dataclass(frozen=True)
class Outcome:
    """Everything of one run. ``fault`` is when it began, in seconds of the drill."""

    status: Status
    seed: int
    steps: tuple[StepOutcome, ...]
    measured: tuple[Measured, ...] = ()
    load: tuple[LoadOutcome, ...] = ()
    fault: float | None = None
    seconds: float = 0.0
    reason: str = ""
    backups: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def part(self, name: Part) -> tuple[StepOutcome, ...]:
        return tuple(one for one in self.steps if one.part == name)


def from_document(tree: Mapping[str, Any]) -> Outcome:
    """The way back from JSON; ``KeyError`` or ``TypeError`` for another shape."""
    values = dict(tree)
    values["steps"] = tuple(StepOutcome(**one) for one in tree["steps"])
    values["load"] = tuple(LoadOutcome(**one) for one in tree["load"])
    values["measured"] = tuple(_measured(one) for one in tree["measured"])
    values["versions"] = dict(sorted(tree["versions"].items()))  # a journal sorts them as well
    values["backups"], values["notes"] = tuple(tree["backups"]), tuple(tree["notes"])
    return Outcome(**values)


def _measured(tree: Mapping[str, Any]) -> Measured:
    values: dict[str, Any] = dict(tree)
    for name in ("servers", "lost_examples"):
        values[name] = tuple(values[name])
    return Measured(**values)
