"""``replicate_points``: copy a tenant from one shard key to another while writers go on.

As the real server's stream-records transfer: pages of 100, every update of the source after the
start is repeated on the target, and the target goes Partial, ActiveRead, Active. It merges into
the target and never deletes what lay there before.
"""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import qdrant_edge as engine

from aeterna_cli.lab.qdrant.points import PointId, id_text
from aeterna_cli.lab.qdrant.replicas import ACTIVE, ACTIVE_READ, DEAD, PARTIAL
from aeterna_cli.lab.qdrant.shard import Change, Shard

if TYPE_CHECKING:
    from aeterna_cli.lab.qdrant.collection import Collection

_PAGE = 100
#: Between two pages, so that a test can see the transfer run and writers get in between.
_PAUSE_SECONDS = 0.01


class Replication:
    """One running transfer; it is in ``collection.replications`` as long as it runs."""

    def __init__(
        self,
        collection: "Collection",
        source: Shard,
        target: Shard,
        condition: engine.Filter | None,
    ) -> None:
        self.source = source
        self.target = target
        self._collection = collection
        self._condition = condition
        self._done = 0
        self._total = source.count(condition)
        target.state = PARTIAL
        collection.replications.append(self)
        collection.save()
        self._task = asyncio.create_task(self._run())

    def describe(self) -> dict[str, Any]:
        return {
            "shard_id": self.source.id,
            "to_shard_id": self.target.id,
            "from": next(iter(self.source.replicas.states)),
            "to": next(iter(self.target.replicas.states)),
            "sync": True,
            "method": "stream_records",
            "comment": f"Transferring records ({self._done}/{self._total}), started",
        }

    async def _run(self) -> None:
        offset: Any = None
        while True:
            async with self.target.lock:
                offset = self._copy_page(offset)
            if offset is None:
                break
            await asyncio.sleep(_PAUSE_SECONDS)
        async with self.target.lock:
            self.target.flush()
        self._set(ACTIVE_READ)
        await asyncio.sleep(_PAUSE_SECONDS)
        self._collection.replications.remove(self)
        self._set(ACTIVE)

    def _copy_page(self, offset: Any) -> Any:
        """Read and write without an await between: no update of the source can slip in."""
        request = engine.ScrollRequest(
            offset=offset,
            limit=_PAGE,
            filter=self._condition,
            with_payload=True,
            with_vector=True,
        )
        records, following = self.source.edge.scroll(request)
        self._write(records)
        self._done += len(records)
        return following

    def _write(self, records: list[Any]) -> None:
        points = [engine.Point(one.id, one.vector, one.payload) for one in records]
        if points:
            self.target.apply(engine.UpdateOperation.upsert_points(points))

    def forward(self, change: Change) -> None:
        """Repeat on the target what has just been applied to the source."""
        if change.ids is None:
            self.target.apply(change.operation)
            return
        records = self.source.edge.retrieve(list(change.ids), True, True)
        kept = self._matching([one.id for one in records])
        self._write([one for one in records if id_text(one.id) in kept])
        gone = [one for one in change.ids if one not in kept]
        if gone:
            self.target.apply(engine.UpdateOperation.delete_points(list(gone)))

    def _matching(self, ids: list[Any]) -> set[PointId]:
        if not ids:
            return set()
        conditions: list[Any] = [engine.HasIdCondition(set(ids))]
        if self._condition is not None:
            conditions.append(self._condition)
        request = engine.ScrollRequest(
            limit=len(ids),
            filter=engine.Filter(must=conditions),
            with_payload=False,
            with_vector=False,
        )
        return {id_text(one.id) for one in self.source.edge.scroll(request)[0]}

    def _set(self, state: str) -> None:
        self.target.state = state
        self._collection.save()

    async def stop(self) -> None:
        """The task is over; the target stays as it is (the server is about to end)."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self in self._collection.replications:
            self._collection.replications.remove(self)

    async def abort(self) -> None:
        """The target is Dead and no longer part of any answer."""
        await self.stop()
        self._set(DEAD)
