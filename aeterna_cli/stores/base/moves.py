"""The durable record of a tenant's move: what a command that was cut off goes on from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True)
class MoveRecord:
    """One row of ``aeterna_ops.tenant_move``.

    ``source`` and ``target`` describe a place (``PointsPlace`` and its server); ``checkpoint`` is
    what the next run needs, ``evidence`` what was seen and measured; ``prediction`` is how long
    writes will be held, in seconds.
    """

    id: str
    tenant: str
    source: Mapping[str, Any]
    target: Mapping[str, Any]
    contract: str
    phase: str
    checkpoint: Mapping[str, Any]
    evidence: Mapping[str, Any]
    prediction: float | None
    created_at: datetime
    updated_at: datetime


class MoveStore(Protocol):
    """See ``aeterna_cli.stores.postgres_moves.PostgresMoves`` for the promises."""

    def ensure_schema(self) -> None: ...
    def begin(self, record: MoveRecord) -> None: ...
    def unfinished(self, tenant: str) -> MoveRecord | None: ...
    def latest(self, tenant: str) -> MoveRecord | None: ...
    def save(self, record: MoveRecord, *, phase: str) -> MoveRecord: ...
