"""Qdrant's part of ``failover status``: its peers, its deviations, and what is at stake."""

from collections.abc import Iterator, Sequence

from aeterna_cli.settings import FailoverSettings
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.qdrant_cluster import ACTIVE, ClusterPicture, CollectionReplicas
from aeterna_cli.workflows.failover.component import ComponentStatus, Loss, Node
from aeterna_cli.workflows.failover.qdrant_names import (
    NamedPeer,
    name_of,
    named_peers,
    silent_together,
)

#: A transfer that runs longer than this is worth a look, in seconds.
LONG_TRANSFER_SECONDS = 600
_SHOWN = 5


def status_of(picture: ClusterPicture, target: FailoverSettings) -> ComponentStatus:
    peers = named_peers(picture)
    findings = (
        *_peer_findings(picture, peers, target),
        *_collection_findings(picture, peers, target),
    )
    word = picture.emulated
    shown = [one for one in peers if one.listed or not silent_together(peers)]
    return ComponentStatus(
        component="qdrant",
        nodes=tuple(_node(picture, one) for one in shown),
        primary=None,
        findings=findings,
        loss=loss_of(picture, peers),
        facts={
            "primary": "Qdrant has none: every peer serves reads and writes",
            "leader": name_of(peers, picture.leader) if picture.leader else None,
            "quorum": sorted(name_of(peers, one) for one in picture.quorum),
            "collections": len(picture.collections),
            "shards": len(picture.shards()),
        },
        emulated=f"the peers are emulated by the lab ({word}): one process and one engine, so "
        "replicas never differ in their points"
        if word
        else "",
    )


def _node(picture: ClusterPicture, one: NamedPeer) -> Node:
    held = [shard for _, shard in picture.shards() if one.peer in shard.states]
    sound = [shard for shard in held if one.peer in picture.sound(shard)]
    only = [shard for shard in sound if len(picture.sound(shard)) == 1]
    bad = sorted({shard.states[one.peer] for shard in held if one.peer is not None} - {ACTIVE})
    if one.answer is None:
        state = "unreachable"
    elif one.peer not in picture.quorum:
        state = "outside of the consensus"
    else:
        state = ", ".join(bad) or ACTIVE
    answer = one.answer
    return Node(
        name=one.name,
        address=one.address,
        role="peer",
        state=state,
        healthy=one.peer in picture.quorum and len(sound) == len(held),
        facts={
            "peer_id": None if one.peer is None else str(one.peer),
            "version": answer.version if answer else None,
            "raft_role": answer.role if answer else None,
            "term": answer.term if answer else None,
            "commit": answer.commit if answer else None,
            "replicas": len(held),
            "sound": len(sound),
            "only_here": [shard.name for shard in only],
        },
    )


def loss_of(picture: ClusterPicture, peers: Sequence[NamedPeer]) -> Loss:
    """What the death of one peer would lose: the shards with a single sound replica."""
    single = [
        (shard, picture.sound(shard)[0])
        for _, shard in picture.shards()
        if len(picture.sound(shard)) == 1
    ]
    certain = all(one.answer is not None for one in peers) and bool(picture.quorum)
    if not picture.quorum:
        return Loss(None, None, False, "nobody can tell: the peers that answer have no majority")
    if not single:
        return Loss(0, 0.0, certain, "nothing: every shard that is served is on two peers or more")
    where = sorted({name_of(peers, peer) for _, peer in single})
    names = ", ".join(shard.name for shard, _ in single[:_SHOWN])
    more = f" and {len(single) - _SHOWN} more" if len(single) > _SHOWN else ""
    message = f"{len(single)} shards that are only on {' or '.join(where)}: {names}{more}"
    return Loss(None, None, certain, message)


# Peers and consensus


def _peer_findings(
    picture: ClusterPicture, peers: Sequence[NamedPeer], target: FailoverSettings
) -> Iterator[Finding]:
    for one in peers:
        if one.listed or not silent_together(peers):
            yield from _one_peer(picture, one)
    if any(one.answer and not one.answer.clustered for one in peers):
        yield Finding(
            "qdrant_standalone", "error", "qdrant", "cluster mode is off: there is one server",
            mend="start Qdrant with cluster.enabled: true",
        )  # fmt: skip
    elif not picture.quorum:
        answering = sum(one.answer is not None for one in peers)
        members = max(len(picture.known), len(picture.answers))
        yield Finding(
            "qdrant_no_quorum", "error", "qdrant",
            f"{answering} of {members} peers answer and no majority follows one leader: "
            "nothing can be changed, and no replica is certain",
            mend="bring peers back until more than half of them answer",
        )  # fmt: skip
    if len(picture.known) < target.qdrant_peers:
        yield Finding(
            "qdrant_peers_few", "warning", "qdrant",
            f"{len(picture.known)} peers, {target.qdrant_peers} are wanted",
            mend="add peers, or set failover.qdrant_peers in the profile",
        )  # fmt: skip
    versions = sorted({one.version for one in picture.answers if one.version})
    if len(versions) > 1:
        yield Finding("qdrant_versions_differ", "warning", "qdrant",
                      f"the peers run {', '.join(versions)}",
                      mend="finish the upgrade")  # fmt: skip
    if picture.commits_apart:
        yield Finding(
            "qdrant_commits_apart", "warning", "qdrant",
            f"the peers' commits are {picture.commits_apart} apart after a second",
            mend="look at raft_info and the log of the peer that is behind",
        )  # fmt: skip
    for text in picture.stale[:_SHOWN]:
        yield Finding("qdrant_view_stale", "warning", "qdrant", text)


def _one_peer(picture: ClusterPicture, one: NamedPeer) -> Iterator[Finding]:
    answer = one.answer
    if answer is None:
        told = next((of.error for of in picture.answers if of.address == one.address), "")
        yield Finding(
            "qdrant_peer_unreachable" if one.listed else "qdrant_peer_unlisted",
            "error",
            one.name,
            told or f"peer {one.peer} at {one.address} is a member and in no profile address",
            mend="bring it back, or `aeterna-cli failover run --component qdrant`"
            if one.listed
            else "name the REST address of every peer in qdrant.peers",
        )
    elif answer.clustered and one.peer not in picture.quorum:
        why = f"its consensus thread is {answer.consensus}, its role {answer.role or 'none'}"
        if one.peer not in picture.known:
            why = "it is no member any more"
        yield Finding(
            "qdrant_peer_outside", "error", one.name,
            f"answers and does not follow the consensus: {why}",
            mend="look at its links to the other peers and at its log",
        )  # fmt: skip


# Collections


def _collection_findings(
    picture: ClusterPicture, peers: Sequence[NamedPeer], target: FailoverSettings
) -> Iterator[Finding]:
    for one in picture.collections:
        if one.replication_factor < target.qdrant_replication_factor:
            yield Finding(
                "qdrant_replication_low", "warning", one.name,
                f"replication factor {one.replication_factor}, "
                f"{target.qdrant_replication_factor} is wanted",
                mend="PATCH the collection's replication_factor, then replicate its shards",
            )  # fmt: skip
        yield from _condition(one)
        yield from _moving(one, peers)
        yield from _shard_findings(picture, one, peers)


def _condition(one: CollectionReplicas) -> Iterator[Finding]:
    if one.status == "red":
        yield Finding("qdrant_collection_red", "error", one.name, "the server says it is broken",
                      mend="read its optimizer_status and the servers' logs")  # fmt: skip
    elif one.optimizer != "ok":
        yield Finding("qdrant_optimizer_failed", "warning", one.name, one.optimizer)
    elif one.status != "green":
        yield Finding("qdrant_collection_busy", "info", one.name, f"its status is {one.status}")


def _moving(one: CollectionReplicas, peers: Sequence[NamedPeer]) -> Iterator[Finding]:
    for each in one.transfers:
        long = each.seconds is not None and each.seconds > LONG_TRANSFER_SECONDS
        source, target = name_of(peers, each.source), name_of(peers, each.target)
        age = "" if each.seconds is None else f" for {each.seconds} s"
        yield Finding(
            "qdrant_transfer_long" if long else "qdrant_transfer_running",
            "warning" if long else "info",
            f"{one.name}, shard {each.shard}",
            f"is being copied from {source} to {target}{age}: {each.comment}",
        )
    for text in one.resharding:
        yield Finding("qdrant_resharding", "error", one.name, f"is being resharded: {text}",
                      mend="wait for its end, or abort_resharding")  # fmt: skip


def _shard_findings(
    picture: ClusterPicture, one: CollectionReplicas, peers: Sequence[NamedPeer]
) -> Iterator[Finding]:
    for shard in one.shards:
        sound = picture.sound(shard)
        if not sound and picture.quorum:
            yield Finding(
                "qdrant_shard_unserved", "error", shard.name,
                f"has no sound replica: {_told(shard.states, peers)}",
                mend="bring its peers back; else restore the collection from a backup",
            )  # fmt: skip
        elif len(sound) == 1:
            yield Finding(
                "qdrant_shard_single", "warning", shard.name,
                f"is only on {name_of(peers, sound[0])}: its death would lose it",
                mend="`aeterna-cli failover run --component qdrant` copies it to another peer",
            )  # fmt: skip
        inactive = {peer: state for peer, state in shard.states.items() if state != ACTIVE}
        if inactive:
            yield Finding("qdrant_replica_not_active", "warning", shard.name,
                          _told(inactive, peers))  # fmt: skip
        for peer, text in shard.disputed.items():
            yield Finding("qdrant_replica_disputed", "warning", shard.name,
                          f"peers differ about {name_of(peers, peer)}: {text}")  # fmt: skip
        if 1 < len(shard.states) <= one.write_consistency_factor:
            yield Finding(
                "qdrant_writes_need_every_replica", "warning", shard.name,
                f"write_consistency_factor {one.write_consistency_factor} of "
                f"{len(shard.states)} replicas: updates fail as soon as one peer is away",
                mend="lower write_consistency_factor below the number of replicas",
            )  # fmt: skip


def _told(states: object, peers: Sequence[NamedPeer]) -> str:
    pairs = dict(states).items() if isinstance(states, dict) else ()
    return ", ".join(f"{state} on {name_of(peers, peer)}" for peer, state in pairs) or "none"
