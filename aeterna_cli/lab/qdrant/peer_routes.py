"""The cluster as one of several peers tells it, changes of its peers, and faults on demand."""

import time
from typing import Any

from aeterna_cli.lab.qdrant.calls import Call, Entry
from aeterna_cli.lab.qdrant.collection import Collection
from aeterna_cli.lab.qdrant.peers import FAULTS, Peer
from aeterna_cli.lab.qdrant.refusals import bad_format, bad_request
from aeterna_cli.lab.qdrant.replicas import ACTIVE, remember


def moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _thread() -> dict[str, str]:
    return {"consensus_thread_status": "working", "last_update": moment(time.time())}


def cluster(call: Call) -> dict[str, Any]:
    """``GET /cluster`` of the asked peer."""
    peers, asked = call.node.peers, call.node.peers.asked
    return {
        "status": "enabled",
        "peer_id": asked.id,
        "peers": {str(one.id): {"uri": one.uri} for one in peers.voters()},
        "raft_info": peers.raft(asked),
        "consensus_thread_status": _thread(),
        "message_send_failures": {
            one.uri: {"count": 1, "latest_error": "transport error"}
            for one in peers.unreached(asked)
        },
    }


def collection_cluster(call: Call, collection: Collection) -> dict[str, Any]:
    """``GET /collections/{name}/cluster`` as the asked peer sees it."""
    asked = call.node.peers.asked
    local, remote = [], []
    for shard in collection.shards.values():
        entry: dict[str, Any] = {"shard_id": shard.id}
        if shard.key is not None:
            entry["shard_key"] = shard.key
        for number, state in shard.replicas.seen().items():
            if number == asked.id:
                count = shard.count(exact=False)
                local.append({**entry, "points_count": count, "state": state})
            else:
                remote.append({**entry, "peer_id": number, "state": state})
    running = [] if asked.memory is not None else collection.transfers
    return {
        "peer_id": asked.id,
        "shard_count": len(collection.shards),
        "local_shards": local,
        "remote_shards": remote,
        "shard_transfers": [
            *(one.describe() for one in collection.replications),
            *(one.describe() for one in running),
        ],
    }


async def telemetry(call: Call) -> dict[str, Any]:
    """The replica states of all collections and what the peers that answer say of themselves."""
    peers, asked = call.node.peers, call.node.peers.asked
    return {
        "collections": {
            name: {
                "id": name,
                "shards": [_shard_telemetry(shard) for shard in collection.shards.values()],
                "reshardings": [],
                "shard_transfers": [one.describe() for one in collection.transfers],
            }
            for name, collection in call.node.collections.items()
        },
        "cluster": {
            "enabled": True,
            "number_of_peers": len(peers.voters()),
            "peers": {
                str(one.id): _peer_telemetry(call, one, peers.linked(asked, one))
                for one in peers.voters()
            },
        },
    }


def _shard_telemetry(shard: Any) -> dict[str, Any]:
    key = {} if shard.key is None else {"key": shard.key}
    replicas = [{"peer_id": n, "state": state} for n, state in shard.replicas.seen().items()]
    return {"id": shard.id, **key, "replicas": replicas}


def _peer_telemetry(call: Call, peer: Peer, answers: bool) -> dict[str, Any]:
    document: dict[str, Any] = {"uri": peer.uri, "responsive": answers}
    if answers:
        raft = call.node.peers.raft(peer)
        document["details"] = {
            "version": call.version.text,
            "role": raft["role"],
            "is_voter": raft["is_voter"],
            "term": raft["term"],
            "commit": raft["commit"],
            "num_pending_operations": raft["pending_operations"],
            "consensus_thread_status": _thread(),
        }
    return document


async def remove_peer(call: Call) -> bool:
    """Without ``force`` only a peer without replicas; with it, also the last replica of a shard."""
    number = int(call.path("peer"))
    peer = call.node.peers.member(number)
    holding = [
        (collection, shard)
        for collection in call.node.collections.values()
        for shard in collection.shards.values()
        if number in shard.replicas.states
    ]
    if holding and call.query("force") != "true":
        raise bad_request(f"Cannot remove peer {number} as there are shards on it")
    for collection, shard in holding:
        shard.replicas.remove(number, force=True)
        collection.save()
    peer.removed = True
    call.node.peers.save()
    call.node.peers.follow()
    return True


async def recover(call: Call) -> bool:
    """A peer that can reach the others has all of consensus again; the answer is true anyway."""
    call.require_cluster()
    call.node.peers.follow()
    return True


def ready(call: Call) -> bool:
    """Latches: once ready, a peer stays so until it starts again."""
    peers = call.node.peers
    asked = peers.asked
    if not asked.ready and peers.in_consensus(asked):
        asked.ready = all(
            shard.replicas.states.get(asked.id, ACTIVE) == ACTIVE
            for collection in call.node.collections.values()
            for shard in collection.shards.values()
        )
    return asked.ready


def metrics(call: Call) -> list[str]:
    peers, asked = call.node.peers, call.node.peers.asked
    raft = peers.raft(asked)
    lines = [
        f"cluster_peers_total {len(peers.voters())}",
        f"cluster_term {raft['term']}",
        f"cluster_commit {raft['commit']}",
        f"cluster_pending_operations_total {raft['pending_operations']}",
        f"cluster_voter {int(raft['is_voter'])}",
    ]
    for name, collection in call.node.collections.items():
        seen = [shard.replicas.seen().values() for shard in collection.shards.values()]
        active = [sum(state == ACTIVE for state in one) for one in seen]
        moving = [(one.source, one.target) for one in collection.transfers]
        label = f'{{id="{name}"}}'
        lines += [
            f"collection_active_replicas_min{label} {min(active, default=0)}",
            f"collection_active_replicas_max{label} {max(active, default=0)}",
            f"collection_dead_replicas{label} {sum(map(len, seen)) - sum(active)}",
            f"collection_shard_transfer_incoming{label} {sum(to is asked for _, to in moving)}",
            f"collection_shard_transfer_outgoing{label} {sum(of is asked for of, _ in moving)}",
        ]
    return lines


# Faults


async def show_peers(call: Call) -> list[dict[str, Any]]:
    return [
        {
            "id": one.id,
            "port": one.port,
            "uri": one.uri,
            "fault": one.fault or None,
            "removed": one.removed,
        }
        for one in call.node.peers.members.values()
    ]


def _member(call: Call) -> Peer:
    """By its id or its port."""
    number = int(call.path("peer"))
    for one in call.node.peers.members.values():
        if number in (one.id, one.port):
            return one
    raise bad_request(f"Peer {number} does not exist")


async def set_peer_fault(call: Call) -> bool:
    """``{"fault": "killed" | "frozen" | "cut"}``; one address has to go on answering."""
    peer, fault = _member(call), (await call.body()).get("fault")
    if fault not in FAULTS:
        raise bad_format(f"fault: one of {', '.join(FAULTS)}")
    others = [one for one in call.node.peers.voters() if one is not peer and one.runs]
    if fault == "killed" and not others:
        raise bad_request("the last peer that listens is not killed: end the process instead")
    if peer.memory is None:
        shards = {name: one.shards for name, one in call.node.collections.items()}
        remember(peer, shards)
    peer.fault = fault
    if fault == "frozen":
        peer.thawed.clear()
    if fault == "killed":
        peer.leads = peer.ready = False
    call.node.peers.follow()
    return True


async def clear_peer_fault(call: Call) -> bool:
    """The peer is back; one that was removed joins again, empty."""
    peer = _member(call)
    peer.fault, peer.removed = "", False
    peer.thawed.set()
    call.node.peers.save()
    call.node.peers.follow()
    return True


async def set_transfers(call: Call) -> bool:
    """``{"hold": true}`` stops all transfers where they are, ``{"seconds": 5}`` stretches them,
    ``{"lose": 3}`` makes the replicas that they fill count three points fewer."""
    body, rule = await call.body(), call.node.transfer_rule
    if body.keys() - {"hold", "seconds", "lose"}:
        raise bad_format("hold, seconds and lose are the switches of transfers")
    rule.hold = bool(body.get("hold", rule.hold))
    rule.seconds = float(body.get("seconds", rule.seconds))
    rule.lose = int(body.get("lose", rule.lose))
    return True


ENTRIES = [
    Entry("GET", "/cluster/telemetry", telemetry, "cluster_telemetry"),
    Entry("POST", "/cluster/recover", recover),
    Entry("DELETE", "/cluster/peer/{peer:int}", remove_peer, consensus=True),
]
FAULT_ENTRIES = [
    Entry("GET", "/lab/peers", show_peers),
    Entry("POST", "/lab/peers/{peer:int}", set_peer_fault),
    Entry("DELETE", "/lab/peers/{peer:int}", clear_peer_fault),
    Entry("POST", "/lab/transfers", set_transfers),
]
