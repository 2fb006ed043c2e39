"""What Patroni says, each node asked by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Member:
    """A member of the cluster as one node sees it in the DCS. ``role`` is Patroni's word."""

    name: str
    role: str
    state: str
    host: str
    port: int
    timeline: int | None
    tags: Mapping[str, Any] = field(default_factory=dict)

    @property
    def leads(self) -> bool:
        return self.role in ("leader", "standby_leader", "master")

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True)
class PatroniView:
    """One node's answer. ``error`` says why there is none; everything else is then empty.

    ``me`` is its answer about itself, ``members`` what it sees in the DCS, which may be
    ``loop_wait`` seconds old.
    """

    url: str
    error: str = ""
    me: Mapping[str, Any] = field(default_factory=dict)
    members: tuple[Member, ...] = ()
    paused: bool = False
    scope: str = ""

    @property
    def name(self) -> str:
        return str((self.me.get("patroni") or {}).get("name", ""))

    @property
    def role(self) -> str:
        return str(self.me.get("role", ""))


@dataclass(frozen=True)
class Asked:
    """What came of asking for a switchover. ``sure`` False: the answer was cut off, or it is one
    after which Patroni may still do it. The truth is what the servers say afterwards."""

    status: int
    message: str
    sure: bool
