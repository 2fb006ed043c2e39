"""Which replicas have to be made, and which may go, so that a peer can be missed.

Computed from a picture and nothing else: the same question after a crash has the rest as answer.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from aeterna_cli.stores.base.qdrant import OPS_COLLECTION
from aeterna_cli.stores.base.qdrant_cluster import ClusterPicture, CollectionReplicas, ShardReplicas


@dataclass(frozen=True)
class Copy:
    """One replica to be made."""

    collection: str
    shard: int
    source: int
    target: int


@dataclass(frozen=True)
class Drop:
    """One replica that may go as soon as ``leave`` sound ones are elsewhere."""

    collection: str
    shard: int
    peer: int
    leave: int


def wanted_elsewhere(of: CollectionReplicas, shard: ShardReplicas, peer: int, drop: bool) -> int:
    """How many sound replicas other peers must have so that ``peer`` may be stopped.

    One, or as many as an update wants to succeed. That is counted over all replicas: one that is
    dropped no longer counts.
    """
    replicas = len(shard.states) - (drop and peer in shard.states)
    return max(1, min(of.write_consistency_factor, replicas))


def copies_to_empty(
    picture: ClusterPicture, peer: int, *, drop: bool
) -> tuple[list[Copy], list[str]]:
    """The copies that let ``peer`` be stopped, and the shards for which no peer is left.

    With ``drop`` its replicas are to go: then others keep the collection's replication factor as
    far as there are peers.
    """
    copies: list[Copy] = []
    impossible: list[str] = []
    loads = _loads(picture)
    for of, shard in picture.shards():
        if peer not in shard.states:
            continue
        sources = picture.sound(shard)
        others = [one for one in sources if one != peer]
        spare = _spare(picture, shard, peer, loads)
        required = wanted_elsewhere(of, shard, peer, drop)
        if len(others) < required:
            # Every further replica is one more that an update counts.
            required = max(1, of.write_consistency_factor)
        reachable = len(others) + len(spare)
        wish = max(required, min(of.replication_factor, reachable)) if drop else required
        if len(others) >= wish:
            continue
        if not sources or reachable < required:
            impossible.append(shard.name)
            continue
        for target in spare[: wish - len(others)]:
            copies.append(Copy(of.name, shard.id, min(others, default=peer), target))
            loads[target] += 1
    return copies, impossible


def copies_to_restore(picture: ClusterPicture) -> tuple[list[Copy], list[str], list[str]]:
    """The copies that give every shard as many sound replicas as its collection wants.

    Also the shards without any sound replica, and those that stay short for want of peers.
    """
    copies: list[Copy] = []
    unserved: list[str] = []
    short: list[str] = []
    loads = _loads(picture)
    for of, shard in picture.shards():
        sound = picture.sound(shard)
        if not sound:
            unserved.append(shard.name)
            continue
        missing = of.replication_factor - len(sound)
        spare = _spare(picture, shard, None, loads)
        # Our own collection wants to be on every peer there ever was: that is no promise.
        if missing > len(spare) and of.name != OPS_COLLECTION:
            short.append(shard.name)
        for target in spare[: max(0, missing)]:
            copies.append(Copy(of.name, shard.id, sound[0], target))
            loads[target] += 1
    return copies, unserved, short


def drops_of(picture: ClusterPicture, peers: Collection[int], *, living: bool) -> Iterator[Drop]:
    """The replicas on ``peers`` that are not the last; of living ones, not the last few either."""
    for of, shard in picture.shards():
        for peer in sorted(set(shard.states) & set(peers)):
            others = [one for one in picture.sound(shard) if one != peer]
            if others:
                leave = wanted_elsewhere(of, shard, peer, drop=True) if living else 1
                yield Drop(of.name, shard.id, peer, leave)


def _loads(picture: ClusterPicture) -> dict[int, int]:
    loads = dict.fromkeys(sorted(picture.known), 0)
    for _, shard in picture.shards():
        for peer in shard.states:
            loads[peer] = loads.get(peer, 0) + 1
    return loads


def _spare(
    picture: ClusterPicture, shard: ShardReplicas, without: int | None, loads: dict[int, int]
) -> list[int]:
    """Living peers without a sound replica of the shard, those with the fewest replicas first.

    A replica that is there and not active yet comes before all: it is already being filled.
    """
    free = picture.quorum - set(picture.sound(shard)) - {without}
    return sorted(free, key=lambda one: (one not in shard.states, loads.get(one, 0), one))
