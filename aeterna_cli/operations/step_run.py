"""What a step may use while it runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aeterna_cli.operations.kill_points import kill_point
from aeterna_cli.operations.lease import Lease
from aeterna_cli.signals import Stop

Emit = Callable[[str, Mapping[str, Any]], None]


class StepRun:
    """One run of one step. ``results`` are those of the steps before, also from before a crash."""

    def __init__(
        self,
        operation: str,
        step: str,
        results: Mapping[str, Any],
        *,
        stop: Stop,
        leases: Sequence[Lease],
        emit: Emit,
        checkpoint: Callable[[str, Any], None],
        last_checkpoint: Any,
    ) -> None:
        self.operation = operation
        self.results = results
        self.last_checkpoint = last_checkpoint
        self._step = step
        self._stop = stop
        self._leases = leases
        self._emit = emit
        self._checkpoint = checkpoint

    def emit(self, event: str, **fields: Any) -> None:
        """Tell whoever watches."""
        self._emit(event, {"operation": self.operation, "step": self._step, **fields})

    def safe_point(self) -> None:
        """Stopping here loses nothing: raises when a signal came or a lease was lost."""
        self._stop.check()
        for lease in self._leases:
            lease.assert_held()

    def checkpoint(self, data: Any) -> None:
        """Write down how far this step is; after a crash it gets this as ``last_checkpoint``."""
        self.safe_point()
        self._checkpoint(self._step, data)
        self.last_checkpoint = data
        kill_point(f"step:{self._step}:middle")
