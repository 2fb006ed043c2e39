"""One collection: configuration, shards, shard keys, and the order of its updates.

Everything that is not a point lies in ``collection.json``, written with fsync and rename: a shard
directory that is not named there does not count and is removed at the next start.
"""

import asyncio
import logging
import shutil
import uuid
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeterna_cli.lab.qdrant.files import read_document, remove_folder, write_document
from aeterna_cli.lab.qdrant.peers import Peers, States
from aeterna_cli.lab.qdrant.points import PointId, ShardKey
from aeterna_cli.lab.qdrant.refusals import (
    Refusal,
    bad_format,
    bad_input,
    bad_request,
    from_engine,
    not_found,
)
from aeterna_cli.lab.qdrant.replicas import ACTIVE, INITIALIZING, Replicas
from aeterna_cli.lab.qdrant.shard import Change, Shard, ensure_indexes

if TYPE_CHECKING:
    from aeterna_cli.lab.qdrant.node import Node
    from aeterna_cli.lab.qdrant.replication import Replication
    from aeterna_cli.lab.qdrant.transfers import Transfer

#: How long an update without ``wait=true`` stays unseen: long enough for a test to notice.
DEFERRED_SECONDS = 0.5
DOCUMENT = "collection.json"

log = logging.getLogger(__name__)


class Collection:
    """``config`` and ``payload_schema`` have the shapes of ``GET /collections/{name}``."""

    def __init__(self, name: str, folder: Path, node: "Node", config: dict[str, Any]) -> None:
        self.name = name
        self.folder = folder
        self.node = node
        self.peers: Peers = node.peers
        self.temporary = node.temporary
        self.config = config
        self.payload_schema: dict[str, dict[str, Any]] = {}
        self.shards: dict[int, Shard] = {}
        self.replications: list[Replication] = []
        self.transfers: list[Transfer] = []
        self._operations = 0
        self._deferred: list[list[Change]] = []
        self._drain: asyncio.Task[None] | None = None
        self._order = asyncio.Lock()

    @classmethod
    def create(cls, name: str, folder: Path, node: "Node", config: dict[str, Any]) -> "Collection":
        folder.mkdir(parents=True)
        made = cls(name, folder, node, config)
        if not made.custom:
            for _ in range(config["params"]["shard_number"]):
                made._add_shard(None, ACTIVE)
        made.save()
        return made

    @classmethod
    def open(cls, name: str, folder: Path, node: "Node") -> "Collection":
        document = read_document(folder / DOCUMENT)
        found = cls(name, folder, node, document["config"])
        found.payload_schema = document["payload_schema"]
        for one in document["shards"]:
            place = folder / "shards" / one["folder"]
            states = one.get("replicas") or {found.peers.first.id: one["state"]}
            replicas = found._replicas(one["id"], {int(n): state for n, state in states.items()})
            shard = Shard.open(one["id"], one["key"], replicas, place)
            found.shards[shard.id] = shard
        known = {shard.folder.name for shard in found.shards.values()}
        for place in (folder / "shards").glob("*"):
            if place.name not in known:
                shutil.rmtree(place)
        return found

    @property
    def custom(self) -> bool:
        return bool(self.config["params"].get("sharding_method") == "custom")

    def save(self) -> None:
        shards = [self._shard_document(one) for one in self.shards.values()]
        document = {
            "config": self.config,
            "payload_schema": self.payload_schema,
            "shards": shards,
        }
        write_document(self.folder / DOCUMENT, document)

    def _shard_document(self, one: Shard) -> dict[str, Any]:
        document: dict[str, Any] = {"id": one.id, "key": one.key, "state": one.state}
        document["folder"] = one.folder.name
        if self.peers.several:
            document["replicas"] = {str(n): state for n, state in one.replicas.states.items()}
        return document

    def _replicas(self, number: int, states: States) -> Replicas:
        return Replicas(self.peers, self.name, number, states)

    def new_folder(self, number: int) -> Path:
        return self.folder / "shards" / f"{number}-{uuid.uuid4().hex[:12]}"

    # Shards and shard keys

    def _add_shard(
        self, key: ShardKey | None, state: str, factor: int = 0, placement: Sequence[int] = ()
    ) -> None:
        """New ids follow the highest that is there now, as on the real server."""
        number = max(self.shards, default=-1) + 1
        parameters = self.config["params"]
        factor = factor or parameters["replication_factor"]
        chosen = self.peers.placed(factor, self.node.loads(self), placement)
        # A replica on a peer that is away was never begun.
        states = {one.id: state if self.peers.in_consensus(one) else INITIALIZING for one in chosen}
        replicas = self._replicas(number, states)
        shard = Shard.create(number, key, replicas, self.new_folder(number), parameters)
        ensure_indexes(shard.edge, self.payload_schema)
        self.shards[number] = shard

    def shard_keys(self) -> list[ShardKey]:
        found = (shard.key for shard in self.shards.values())
        return list(dict.fromkeys(key for key in found if key is not None))

    def create_key(
        self,
        key: ShardKey,
        count: int | None,
        state: str,
        factor: int = 0,
        placement: Sequence[int] = (),
    ) -> None:
        self._require_custom()
        if key in self.shard_keys():
            raise bad_request(f"Sharding key {key} already exists for collection {self.name}")
        for _ in range(count or self.config["params"]["shard_number"]):
            self._add_shard(key, state, factor, placement)
        self.save()

    async def drop_key(self, key: ShardKey) -> None:
        self._require_custom()
        dropped = [shard for shard in self.shards.values() if shard.key == key]
        if not dropped:
            raise bad_request(f"Sharding key {key} does not exist for collection {self.name}")
        for shard in dropped:
            del self.shards[shard.id]
        self.save()
        for replication in list(self.replications):
            if {replication.source, replication.target} & set(dropped):
                await replication.abort()
        for transfer in [one for one in self.transfers if one.shard in dropped]:
            await transfer.stop()
        for shard in dropped:
            await shard.close()
            remove_folder(shard.folder, self.temporary)

    def _require_custom(self) -> None:
        if not self.custom:
            raise bad_request("Shard Key cannot be created or dropped with Auto sharding method")

    def shard(self, number: int) -> Shard:
        found = self.shards.get(number)
        if found is None:
            raise not_found(f"shard {number} not found")
        return found

    def of_key(self, key: ShardKey) -> list[Shard]:
        found = [shard for shard in self.shards.values() if shard.key == key]
        if not found:
            raise bad_input(f"Shard key {key} not found")
        return found

    # Which shards a request means

    def read_shards(self, selector: Any, *, fallback: bool) -> list[Shard]:
        """The shards to read. ``fallback``: the version knows {target, fallback} selectors.

        Without a key, shards that are not readable are skipped under custom sharding; anywhere
        else they are ``Refusal`` 503.
        """
        if selector is None:
            chosen = list(self.shards.values())
            if self.custom:
                chosen = [shard for shard in chosen if shard.readable]
        elif isinstance(selector, dict):
            chosen = self._read_fallback(selector, fallback)
        else:
            chosen = [shard for key in key_list(selector) for shard in self.of_key(key)]
        for shard in chosen:
            shard.require_readable()
        return chosen

    def _read_fallback(self, selector: dict[str, Any], known: bool) -> list[Shard]:
        target, other = fallback_keys(selector, known)
        wanted = [shard for shard in self.shards.values() if shard.key == target]
        if wanted and all(shard.readable for shard in wanted):
            return wanted
        return self.of_key(other)

    def write_rings(self, selector: Any, *, fallback: bool) -> list[list[Shard]]:
        """Groups of shards; a point goes to one shard of every group."""
        if selector is None:
            if self.custom:
                raise bad_request("Shard key not specified")
            return [list(self.shards.values())]
        if not isinstance(selector, dict):
            return [self.of_key(key) for key in key_list(selector)]
        target, other = fallback_keys(selector, fallback)
        wanted = [shard for shard in self.shards.values() if shard.key == target]
        if wanted and all(shard.state == ACTIVE for shard in wanted):
            return [wanted]
        if wanted and all(shard.readable for shard in wanted):
            return [wanted, self.of_key(other)]
        return [self.of_key(other)]

    @staticmethod
    def place(ring: Sequence[Shard], point: PointId) -> Shard:
        """The shard of a point: by hash of its id, the same as long as the ids of the ring are."""
        if len(ring) == 1:
            return ring[0]
        ordered = sorted(ring, key=lambda shard: shard.id)
        return ordered[zlib.crc32(str(point).encode()) % len(ordered)]

    # Updates

    async def update(
        self, changes: list[Change], *, wait: bool, ordering: str = "weak"
    ) -> dict[str, Any]:
        """Apply the changes in the order of the requests; the server's ``UpdateResult``.

        With ``wait`` they are applied and in the engine's log before the answer: kill -9 loses none
        (the files follow with the periodic flush, as on the real server). Without it they are only
        taken note of: nobody sees them for a moment, a fault is only logged, a crash loses them.
        """
        result = self.next_result(completed=wait)
        if wait:
            # Not under the lock: who waits for a peer that is away holds up nobody else.
            await self._reach_replicas(changes, ordering)
            async with self._order:
                await self._apply_deferred()
                await self._apply(changes)
            return result
        self._deferred.append(changes)
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._drain_later())
        return result

    def next_result(self, *, completed: bool) -> dict[str, Any]:
        self._operations += 1
        status = "completed" if completed else "acknowledged"
        return {"operation_id": self._operations, "status": status}

    @property
    def waiting(self) -> int:
        """How many updates are acknowledged and not yet applied."""
        return len(self._deferred)

    async def settle(self) -> None:
        """Apply what is waiting."""
        async with self._order:
            await self._apply_deferred()

    async def _drain_later(self) -> None:
        while self._deferred:
            await asyncio.sleep(DEFERRED_SECONDS)
            await self.settle()

    async def _apply_deferred(self) -> None:
        while self._deferred:
            try:
                changes = self._deferred.pop(0)
                await self._reach_replicas(changes, "weak")
                await self._apply(changes)
            except Refusal as refusal:
                log.warning("a deferred update of %s failed: %s", self.name, refusal.message)

    async def _reach_replicas(self, changes: list[Change], ordering: str) -> None:
        """Every shard can take the update; replicas that do not answer are dead from now on."""
        if not self.peers.several:
            return
        factor = self.config["params"]["write_consistency_factor"]
        for shard in dict.fromkeys(change.shard for change in changes):
            if await shard.replicas.take_update(factor, ordering):
                self.save()

    async def _apply(self, changes: list[Change]) -> None:
        for change in changes:
            change.shard.require_writable()
            async with change.shard.lock:
                self._apply_one(change)
        for shard in dict.fromkeys(change.shard for change in changes):
            shard.require_active_write()

    def _apply_one(self, change: Change) -> None:
        """No await in here: a point replication sees the update either before or after it."""
        try:
            change.shard.apply(change.operation)
            for replication in self.replications:
                if replication.source is change.shard:
                    replication.forward(change)
        except Refusal:
            raise
        except Exception as error:
            raise from_engine(error) from error

    async def flush(self) -> None:
        for shard in list(self.shards.values()):
            async with shard.lock:
                shard.flush()

    async def close(self) -> None:
        for replication in list(self.replications):
            await replication.stop()
        for transfer in list(self.transfers):
            await transfer.stop()
        await self.settle()
        if self._drain is not None:
            await self._drain
        for shard in self.shards.values():
            await shard.close()


def key_list(selector: Any) -> list[ShardKey]:
    keys = selector if isinstance(selector, list) else [selector]
    for key in keys:
        if not isinstance(key, (str, int)) or isinstance(key, bool):
            raise bad_format("data did not match any variant of untagged enum ShardKeySelector")
    return keys


def fallback_keys(selector: dict[str, Any], known: bool) -> tuple[ShardKey, ShardKey]:
    if not known or selector.keys() != {"target", "fallback"}:
        raise bad_format("data did not match any variant of untagged enum ShardKeySelector")
    return selector["target"], selector["fallback"]
