"""A Qdrant cluster as all of its peers tell it: consensus, replicas, transfers, and who is right.

Qdrant has no primary. A replica is *sound* when every peer of the consensus says that it is Active
and its own peer is one of them and answers: the state alone tells nothing, because nobody makes a
replica dead before an update has missed it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from aeterna_cli.stores.base.qdrant import ShardKey

ACTIVE = "Active"


@dataclass(frozen=True)
class PeerAnswer:
    """What one address said of itself. ``peer`` is None where it did not answer: see ``error``.

    ``leader`` is None without one; ``unreached`` are addresses that its messages do not reach;
    ``emulated`` is the server's own word for what it is not.
    """

    address: str
    error: str = ""
    peer: int | None = None
    version: str = ""
    clustered: bool = False
    peers: Mapping[int, str] = field(default_factory=dict)
    term: int = 0
    commit: int = 0
    leader: int | None = None
    role: str = ""
    pending: int = 0
    voter: bool = False
    consensus: str = ""
    unreached: tuple[str, ...] = ()
    emulated: str = ""


@dataclass(frozen=True)
class ShardReplicas:
    """One shard: the state of each replica by peer. ``disputed`` peers are told of differently."""

    collection: str
    id: int
    key: ShardKey | None
    states: Mapping[int, str]
    disputed: Mapping[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.collection}, shard {self.id}"


@dataclass(frozen=True)
class ShardTransfer:
    """``seconds`` is how long it runs, None where the server does not tell."""

    collection: str
    shard: int
    source: int
    target: int
    sync: bool
    method: str
    seconds: int | None
    comment: str


@dataclass(frozen=True)
class CollectionReplicas:
    """``status`` and ``optimizer`` are the worst that any peer says; ``ok`` is a good optimizer."""

    name: str
    status: str
    optimizer: str
    replication_factor: int
    write_consistency_factor: int
    shards: tuple[ShardReplicas, ...]
    transfers: tuple[ShardTransfer, ...] = ()
    resharding: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClusterPicture:
    """``quorum`` are the answering peers that follow one leader and are more than half of
    ``known`` (all peers by id with their address for each other); empty where there is none."""

    answers: tuple[PeerAnswer, ...]
    known: Mapping[int, str]
    quorum: frozenset[int]
    collections: tuple[CollectionReplicas, ...]
    #: how far the commits of the quorum were apart after a second
    commits_apart: int = 0
    #: what peers outside of the quorum believe differently
    stale: tuple[str, ...] = ()

    def answer(self, peer: int) -> PeerAnswer | None:
        return next((one for one in self.answers if one.peer == peer), None)

    def collection(self, name: str) -> CollectionReplicas | None:
        return next((one for one in self.collections if one.name == name), None)

    def shard(self, collection: str, number: int) -> ShardReplicas | None:
        found = self.collection(collection)
        shards = found.shards if found else ()
        return next((one for one in shards if one.id == number), None)

    def shards(self) -> Sequence[tuple[CollectionReplicas, ShardReplicas]]:
        return [(of, shard) for of in self.collections for shard in of.shards]

    def sound(self, shard: ShardReplicas) -> tuple[int, ...]:
        """The peers that serve this shard for certain, by id."""
        return tuple(
            sorted(
                peer
                for peer, state in shard.states.items()
                if state == ACTIVE and peer in self.quorum and peer not in shard.disputed
            )
        )

    @property
    def emulated(self) -> str:
        return next((one.emulated for one in self.answers if one.emulated), "")

    @property
    def leader(self) -> int | None:
        return next((one.leader for one in self.answers if one.peer in self.quorum), None)


class QdrantClusterStore(Protocol):
    """See ``aeterna_cli.stores.qdrant_cluster.QdrantCluster`` for the promises of each call."""

    def close(self) -> None: ...
    @property
    def addresses(self) -> tuple[str, ...]: ...
    def picture(self, only: Sequence[str] | None = None) -> ClusterPicture: ...
    def replicate(
        self,
        collection: str,
        shard: int,
        source: int,
        target: int,
        *,
        limit: float,
        look: Callable[[], None] = ...,
    ) -> None: ...
    def move(
        self,
        collection: str,
        shard: int,
        source: int,
        target: int,
        *,
        limit: float,
        look: Callable[[], None] = ...,
    ) -> None: ...
    def drop(
        self,
        collection: str,
        shard: int,
        peer: int,
        *,
        leave: int = ...,
        limit: float,
        look: Callable[[], None] = ...,
    ) -> None: ...
    def abort(self, transfer: ShardTransfer, *, limit: float) -> None: ...
    def remove_peer(self, peer: int, *, limit: float, look: Callable[[], None] = ...) -> None: ...
    def recover(self, peer: int, *, limit: float, look: Callable[[], None] = ...) -> None: ...
    def counts(self, collection: str, shard: int, peers: Sequence[int]) -> Mapping[int, int]: ...
    def write_marker(self) -> int: ...
    def marker(self, peer: int) -> int | None: ...
