"""The server as a whole: version, health, telemetry, peers, faults on demand."""

import time
from typing import Any

from starlette.responses import PlainTextResponse, Response

from aeterna_cli.lab.qdrant import peer_routes, wire
from aeterna_cli.lab.qdrant.calls import Call, Entry
from aeterna_cli.lab.qdrant.faults import Fault

_ENGINE = "lab emulation on qdrant-edge"


async def root(call: Call) -> Response:
    document = {
        "title": "qdrant - vector search engine",
        "version": call.version.text,
        "commit": _ENGINE,
    }
    return Response(wire.dumps(document), media_type="application/json")


async def health(call: Call) -> Response:
    return PlainTextResponse("healthz check passed")


async def ready(call: Call) -> Response:
    if call.node.peers.several and not peer_routes.ready(call):
        return PlainTextResponse("some shards are not ready", 503)
    return PlainTextResponse("all shards are ready")


async def metrics(call: Call) -> Response:
    lines = [
        f'app_info{{name="qdrant",version="{call.version.text}"}} 1',
        f"cluster_enabled {int(call.node.cluster)}",
        f"collections_total {len(call.node.collections)}",
    ]
    for name, collection in call.node.collections.items():
        points = sum(shard.count(exact=False) for shard in collection.shards.values())
        lines.append(f'collection_points{{id="{name}"}} {points}')
    if call.node.peers.several:
        lines += peer_routes.metrics(call)
    return PlainTextResponse("\n".join(lines) + "\n")


async def telemetry(call: Call) -> dict[str, Any]:
    node = call.node
    return {
        "id": node.process_id,
        "app": {
            "name": "qdrant",
            "version": node.version.text,
            "startup": _moment(node.started),
            "lab": _ENGINE,
        },
        "collections": {"number_of_collections": len(node.collections)},
        "cluster": {"enabled": node.cluster},
    }


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _peers(call: Call) -> dict[str, Any]:
    return {str(call.node.peer_id): {"uri": "http://127.0.0.1:6335/"}}


async def cluster(call: Call) -> dict[str, Any]:
    """One peer is its own leader; consensus has nothing to wait for."""
    if not call.node.cluster:
        return {"status": "disabled"}
    if call.node.peers.several:
        return peer_routes.cluster(call)
    return {
        "status": "enabled",
        "peer_id": call.node.peer_id,
        "peers": _peers(call),
        "raft_info": {
            "term": 1,
            "commit": 1,
            "pending_operations": 0,
            "leader": call.node.peer_id,
            "role": "Leader",
            "is_voter": True,
        },
        "consensus_thread_status": {
            "consensus_thread_status": "working",
            "last_update": _moment(time.time()),
        },
        "message_send_failures": {},
    }


async def show_faults(call: Call) -> Any:
    assert call.node.faults is not None  # noqa: S101 - the route exists only with faults allowed
    return None if call.node.faults.current is None else vars(call.node.faults.current)


async def set_faults(call: Call) -> bool:
    assert call.node.faults is not None  # noqa: S101 - the route exists only with faults allowed
    call.node.faults.current = Fault.parse(await call.body())
    return True


async def clear_faults(call: Call) -> bool:
    assert call.node.faults is not None  # noqa: S101 - the route exists only with faults allowed
    call.node.faults.current = None
    return True


async def set_replica_state(call: Call) -> bool:
    """Pretend that a replica is dead or partial: ``{"collection", "shard_id", "state"}``.

    With ``peer_id`` the one there, else every one.
    """
    body = await call.body()
    collection = call.node.collection(body["collection"])
    collection.shard(body["shard_id"]).set_state(body["state"], body.get("peer_id"))
    collection.save()
    return True


ENTRIES = [
    Entry("GET", "/", root),
    Entry("GET", "/healthz", health),
    Entry("GET", "/livez", health),
    Entry("GET", "/readyz", ready),
    Entry("GET", "/metrics", metrics),
    Entry("GET", "/telemetry", telemetry),
    Entry("GET", "/cluster", cluster),
]
FAULT_ENTRIES = [
    Entry("GET", "/lab/faults", show_faults),
    Entry("POST", "/lab/faults", set_faults),
    Entry("DELETE", "/lab/faults", clear_faults),
    Entry("POST", "/lab/replica", set_replica_state),
]
