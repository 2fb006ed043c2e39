"""One shard: one engine directory, one lock.

The engine never releases the interpreter lock, so it is called straight from the event loop; the
lock keeps writers away while a thread packs the directory into a snapshot.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qdrant_edge as engine

from aeterna_cli.lab.qdrant.points import PointId, ShardKey
from aeterna_cli.lab.qdrant.refusals import bad_format, not_found, service_error, unavailable
from aeterna_cli.lab.qdrant.replicas import DEAD, READABLE, STATES, Replicas
from aeterna_cli.lab.qdrant.schemas import engine_config, engine_index

#: For ``edge_config.json`` of a shard that came from elsewhere: one thread instead of eight.
THRIFTY = {"max_search_threads": 1, "payload_memory": "cold"}


@dataclass
class Change:
    """One engine operation for one shard. ``ids`` is None for an operation by filter."""

    shard: "Shard"
    operation: engine.UpdateOperation
    ids: list[PointId] | None


def _open(folder: Path) -> engine.EdgeShard:
    """The vectors are those of the files, whatever the collection says of itself."""
    return engine.EdgeShard.load(str(folder))


def ensure_indexes(edge: engine.EdgeShard, payload_schema: dict[str, dict[str, Any]]) -> None:
    """Every field of ``payload_schema`` has an index; other indexes stay."""
    present = edge.info().payload_schema
    for field, schema in payload_schema.items():
        if field not in present:
            edge.update(engine.UpdateOperation.create_field_index(field, engine_index(schema)))


class Shard:
    """``state`` is that of its best replica, as the peer sees it that was asked."""

    def __init__(
        self,
        number: int,
        key: ShardKey | None,
        replicas: Replicas,
        folder: Path,
        edge: engine.EdgeShard,
    ) -> None:
        self.id = number
        self.key = key
        self.replicas = replicas
        self.folder = folder
        self.edge = edge
        self.lock = asyncio.Lock()
        self.unflushed = False
        self.closed = False

    @classmethod
    def create(
        cls,
        number: int,
        key: ShardKey | None,
        replicas: Replicas,
        folder: Path,
        parameters: dict[str, Any],
    ) -> "Shard":
        folder.mkdir(parents=True)
        edge = engine.EdgeShard.create(str(folder), engine_config(parameters))
        return cls(number, key, replicas, folder, edge)

    @classmethod
    def open(cls, number: int, key: ShardKey | None, replicas: Replicas, folder: Path) -> "Shard":
        return cls(number, key, replicas, folder, _open(folder))

    @property
    def state(self) -> str:
        return self.replicas.best

    @state.setter
    def state(self, state: str) -> None:
        self.replicas.set_all(state)

    @property
    def readable(self) -> bool:
        return self.state in READABLE

    def set_state(self, state: str, peer: int | None = None) -> None:
        """Of the replica on ``peer``, or of every one."""
        if state not in STATES:
            raise bad_format(f"unknown replica state {state}")
        if peer is None:
            self.state = state
        elif peer in self.replicas.states:
            self.replicas.states[peer] = state
        else:
            raise not_found(f"replica of shard {self.id} on peer {peer}")

    def require_readable(self) -> None:
        if self.replicas.peers.several:
            self.replicas.check_read()
        elif not self.readable:
            raise unavailable(f"shard {self.id} has no active replica")

    def require_writable(self) -> None:
        if self.state == DEAD and not self.replicas.peers.several:
            raise service_error(f"The replica set for shard {self.id} has no active replica")

    def require_active_write(self) -> None:
        """The server applies an update to a partial replica and then says that it failed."""
        if not self.readable:
            raise service_error(
                "Failed to apply operation to at least one `Active` replica. "
                "Consistency of this update is not guaranteed. Please retry."
            )

    def apply(self, operation: engine.UpdateOperation) -> None:
        """Apply it; the caller holds the lock. ``Refusal`` 404 when the shard has been dropped."""
        if self.closed:
            raise not_found(f"Shard {self.id}")
        self.edge.update(operation)
        self.unflushed = True

    def flush(self) -> None:
        """What was applied is on disk, not only in the engine's log; the caller holds the lock."""
        if self.unflushed and not self.closed:
            self.edge.flush()
            self.unflushed = False

    def count(self, found: engine.Filter | None = None, *, exact: bool = True) -> int:
        return self.edge.count(engine.CountRequest(exact=exact, filter=found))

    def replace(self, folder: Path, payload_schema: dict[str, dict[str, Any]]) -> Path:
        """Serve another directory, indexed, from now on; the one until now.

        The caller holds the lock. On a fault the one until now is still served.
        """
        edge = _open(folder)
        ensure_indexes(edge, payload_schema)
        edge.flush()
        self.edge.close()
        before, self.folder, self.edge = self.folder, folder, edge
        return before

    async def close(self) -> None:
        """Flush and release the files, once no snapshot is being packed."""
        async with self.lock:
            self.flush()
            self.closed = True
            self.edge.close()
