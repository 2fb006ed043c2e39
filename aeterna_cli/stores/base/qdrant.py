"""Qdrant: what a backup and a restore ask of a server (1.12 and later, REST)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from aeterna_cli.stores.base.findings import Finding

#: Our own collection: the deployment's identity and the recovery point marker. It belongs to the
#: server that it was made on: it is captured for its marker and never restored.
OPS_COLLECTION = "aeterna_ops_marker"

ShardKey = str | int


@dataclass(frozen=True)
class QdrantIdentity:
    """``identity_key`` is None before ``ensure_identity``; ``consensus`` is the server's own word
    (``working``, ``stopped``, ...), ``disabled`` on a standalone server."""

    version: str
    cluster_enabled: bool
    peers: tuple[str, ...]
    consensus: str
    collections: tuple[str, ...]
    identity_key: str | None


@dataclass(frozen=True)
class PointDigest:
    """An order-independent digest of points with their number; see ``qdrant_digests``."""

    points: int
    digest: str


@dataclass(frozen=True)
class LiveDigest:
    """A collection's digest by scroll, in total and by shard key (``None`` without custom keys).

    Approximate while somebody writes. A point that lies under two keys counts twice, as it does in
    the images of the two shards.
    """

    total: PointDigest
    by_key: Mapping[ShardKey | None, PointDigest]


@dataclass(frozen=True)
class ShardReplica:
    peer: str
    state: str


@dataclass(frozen=True)
class ShardDescription:
    """One shard. ``local``: a peer whose address is known has a replica and gives a snapshot."""

    id: int
    key: ShardKey | None
    local: bool
    replicas: tuple[ShardReplica, ...]


@dataclass(frozen=True)
class CollectionDescription:
    """Everything about a collection that a shard snapshot leaves out.

    ``config`` and ``payload_schema`` are the server's own JSON; ``points`` was exact when it was
    asked, of a collection that may have gone on changing.
    """

    name: str
    config: dict[str, Any]
    payload_schema: dict[str, Any]
    aliases: tuple[str, ...]
    shards: tuple[ShardDescription, ...]
    points: int
    status: str

    @property
    def custom_sharding(self) -> bool:
        return bool(self.config.get("params", {}).get("sharding_method") == "custom")

    @property
    def restorable(self) -> bool:
        """False for our own collection: an identity is never copied to another server."""
        return self.name != OPS_COLLECTION

    def shard_keys(self) -> tuple[ShardKey | None, ...]:
        """The keys in the order in which they were made; ``(None,)`` without custom sharding."""
        if not self.custom_sharding:
            return (None,)
        return tuple(dict.fromkeys(shard.key for shard in self.shards))

    def as_document(self) -> dict[str, Any]:
        """The description as JSON types; ``from_document`` is the way back."""
        return asdict(self)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "CollectionDescription":
        """``KeyError`` or ``TypeError`` for a document of another shape."""
        shards = tuple(
            ShardDescription(
                shard["id"],
                shard["key"],
                shard["local"],
                tuple(ShardReplica(**replica) for replica in shard["replicas"]),
            )
            for shard in document["shards"]
        )
        return cls(**{**document, "shards": shards, "aliases": tuple(document["aliases"])})


class QdrantStore(Protocol):
    """See ``aeterna_cli.stores.qdrant.QdrantServer`` for the promises of each call."""

    def identity(self) -> QdrantIdentity: ...
    def ensure_identity(self, wanted: str | None = None) -> str: ...
    def findings(self, purpose: Literal["backup", "restore"]) -> Sequence[Finding]: ...
    def write_marker(self, number: int) -> None: ...
    def marker(self) -> int | None: ...
    def describe(self) -> list[CollectionDescription]: ...
    def capture_shard(
        self, collection: str, shard_id: int
    ) -> AbstractContextManager[Iterator[bytes]]: ...
    def logical_capture(self, collection: str, shard_key: ShardKey | None) -> Iterator[bytes]: ...
    def logical_restore(
        self, collection: str, stream: Iterable[bytes], stop: Callable[[], bool] = ...
    ) -> int: ...
    def ids(self, collection: str) -> Iterator[str]: ...
    def live_digests(self, collection: str) -> LiveDigest: ...
    def create_collection(
        self, description: CollectionDescription, *, replace: bool = False
    ) -> None: ...
    def upload_shard(
        self,
        description: CollectionDescription,
        shard_id: int,
        stream: Iterable[bytes],
        size: int,
        *,
        sha256: str | None = None,
    ) -> None: ...
    def finish(
        self,
        description: CollectionDescription,
        points: Mapping[ShardKey | None, int],
        *,
        timeout: float = ...,
    ) -> None: ...
    def set_aliases(self, description: CollectionDescription) -> None: ...
