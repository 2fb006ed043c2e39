"""The peers of an emulated cluster: who can talk to whom, and what consensus does about it.

One process and one engine serve every peer, each on an address of its own. What is emulated are
addresses, links, elections, the commit index and replica states. Data is one: a replica never
diverges from another, and what it "misses" while it is away is only its state.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aeterna_cli.errors import UsageError
from aeterna_cli.lab.qdrant.files import read_document, write_document
from aeterna_cli.lab.qdrant.refusals import bad_request, service_error

#: From the loss of a leader to the next one; the server takes one to a few seconds.
ELECTION_SECONDS = 1.0
#: How long a change of metadata waits for consensus where the request names no ``timeout``.
AGREEMENT_SECONDS = 10.0
#: ``killed`` refuses connections, ``frozen`` accepts and never answers, ``cut`` answers clients and
#: reaches no other peer.
FAULTS = ("killed", "frozen", "cut")
_LOOK_AGAIN = 0.02

#: The state of every replica of a shard by its peer.
States = dict[int, str]


@dataclass(eq=False)
class Peer:
    """``memory`` is what a peer that was cut off still believes of the collections."""

    id: int
    port: int
    fault: str = ""
    removed: bool = False
    term: int = 1
    commit: int = 1
    leads: bool = False
    waiting: int = 0
    ready: bool = False
    memory: dict[str, Any] | None = None
    thawed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def uri(self) -> str:
        """The address for other peers; the server's own is two above the one for clients."""
        return f"http://127.0.0.1:{self.port + 2}/"

    @property
    def runs(self) -> bool:
        return self.fault != "killed" and not self.removed


#: The peer that the request at hand was sent to.
ASKED: ContextVar[Peer | None] = ContextVar("asked", default=None)


class Peers:
    """The members in the order of their ports; with a single one nothing can ever fail."""

    def __init__(self, path: Path, ports: Sequence[int]) -> None:
        """``UsageError('lab_qdrant_peers')`` for fewer ports than the data knows peers."""
        self._path = path
        known: dict[str, Any] = read_document(path) if path.exists() else {"peer_id": _new_id()}
        ids = [int(one) for one in known.get("peers", [known["peer_id"]])]
        if len(ports) < len(ids) and (ports or len(ids) > 1):
            raise UsageError(
                "lab_qdrant_peers", f"the data knows {len(ids)} peers and {len(ports)} have a port"
            )
        ids += [_new_id() for _ in range(len(ports) - len(ids))]
        ports = ports or [6333]
        self.members = {one: Peer(one, port) for one, port in zip(ids, ports, strict=True)}
        self.first = self.members[ids[0]]
        self.term, self.commit = int(known.get("term", 1)), int(known.get("commit", 1))
        for one in known.get("removed", []):
            self.members[one].removed = True
        self.leader: Peer | None = self.first
        self._election: asyncio.Task[None] | None = None
        #: called whenever consensus has agreed on something, and after a fault came or went
        self.changed: Callable[[], None] = lambda: None
        self._settle()
        self.save()

    @property
    def several(self) -> bool:
        return len(self.members) > 1

    @property
    def asked(self) -> Peer:
        """The peer of the request at hand; the first where there is no request."""
        return ASKED.get() or self.first

    def voters(self) -> list[Peer]:
        return [one for one in self.members.values() if not one.removed]

    def member(self, number: int) -> Peer:
        """``Refusal`` 400 for a peer that is none (any more)."""
        found = self.members.get(number)
        if found is None or found.removed:
            raise bad_request(f"Peer {number} does not exist")
        return found

    def save(self) -> None:
        document: dict[str, Any] = {"peer_id": self.first.id}
        if self.several:
            document["peers"] = list(self.members)
            document["removed"] = [one.id for one in self.members.values() if one.removed]
            document["term"], document["commit"] = self.term, self.commit
        write_document(self._path, document)

    # Links and majorities

    def linked(self, one: Peer, other: Peer) -> bool:
        """Whether a message from one to the other arrives and is answered."""
        if one is other:
            return one.runs
        return not (one.fault or other.fault or one.removed or other.removed)

    def majority(self, peer: Peer) -> bool:
        """Whether this peer reaches more than half of the voters, itself among them."""
        voters = self.voters()
        reached = sum(self.linked(peer, one) for one in voters)
        return not peer.removed and peer.fault != "frozen" and 2 * reached > len(voters)

    def in_consensus(self, peer: Peer) -> bool:
        """Whether this peer follows a leader that can get something agreed."""
        return self.leader is not None and self.majority(peer) and self.majority(self.leader)

    def living(self) -> Iterable[Peer]:
        return [one for one in self.voters() if self.in_consensus(one)]

    # Consensus

    async def agree(self, peer: Peer, seconds: float = AGREEMENT_SECONDS) -> None:
        """Consensus has taken note of one more change that ``peer`` proposed.

        ``Refusal`` 500 after ``seconds`` without a majority, in the server's two ways: a leader
        that has lost its followers waits for a commit, anybody else for a leader.
        """
        if not self.several:
            return
        deadline = asyncio.get_running_loop().time() + seconds
        peer.waiting += 1
        try:
            while not self.in_consensus(peer):
                if asyncio.get_running_loop().time() >= deadline:
                    raise _no_agreement(peer, seconds)
                await asyncio.sleep(_LOOK_AGAIN)
        finally:
            peer.waiting -= 1
        self.note_commit()

    def note_commit(self) -> None:
        """One more entry; everybody who follows the leader has it."""
        self.commit += 1
        self._settle()
        self.save()
        self.changed()

    def _settle(self) -> None:
        for one in self.voters():
            if self.in_consensus(one):
                one.term, one.commit = self.term, self.commit
                one.leads = one is self.leader
                one.memory = None

    def follow(self) -> None:
        """The links have changed: a new leader is elected where the old one lost its majority."""
        self._settle()
        if self.leader is None or not self.majority(self.leader):
            # A leader that is cut off keeps the role in its own eyes; everybody else has none.
            self.leader = None
            if self._election is None or self._election.done():
                self._election = asyncio.create_task(self._elect())
        self.changed()

    async def _elect(self) -> None:
        await asyncio.sleep(ELECTION_SECONDS)
        candidates = [one for one in self.voters() if self.majority(one)]
        if candidates and self.leader is None:
            self.leader = candidates[0]
            self.term += 1
            self.note_commit()

    def raft(self, peer: Peer) -> dict[str, Any]:
        """``raft_info`` as this peer tells it. One that is cut off tells what it knew last."""
        well = self.in_consensus(peer)
        if well:
            leader, role = self.leader.id if self.leader else None, "Follower"
        else:
            leader, role = (peer.id if peer.leads else None), "Candidate"
        return {
            "term": peer.term,
            "commit": peer.commit,
            "pending_operations": peer.waiting,
            "leader": leader,
            "role": "Leader" if peer.leads else role,
            "is_voter": not peer.removed,
        }

    def unreached(self, peer: Peer) -> list[Peer]:
        """The peers that this one sends to in vain; a follower sends to nobody."""
        if self.in_consensus(peer) and not peer.leads:
            return []
        return [one for one in self.voters() if one is not peer and not self.linked(peer, one)]

    # Where replicas go

    def placed(self, wanted: int, loads: dict[int, int], only: Sequence[int] = ()) -> list[Peer]:
        """The peers for the replicas of one new shard: those with the fewest, ``only`` of these."""
        pool = [self.member(one) for one in only] if only else self.voters()
        return sorted(pool, key=lambda one: loads.get(one.id, 0))[:wanted]


def _new_id() -> int:
    return secrets.randbelow(1 << 53) + 1


def _no_agreement(peer: Peer, seconds: float) -> Exception:
    if peer.leads:
        return service_error(
            f"Waiting for consensus operation commit failed. Timeout set at: {seconds:g} seconds"
        )
    return service_error(
        f"Failed to propose operation: leader is not established within {seconds:g}s"
    )
