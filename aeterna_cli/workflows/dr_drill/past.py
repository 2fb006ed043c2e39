"""Drills that are over, as the repository's signed evidence tells them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from aeterna_cli.context import Context
from aeterna_cli.errors import AeternaError, RefusedError, TransientError
from aeterna_cli.workflows.dr_drill import evidence

State = Literal["passed", "failed", "damaged"]


@dataclass(frozen=True)
class Past:
    """One drill. ``data`` is its result document, None where its evidence is damaged."""

    id: str
    state: State
    data: Mapping[str, Any] | None
    fault: str = ""

    @property
    def scenario(self) -> str:
        return str(self.data["scenario"]) if self.data else ""

    @property
    def started(self) -> datetime | None:
        return datetime.fromisoformat(self.data["started"]) if self.data else None

    def seconds(self, store: str, name: str) -> float | None:
        """``rto`` or ``rpo`` of a store as it was measured."""
        for one in self.data["outcome"]["measured"] if self.data else ():
            if one["store"] == store:
                value: float | None = one[name]
                return value
        return None


def everything(ctx: Context) -> list[Past]:
    """Every drill with complete evidence, oldest first; each signature is checked."""
    repository = ctx.deployment.repository
    return [_one(ctx, drill) for drill in evidence.stored(repository.store)]


def _one(ctx: Context, drill: str) -> Past:
    repository = ctx.deployment.repository
    try:
        data = evidence.result_of(
            evidence.fetch(repository.store, drill, repository.info.public_key)
        )
    except TransientError:
        raise
    except AeternaError as error:
        return Past(drill, "damaged", None, error.message)
    return Past(drill, "passed" if data.get("verdict") == "passed" else "failed", data)


def newest(ctx: Context) -> str:
    """The id of the last drill; ``RefusedError('no_drills')``."""
    found = evidence.stored(ctx.deployment.repository.store)
    if not found:
        raise RefusedError(
            "no_drills", "no drill was run here yet", next_steps=["aeterna-cli dr-drill list"]
        )
    return found[-1]


def due(past: Sequence[Past], scenario: str, every_days: int) -> datetime | None:
    """When a scenario must have passed again; None where it never has."""
    last = [one.started for one in past if one.scenario == scenario and one.state == "passed"]
    moments = [moment for moment in last if moment is not None]
    return max(moments) + timedelta(days=every_days) if moments else None
