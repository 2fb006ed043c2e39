"""A plan: what will be done, as data that can be printed, fingerprinted and confirmed."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from aeterna_cli.operations.lease import LeaseRequest

if TYPE_CHECKING:
    from aeterna_cli.operations.step_run import StepRun


class Danger(Enum):
    """What confirmation a plan wants: none, y/N or ``--yes``, a name typed or ``--confirm``."""

    READ = "read"
    REVERSIBLE = "reversible"
    DESTRUCTIVE = "destructive"


@dataclass(frozen=True)
class Step:
    """One named piece of work. ``do`` may be repeated: after a crash it is. Its result is JSON.

    ``verify`` raises when ``do`` did not have its effect. ``undo`` runs when ``do`` or ``verify``
    failed, and must leave what was there before.
    """

    name: str
    do: "Callable[[StepRun], Any]"
    verify: "Callable[[StepRun], None] | None" = None
    undo: "Callable[[StepRun], None] | None" = None
    note: str = ""


@dataclass(frozen=True)
class Plan:
    """``facts`` is everything that the plan rests on: if it moved, the plan is another one.

    ``confirm_name`` is what must be typed where ``danger`` is destructive. ``parameters`` is what
    ``resume`` needs to build the same plan again. ``in_the_clear`` names folders of this machine
    that hold data until the run ends: who gives it up must hear of them. Where the first is gone,
    it was handed over with the others.
    """

    kind: str
    summary: str
    target: str
    danger: Danger
    facts: Mapping[str, Any]
    steps: tuple[Step, ...]
    leases: tuple[LeaseRequest, ...] = ()
    confirm_name: str = ""
    restartable: bool = True
    notes: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    in_the_clear: tuple[str, ...] = ()

    def as_document(self) -> dict[str, Any]:
        """Everything that is data, as JSON types."""
        return {
            "kind": self.kind,
            "summary": self.summary,
            "target": self.target,
            "danger": self.danger.value,
            "facts": dict(self.facts),
            "steps": [step.name for step in self.steps],
            "leases": [{"component": one.component, "shared": one.shared} for one in self.leases],
            "restartable": self.restartable,
            "parameters": dict(self.parameters),
            "in_the_clear": list(self.in_the_clear),
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the plan's data; notes and the wording of the summary do not count."""
        document = {k: v for k, v in self.as_document().items() if k != "summary"}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(text.encode()).hexdigest()
