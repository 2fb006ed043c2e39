"""How far PostgreSQL's replicas are, by the primary's own word."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReplicaPosition:
    """``behind`` is what of the primary's WAL is not on the replica's disk, in bytes; ``seconds``
    how old its newest replayed commit is. ``synchronous``: commits wait for it."""

    name: str
    state: str
    synchronous: bool
    behind: int
    seconds: float | None


@dataclass(frozen=True)
class PrimaryFacts:
    """What the primary knows of itself. ``oldest_transaction`` is in seconds; ``slots`` are name,
    whether somebody reads from it, and the bytes of WAL that it keeps."""

    position: str
    timeline: int
    replicas: tuple[ReplicaPosition, ...]
    oldest_transaction: float
    base_backups: int
    slots: tuple[tuple[str, bool, int], ...]
    archiver_failing: bool
