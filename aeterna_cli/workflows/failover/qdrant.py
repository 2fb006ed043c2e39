"""Qdrant in ``failover``: a peer is taken out of service, or redundancy is restored without one.

There is no primary, so nothing is promoted: every peer serves. ``Request.to`` names the peer that
is to be emptied, never one that shall serve afterwards.
"""

from aeterna_cli.settings import FailoverSettings
from aeterna_cli.stores.base.qdrant_cluster import QdrantClusterStore
from aeterna_cli.workflows.failover.component import (
    ComponentName,
    ComponentStatus,
    Preflight,
    Request,
    Stage,
)
from aeterna_cli.workflows.failover.qdrant_names import name_of
from aeterna_cli.workflows.failover.qdrant_preflight import Case
from aeterna_cli.workflows.failover.qdrant_stages import QdrantStages
from aeterna_cli.workflows.failover.qdrant_status import status_of

#: The time for the copy of one shard, in seconds: the platform's promise for Qdrant.
COPY_SECONDS = 600.0


class QdrantComponent:
    """Constructing it contacts nothing. Emulated peers say so in every status.

    ``drop_replicas``: a switchover also removes the peer's replicas, after others have been made;
    without it they stay and are filled again when the peer is back. ``remove_peer``: a failover
    also removes the dead peer from the consensus, once it has no replica.
    """

    name: ComponentName = "qdrant"

    def __init__(
        self,
        store: QdrantClusterStore,
        target: FailoverSettings,
        *,
        drop_replicas: bool = False,
        remove_peer: bool = False,
        copy_seconds: float = COPY_SECONDS,
    ) -> None:
        self._store = store
        self._target = target
        self._drop = drop_replicas
        self._remove = remove_peer
        self._copy_seconds = copy_seconds

    def close(self) -> None:
        self._store.close()

    def status(self) -> ComponentStatus:
        return status_of(self._store.picture(), self._target)

    def new_primary(self) -> str | None:
        """None, always: no peer is more than the others."""
        return None

    def preflight(self, request: Request) -> Preflight:
        """A switchover wants ``request.to``; a failover without it means every peer that is away.

        ``candidate`` is that peer, by name. The facts are the peers and the replicas that will be
        made and dropped; points and commits are not in them.
        """
        picture = self._store.picture()
        status = status_of(picture, self._target)
        case = Case.of(request, picture, status, drop=self._drop, remove=self._remove)
        facts = {
            "intent": request.intent,
            "peers": {one.name: str(one.peer) for one in case.peers if one.peer is not None},
            "out_of_service": [one.name for one in case.chosen],
            "copies": [
                f"{one.collection}, shard {one.shard} to {name_of(case.peers, one.target)}"
                for one in case.copies()
            ],
            "drops": case.drops(),
            "remove_from_consensus": self._remove and not case.planned,
        }
        candidate = ", ".join(one.name for one in case.chosen) or None
        return Preflight("qdrant", status, None, candidate, tuple(case.findings()), facts)

    def stages(self, request: Request, found: Preflight) -> tuple[Stage, ...]:
        chosen = [found.facts["peers"].get(name) for name in found.facts["out_of_service"]]
        numbers = tuple(int(one) for one in chosen if one is not None)
        copies = max(1, len(found.facts["copies"]))
        made = QdrantStages(self._store, numbers, self._copy_seconds, copies)
        if request.intent == "switchover":
            return made.switchover(drop=self._drop)
        return made.failover(remove=self._remove)
