"""What an operator asks ``failover`` for."""

from dataclasses import dataclass

from aeterna_cli.workflows.failover.component import Intent


@dataclass(frozen=True)
class Wanted:
    """``probe``: whether numbered writes measure how long nothing was acknowledged."""

    component: str
    intent: Intent
    to: str | None = None
    accept_loss: int | None = None
    probe: bool = True
