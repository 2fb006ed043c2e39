"""What Sentinels say, each asked by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Address = tuple[str, int]


@dataclass(frozen=True)
class ReplicaSeen:
    """A replica as one Sentinel sees it. ``offset`` is in bytes of the replication stream."""

    address: Address
    flags: frozenset[str]
    link_up: bool
    offset: int
    priority: int


@dataclass(frozen=True)
class SentinelView:
    """One Sentinel's view of one primary. ``error`` says why there is none; everything else is then
    empty. ``quorum`` is its own answer to CKQUORUM, word for word; ``usable`` whether it is OK."""

    address: str
    error: str = ""
    primary: Address | None = None
    epoch: int = 0
    flags: frozenset[str] = frozenset()
    replicas: tuple[ReplicaSeen, ...] = ()
    others: int = 0
    wanted: int = 0
    quorum: str = ""
    usable: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)
