"""A replica is filled from another: on request, or because its peer has come back.

No point travels, since the peers share one engine: a transfer is its states and the time that it
takes, which tests may stretch or stop. One whose ends cannot talk is aborted once somebody can
agree on that.
"""

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aeterna_cli.lab.qdrant.peers import Peer
from aeterna_cli.lab.qdrant.refusals import bad_request, not_found
from aeterna_cli.lab.qdrant.replicas import ACTIVE, DEAD, INITIALIZING, PARTIAL, RECOVERY
from aeterna_cli.lab.qdrant.shard import Shard

if TYPE_CHECKING:
    from aeterna_cli.lab.qdrant.collection import Collection
    from aeterna_cli.lab.qdrant.node import Node

METHODS = ("stream_records", "snapshot", "wal_delta")
_TICK = 0.05
#: How soon a peer that is back is noticed.
_LOOK_AGAIN = 0.2


@dataclass
class TransferRule:
    """``hold``: transfers start and do not get on; ``seconds``: how long one takes; ``lose``: how
    many points fewer the filled replica says to have, as where updates got lost on the way."""

    hold: bool = False
    seconds: float = 0.3
    lose: int = 0


class Transfer:
    """One running transfer; it is in ``collection.transfers`` as long as it runs.

    ``sync``: the source keeps its replica; without it the replica moves.
    """

    def __init__(
        self,
        collection: "Collection",
        shard: Shard,
        source: Peer,
        target: Peer,
        *,
        sync: bool,
        method: str,
    ) -> None:
        self.shard, self.source, self.target = shard, source, target
        self.sync, self.method = sync, method
        self._collection = collection
        self._points = shard.count(exact=False)
        self._started = time.monotonic()
        self._worked = 0.0
        states = shard.replicas.states
        states[target.id] = RECOVERY if target.id in states else PARTIAL
        collection.transfers.append(self)
        collection.save()
        self._task = asyncio.create_task(self._run())

    def describe(self) -> dict[str, Any]:
        rule = self._collection.node.transfer_rule
        share = min(1.0, self._worked / rule.seconds) if rule.seconds else 1.0
        age = int(time.monotonic() - self._started)
        return {
            "shard_id": self.shard.id,
            "from": self.source.id,
            "to": self.target.id,
            "sync": self.sync,
            "method": self.method,
            "comment": f"Transferring records ({int(share * self._points)}/{self._points}), "
            f"started {age}s ago, ETA: {max(0.0, rule.seconds - self._worked):.2f}s",
        }

    async def _run(self) -> None:
        peers, rule = self._collection.peers, self._collection.node.transfer_rule
        while rule.hold or self._worked < rule.seconds:
            await asyncio.sleep(_TICK)
            if not peers.linked(self.source, self.target) and peers.living():
                self._fail()
                return
            if not rule.hold and peers.in_consensus(self.source):
                self._worked += _TICK
        while not peers.in_consensus(self.target):
            await asyncio.sleep(_TICK)
        self._end()
        self.shard.replicas.states[self.target.id] = ACTIVE
        self.shard.replicas.lost[self.target.id] = rule.lose
        if not self.sync:
            del self.shard.replicas.states[self.source.id]
        self._agreed()

    def _fail(self) -> None:
        """A replica that was to stay is dead, one that was to move is as if it had never been."""
        self._end()
        states = self.shard.replicas.states
        if self.sync:
            states[self.target.id] = DEAD
        else:
            states.pop(self.target.id, None)
        self._agreed()

    def _end(self) -> None:
        if self in self._collection.transfers:
            self._collection.transfers.remove(self)

    def _agreed(self) -> None:
        self._collection.save()
        self._collection.peers.note_commit()

    async def stop(self) -> None:
        """The task is over; the states stay as they are."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._end()

    async def abort(self) -> None:
        await self.stop()
        self._fail()

    def restart(self, method: str) -> None:
        """From its beginning, by another method."""
        self.method = method
        self._worked = 0.0
        self._started = time.monotonic()


def start(collection: "Collection", body: dict[str, Any], *, sync: bool) -> None:
    """``replicate_shard`` or ``move_shard``; ``Refusal`` 400 where it cannot begin."""
    peers, shard = collection.peers, _shard(collection, body)
    target, source = peers.member(body["to_peer_id"]), peers.member(body["from_peer_id"])
    if shard.replicas.states.get(source.id) != ACTIVE:
        raise bad_request(f"Shard {shard.id} is not active on peer {source.id}")
    if source is target:
        raise bad_request(f"Source and target of the transfer are both peer {source.id}")
    ends = {source.id, target.id}
    for one in collection.transfers:
        if one.shard is shard and {one.source.id, one.target.id} & ends:
            raise bad_request(
                f"Shard {shard.id} is already involved in transfer "
                f"{one.source.id} -> {one.target.id}"
            )
    if shard.replicas.states.get(target.id) == ACTIVE:
        raise bad_request(f"Shard {shard.id} is already replicated on peer {target.id}")
    Transfer(collection, shard, source, target, sync=sync, method=_method(collection, body))


def drop_replica(collection: "Collection", body: dict[str, Any]) -> None:
    """Its transfers end with it."""
    shard, peer = _shard(collection, body), collection.peers.member(body["peer_id"])
    shard.replicas.remove(peer.id)
    collection.save()


async def end_transfers_of(collection: "Collection", peer: int) -> None:
    """Transfers of replicas that are gone: stopped, and their other end is dead."""
    for one in list(collection.transfers):
        ends = {one.source.id, one.target.id}
        if peer in ends and peer not in one.shard.replicas.states:
            await one.stop()
            if one.target.id in one.shard.replicas.states:
                one.shard.replicas.states[one.target.id] = DEAD
    collection.save()


def running(collection: "Collection", body: dict[str, Any]) -> Transfer:
    """``Refusal`` 404 for a transfer that does not run."""
    wanted = (body["shard_id"], body["from_peer_id"], body["to_peer_id"])
    for one in collection.transfers:
        if (one.shard.id, one.source.id, one.target.id) == wanted:
            return one
    raise not_found(
        f"Shard transfer {wanted[1]} -> {wanted[2]} for collection {collection.name}:{wanted[0]} "
        "does not exist"
    )


def _shard(collection: "Collection", body: dict[str, Any]) -> Shard:
    found = collection.shards.get(body["shard_id"])
    if found is None:
        raise bad_request(f"Shard {body['shard_id']} of {collection.name} does not exist")
    return found


def _method(collection: "Collection", body: dict[str, Any]) -> str:
    default = "snapshot" if collection.node.version.has("snapshot_transfer") else "stream_records"
    method = body.get("method") or default
    if method not in METHODS:
        raise bad_request(f"unknown variant `{method}`, expected one of {', '.join(METHODS)}")
    return str(method)


async def recover_forever(node: "Node") -> None:
    """Replicas that are not active and whose peer is well are filled from one that is."""
    while True:
        await asyncio.sleep(_LOOK_AGAIN)
        for collection in list(node.collections.values()):
            for shard in list(collection.shards.values()):
                _recover(collection, shard)


def _recover(collection: "Collection", shard: Shard) -> None:
    peers, states = collection.peers, shard.replicas.states
    busy = {one.target.id for one in collection.transfers if one.shard is shard}
    for number, state in list(states.items()):
        if state not in (DEAD, PARTIAL, RECOVERY, INITIALIZING) or number in busy:
            continue
        target, sources = peers.members[number], shard.replicas.sources()
        if not peers.in_consensus(target):
            continue
        if sources:
            Transfer(collection, shard, sources[0], target, sync=True, method="wal_delta")
        elif state == INITIALIZING:
            states[number] = ACTIVE
            collection.save()
