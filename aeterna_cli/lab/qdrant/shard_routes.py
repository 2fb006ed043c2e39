"""Shard keys and the operations of a collection's cluster."""

from typing import Any

from aeterna_cli.lab.qdrant import peer_routes, transfers
from aeterna_cli.lab.qdrant.calls import Call, Entry
from aeterna_cli.lab.qdrant.collection import Collection, key_list
from aeterna_cli.lab.qdrant.filters import filter_of
from aeterna_cli.lab.qdrant.refusals import bad_format, bad_request, not_found
from aeterna_cli.lab.qdrant.replicas import ACTIVE, PARTIAL
from aeterna_cli.lab.qdrant.replication import Replication

_SHARDS = "/collections/{name}/shards"


async def cluster(call: Call) -> dict[str, Any]:
    collection, peer = call.collection, call.node.peer_id
    if call.node.peers.several:
        return peer_routes.collection_cluster(call, collection)
    local = []
    for shard in collection.shards.values():
        entry: dict[str, Any] = {"shard_id": shard.id}
        if shard.key is not None:
            entry["shard_key"] = shard.key
        local.append({**entry, "points_count": shard.count(exact=False), "state": shard.state})
    return {
        "peer_id": peer,
        "shard_count": len(local),
        "local_shards": local,
        "remote_shards": [],
        "shard_transfers": [one.describe() for one in collection.replications],
    }


async def list_keys(call: Call) -> dict[str, Any]:
    return {"shard_keys": [{"key": key} for key in call.collection.shard_keys()]}


async def create_key(call: Call) -> bool:
    call.require_cluster()
    return _create_key(call, call.collection, await call.body())


def _create_key(call: Call, collection: Collection, body: dict[str, Any]) -> bool:
    (key,) = key_list(body["shard_key"])
    state = ACTIVE
    if call.version.has("point_replication"):
        state = body.get("initial_state") or ACTIVE
    if state not in (ACTIVE, PARTIAL):
        raise bad_request(f"Initial state cannot be {state}, only Active or Partial are allowed")
    placement = body.get("placement") or []
    if set(placement) - set(call.node.peers.members):
        raise bad_request(f"Placement peers {placement} are not in the cluster")
    count = body.get("shards_number")
    if count is not None and (not isinstance(count, int) or count < 1):
        raise bad_format("shards_number: expected a nonzero u32")
    collection.create_key(key, count, state, body.get("replication_factor") or 0, placement)
    return True


async def delete_key(call: Call) -> bool:
    call.require_cluster()
    (key,) = key_list((await call.body())["shard_key"])
    await call.collection.drop_key(key)
    return True


async def change_cluster(call: Call) -> bool:
    """One peer has no other that a shard could move to: then those operations are unknown."""
    call.require_cluster()
    body, collection = await call.body(), call.collection
    if "create_sharding_key" in body:
        return _create_key(call, collection, body["create_sharding_key"])
    if "drop_sharding_key" in body:
        await collection.drop_key(body["drop_sharding_key"]["shard_key"])
        return True
    if "replicate_points" in body and call.version.has("point_replication"):
        return _replicate(call, collection, body["replicate_points"])
    if "abort_transfer" in body:
        return await _abort(collection, body["abort_transfer"])
    if call.node.peers.several and len(body) == 1:
        ((name, arguments),) = body.items()
        if name in _BETWEEN_PEERS and isinstance(arguments, dict):
            return await _between_peers(collection, name, arguments)
    raise bad_format("data did not match any variant of untagged enum ClusterOperations")


def _replicate(call: Call, collection: Collection, body: dict[str, Any]) -> bool:
    source = collection.of_key(body["from_shard_key"])
    target = collection.of_key(body["to_shard_key"])
    if len(source) != 1 or len(target) != 1 or source == target:
        raise bad_request("points are replicated from one shard to one replica of another key")
    busy = {target[0], source[0]}
    if any(one.target in busy or one.source is target[0] for one in collection.replications):
        raise bad_request("one of the shards is part of another transfer")
    source[0].require_readable()
    Replication(collection, source[0], target[0], filter_of(body.get("filter"), call.version))
    return True


async def _abort(collection: Collection, body: dict[str, Any]) -> bool:
    """Without ``to_shard_id`` a point replication is not found, as on the server."""
    for replication in list(collection.replications):
        known = (replication.source.id, replication.target.id)
        if (body["shard_id"], body.get("to_shard_id")) == known:
            await replication.abort()
            return True
    if collection.peers.several:
        await transfers.running(collection, body).abort()
        return True
    raise not_found("Shard transfer does not exist")


_BETWEEN_PEERS = ("move_shard", "replicate_shard", "drop_replica", "restart_transfer")


async def _between_peers(collection: Collection, name: str, body: dict[str, Any]) -> bool:
    """True is only that consensus has taken note: what comes of it is told by the states."""
    if name == "drop_replica":
        transfers.drop_replica(collection, body)
        await transfers.end_transfers_of(collection, body["peer_id"])
    elif name == "restart_transfer":
        found = transfers.running(collection, body)
        if body.get("method") not in transfers.METHODS:
            raise bad_format("missing field `method`")
        found.restart(body["method"])
    else:
        transfers.start(collection, body, sync=name == "replicate_shard")
    return True


ENTRIES = [
    Entry("GET", "/collections/{name}/cluster", cluster),
    Entry("POST", "/collections/{name}/cluster", change_cluster, consensus=True),
    Entry("GET", _SHARDS, list_keys, "list_shard_keys"),
    Entry("PUT", _SHARDS, create_key, consensus=True),
    Entry("POST", f"{_SHARDS}/delete", delete_key, consensus=True),
]
