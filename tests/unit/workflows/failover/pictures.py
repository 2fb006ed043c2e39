"""Pictures of clusters that nobody has to start."""

from collections.abc import Mapping
from typing import Any

from aeterna_cli.stores.base.qdrant_cluster import (
    ClusterPicture,
    CollectionReplicas,
    PeerAnswer,
    ShardReplicas,
)

States = Mapping[int, str]


def collection(
    name: str, *shards: States, factor: int = 2, consistency: int = 1, **more: Any
) -> CollectionReplicas:
    """One shard for each map of states by peer."""
    made = tuple(ShardReplicas(name, n, None, dict(states)) for n, states in enumerate(shards))
    condition = {"status": "green", "optimizer": "ok", **more}
    return CollectionReplicas(
        name=name,
        replication_factor=factor,
        write_consistency_factor=consistency,
        shards=made,
        **condition,
    )


def active(*peers: int) -> States:
    return dict.fromkeys(peers, "Active")


def picture(
    *collections: CollectionReplicas,
    addresses: Mapping[str, int | None] | None = None,
    quorum: tuple[int, ...] = (1, 2, 3),
    **more: Any,
) -> ClusterPicture:
    """Peers 1 to 3 on hosts ``qdrant-N``; an address with None does not answer."""
    known = {n: f"http://qdrant-{n - 1}.internal:6335/" for n in (1, 2, 3)}
    addresses = addresses or {f"http://qdrant-{n - 1}.internal:6333": n for n in (1, 2, 3)}
    answers = tuple(
        PeerAnswer(address, "no answer")
        if peer is None
        else PeerAnswer(
            address,
            peer=peer,
            clustered=True,
            peers=known,
            term=1,
            commit=5,
            leader=quorum[0] if quorum else None,
            role="Leader" if quorum and peer == quorum[0] else "Follower",
            voter=True,
            consensus="working",
        )
        for address, peer in addresses.items()
    )
    return ClusterPicture(answers, known, frozenset(quorum), tuple(collections), **more)
