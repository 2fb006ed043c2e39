"""The replicas of one shard, as the peer that was asked sees them, and what that lets it do.

Source of the rules and texts: the server's replica sets (1.12 to 1.19). A replica is found out by
the first update that does not reach it, never by reading; that update is answered by whether
enough others took it. The last active replica is never made dead.
"""

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from aeterna_cli.lab.qdrant.peers import Peer, Peers, States
from aeterna_cli.lab.qdrant.refusals import Refusal, bad_request, service_error

if TYPE_CHECKING:
    from aeterna_cli.lab.qdrant.shard import Shard

ACTIVE = "Active"
PARTIAL = "Partial"
ACTIVE_READ = "ActiveRead"
DEAD = "Dead"
INITIALIZING = "Initializing"
RECOVERY = "Recovery"
#: Best first: what a shard as a whole is said to be.
STATES = (ACTIVE, ACTIVE_READ, PARTIAL, RECOVERY, INITIALIZING, DEAD)
READABLE = (ACTIVE, ACTIVE_READ)
#: A frozen peer is noticed by an update that waits this long for it.
NOTICE_SECONDS = 1.0
#: How long an update waits for consensus to make an unreached replica dead. The server: 30 s.
DEACTIVATION_SECONDS = 3.0


class Replicas:
    """``states`` is what consensus knows; ``seen`` what the asked peer does."""

    def __init__(self, peers: Peers, collection: str, shard: int, states: States) -> None:
        self.peers = peers
        self.states = states
        self.lost: dict[int, int] = {}
        self._collection = collection
        self._shard = shard

    def seen(self, peer: Peer | None = None) -> States:
        asked = peer or self.peers.asked
        if asked.memory is None:
            return self.states
        found: States = asked.memory.get(self._collection, {}).get(self._shard, {})
        return found

    @property
    def best(self) -> str:
        """The state of the shard as a whole."""
        return min(self.seen().values(), key=STATES.index, default=DEAD)

    def set_all(self, state: str) -> None:
        """Of every replica. One on a peer that is away cannot have become active."""
        for number in self.states:
            away = not self.peers.in_consensus(self.peers.members[number])
            self.states[number] = DEAD if away and self.peers.several else state

    def filled(self) -> None:
        """The asked peer has other points than before: the other replicas follow from it."""
        asked = self.peers.asked.id
        for number in self.states:
            self.states[number] = ACTIVE if number == asked else DEAD

    def reached(self) -> States:
        """The replicas that the asked peer can talk to."""
        asked, members = self.peers.asked, self.peers.members
        return {
            number: state
            for number, state in self.seen().items()
            if self.peers.linked(asked, members[number])
        }

    def sources(self) -> list[Peer]:
        """The living peers that others can be filled from."""
        members = self.peers.members
        active = (members[number] for number, state in self.states.items() if state == ACTIVE)
        return [one for one in active if self.peers.in_consensus(one)]

    def check_read(self) -> None:
        """``Refusal`` 500 where no active replica answers."""
        active = [number for number, state in self.seen().items() if state in READABLE]
        if not active:
            raise service_error(
                f"The replica set for shard {self._shard} on peer {self.peers.asked.id} "
                "does not have enough active replicas"
            )
        if not any(self.reached().get(number) for number in active):
            failed = "".join(f"\n  {_unreached(number)}" for number in active)
            raise service_error(f"{len(active)} of {len(active)} read operations failed:{failed}")

    async def take_update(self, factor: int, ordering: str) -> bool:
        """Whether replicas have been made dead: the caller saves. The update may now be applied.

        ``Refusal`` 500 where the server would say that it failed; nothing is applied then, as if
        the replica that took it had been filled again from the others.
        """
        seen, reached = self.seen(), self.reached()
        able = [number for number, state in seen.items() if state != DEAD]
        if not able:
            raise service_error(
                f"The replica set for shard {self._shard} on peer {self.peers.asked.id} "
                "has no active replica"
            )
        self._check_order(ordering, seen, reached)
        failed = [number for number in able if number not in reached]
        if not failed:
            return False
        if any(self.peers.members[number].fault == "frozen" for number in failed):
            await asyncio.sleep(NOTICE_SECONDS)
        if len(able) - len(failed) < min(factor, len(seen)):
            raise service_error(_unreached(failed[0]))
        if not any(seen[number] in READABLE for number in able if number not in failed):
            raise service_error(
                "Failed to apply operation to at least one `Active` replica. Consistency of this "
                f"update is not guaranteed. Please retry. {_unreached(failed[0])}"
            )
        await self._deactivate(failed)
        return True

    def _check_order(self, ordering: str, seen: States, reached: States) -> None:
        """Medium and strong updates go through one peer, which has to be there."""
        if ordering == "weak":
            return
        leaders = seen if ordering == "strong" else [n for n in seen if seen[n] == ACTIVE]
        leader = max(leaders, default=0)
        if leader not in reached:
            raise service_error(
                f"Failed to apply update with {ordering.capitalize()} ordering via leader peer "
                f"{leader}: {_unreached(leader)}"
            )

    async def _deactivate(self, failed: Iterable[int]) -> None:
        try:
            await self.peers.agree(self.peers.asked, DEACTIVATION_SECONDS)
        except Refusal as refusal:
            raise service_error(
                f"Some replica of shard {self._shard} failed to apply operation and deactivation "
                f"timed out after {DEACTIVATION_SECONDS:g}s. Consistency of this update is not "
                "guaranteed. Please retry."
            ) from refusal
        for number in failed:
            self.states[number] = DEAD

    def remove(self, number: int, *, force: bool = False) -> None:
        """``Refusal`` 400 for no replica there, or the last one that is active."""
        if number not in self.states:
            raise bad_request(f"Peer {number} has no replica of shard {self._shard}")
        others = [n for n, state in self.states.items() if n != number and state == ACTIVE]
        last = not others and self.states[number] == ACTIVE
        if not force and (last or len(self.states) == 1):
            raise bad_request(
                f"Shard {self._shard} must have at least one active replica after removing {number}"
            )
        del self.states[number]


def _unreached(number: int) -> str:
    return f"Service internal error: Tonic status error: peer {number}: transport error"


def remember(peer: Peer, shards: dict[str, dict[int, "Shard"]]) -> None:
    """What the peer believes from now on, until it is in consensus again."""
    peer.memory = {
        name: {number: dict(shard.replicas.states) for number, shard in of.items()}
        for name, of in shards.items()
    }
