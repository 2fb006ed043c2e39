"""What an operation runs in, and what comes of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aeterna_cli.operations.audit import AuditLog
from aeterna_cli.operations.confirm import Answers
from aeterna_cli.operations.journal import Journal
from aeterna_cli.operations.lease import HEARTBEAT, VOID
from aeterna_cli.operations.step_run import Emit
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

    def journal(self, operation: str) -> Journal:
        """The journal of an operation, nothing read or written yet."""
        return Journal(
            self.store,
            self.state_directory,
            operation,
            clock=self.clock,
            break_glass=self.break_glass,
        )

    def audit(self, operation: str, plan: Mapping[str, Any], outcome: str) -> None:
        """A line in the audit log about an operation of this plan document."""
        AuditLog(self.state_directory).write(
            time=self.clock(),
            actor=self.actor,
            profile=self.profile,
            kind=plan["kind"],
            target=plan["target"],
            operation=operation,
            outcome=outcome,
            reason=self.reason,
            change=self.change,
        )


@dataclass(frozen=True)
class OperationOutcome:
    """What came of it. ``results`` by step; with ``dry_run`` nothing was done at all. ``pending``
    counts journal records that still wait for the repository."""

    operation: str
    results: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    dry_run: bool = False
    pending: int = 0
