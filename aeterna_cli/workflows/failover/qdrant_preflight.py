"""What speaks against taking a peer of Qdrant out of service, or doing without a dead one."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.qdrant_cluster import ClusterPicture
from aeterna_cli.workflows.failover.component import ComponentStatus, Request
from aeterna_cli.workflows.failover.qdrant_names import (
    NamedPeer,
    name_of,
    named_peers,
    resolve,
    silent_together,
)
from aeterna_cli.workflows.failover.qdrant_needs import (
    Copy,
    copies_to_empty,
    copies_to_restore,
    drops_of,
)

#: The first version whose transfers keep updates that arrive meanwhile (server issue 8103).
_SAFE = (1, 17, 0)
#: What a dead peer looks like: a failover is for that, not hindered by it.
_EXPECTED_WHEN_DEAD = frozenset(
    {
        "qdrant_peer_unreachable",
        "qdrant_peer_outside",
        "qdrant_shard_unserved",
        "qdrant_collection_red",
    }
)


@dataclass(frozen=True)
class Case:
    """One request against one picture. ``chosen`` are the peers that are taken out of service."""

    request: Request
    picture: ClusterPicture
    status: ComponentStatus
    peers: tuple[NamedPeer, ...]
    chosen: tuple[NamedPeer, ...]
    drop: bool
    remove: bool

    @classmethod
    def of(
        cls,
        request: Request,
        picture: ClusterPicture,
        status: ComponentStatus,
        *,
        drop: bool,
        remove: bool,
    ) -> "Case":
        """A failover without a name means every peer that is away.

        ``UsageError('node_unknown')`` for a name that is none.
        """
        peers = named_peers(picture)
        chosen: Sequence[NamedPeer] = ()
        if request.to is not None:
            chosen = (resolve(peers, request.to),)
        elif request.intent == "failover":
            chosen = _away(picture, peers)
        return cls(request, picture, status, peers, tuple(chosen), drop, remove)

    @property
    def planned(self) -> bool:
        return self.request.intent == "switchover"

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(one.peer for one in self.chosen if one.peer is not None)

    def copies(self) -> list[Copy]:
        if not self.planned:
            return copies_to_restore(self.picture)[0]
        if not self.numbers:
            return []
        return copies_to_empty(self.picture, self.numbers[0], drop=self.drop)[0]

    def drops(self) -> list[str]:
        """The replicas that go, those among them that wait for their copy."""
        if self.planned and not self.drop:
            return []
        going = {(one.collection, one.shard, one.peer) for one in
                 drops_of(self.picture, self.numbers, living=self.planned)}  # fmt: skip
        for copy in self.copies():
            shard = self.picture.shard(copy.collection, copy.shard)
            held = set(shard.states) & set(self.numbers) if shard is not None else set()
            going |= {(copy.collection, copy.shard, peer) for peer in held}
        return [
            f"{collection}, shard {shard} on {name_of(self.peers, peer)}"
            for collection, shard, peer in sorted(going)
        ]

    def findings(self) -> Iterator[Finding]:
        yield from _planned(self) if self.planned else _unplanned(self)
        if self.copies():
            yield from _transfer_findings(self.request, self.picture)
        yield _what_to_means(self.request, self.chosen)


def _planned(case: Case) -> Iterator[Finding]:
    """Everything that is wrong now speaks against it, and what would be wrong without it."""
    picture = case.picture
    yield from case.status.findings
    if not case.chosen:
        yield Finding(
            "qdrant_peer_not_named", "error", "qdrant",
            "Qdrant has no primary that could change: name the peer to take out of service",
            mend=f"--to one of {', '.join(one.name for one in case.peers)}",
        )  # fmt: skip
        return
    peer = case.chosen[0]
    if peer.peer is None or peer.peer not in picture.quorum:
        yield Finding(
            "qdrant_peer_away", "error", peer.name, "does not serve: it cannot be emptied",
            mend="`aeterna-cli failover run --component qdrant` restores redundancy without it",
        )  # fmt: skip
        return
    rest = len(picture.quorum) - 1
    if 2 * rest <= len(picture.known):
        yield Finding(
            "qdrant_quorum_would_be_lost", "error", peer.name,
            f"without it {rest} of {len(picture.known)} peers are left: no majority",
            mend="bring the other peers back first, or add one",
        )  # fmt: skip
    for shard in copies_to_empty(picture, peer.peer, drop=case.drop)[1]:
        yield Finding(
            "qdrant_peer_needed", "error", shard,
            f"cannot be served without {peer.name} as its write_consistency_factor wants: "
            "no other peer has room for one more replica",
            mend="add a peer, or lower write_consistency_factor",
        )  # fmt: skip


def _unplanned(case: Case) -> Iterator[Finding]:
    """A dead peer is what it is for; only what it cannot work around forbids it."""
    names = {peer.name for peer in case.chosen}
    for one in case.status.findings:
        named = one.code == "qdrant_peer_unlisted" and one.subject in names
        if one.code in _EXPECTED_WHEN_DEAD or named:
            yield Finding(one.code, "warning", one.subject, one.message, one.mend, one.details)
        else:
            yield one
    yield from _death_findings(case)
    yield from _rest_findings(case)


def _death_findings(case: Case) -> Iterator[Finding]:
    """Whether the peers that are to be missed are dead."""
    picture = case.picture
    for peer in case.chosen:
        if peer.peer in picture.quorum and peer.peer is not None:
            yield Finding(
                "qdrant_peer_alive", "error", peer.name,
                "answers and follows the consensus: it is not dead",
                mend=f"`aeterna-cli failover switchover --component qdrant --to {peer.name}`",
            )  # fmt: skip
        elif peer.peer is None and len(picture.known) == len(picture.answers):
            yield Finding(
                "qdrant_peer_unknown", "error", peer.name,
                "does not answer, and neither do others: which member it is cannot be told",
                mend="bring one of them back, or name the peer by its id",
            )  # fmt: skip
        elif not case.request.fenced and _reached(picture, peer):
            yield Finding(
                "qdrant_peer_maybe_alive", "error", peer.name,
                "does not answer here, yet the other peers still reach it",
                mend="look at the network between this machine and the peer; stop the peer and "
                "say that it is fenced",
            )  # fmt: skip


def _rest_findings(case: Case) -> Iterator[Finding]:
    """What cannot be restored from those that are left."""
    _, unserved, short = copies_to_restore(case.picture)
    for shard in short:
        yield Finding("qdrant_peers_too_few_for_factor", "warning", shard,
                      "too few peers are left for as many replicas as it wants")  # fmt: skip
    held = {peer.peer for peer in case.chosen}
    stuck = [
        shard.name
        for _, shard in case.picture.shards()
        if not case.picture.sound(shard) and held & set(shard.states)
    ]
    if case.remove and stuck and unserved:
        yield Finding(
            "qdrant_peer_has_the_last", "error", ", ".join(one.name for one in case.chosen),
            f"it cannot be removed: the only replicas of {', '.join(stuck[:5])} are there",
            mend="restore those collections from a backup first",
        )  # fmt: skip


def _transfer_findings(request: Request, picture: ClusterPicture) -> Iterator[Finding]:
    """Copies under updates are safe since 1.17.0 only."""
    old = sorted(
        {one.version for one in picture.answers if one.version and _numbers(one.version) < _SAFE}
    )
    if old:
        planned = request.intent == "switchover" and not request.fenced
        yield Finding(
            "qdrant_transfers_lose_updates",
            "error" if planned else "warning",
            "qdrant",
            f"Qdrant {', '.join(old)} can lose updates that arrive while a shard is copied",
            mend="upgrade to 1.17.1 or later; or hold the writers and say that they are fenced",
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(one) for one in re.findall(r"\d+", version)[:3])


def _reached(picture: ClusterPicture, peer: NamedPeer) -> bool:
    """Whether the leader's messages arrive there: it tells of those that do not."""
    leader = picture.answer(picture.leader) if picture.leader is not None else None
    uri = picture.known.get(peer.peer) if peer.peer is not None else None
    return leader is not None and uri is not None and uri not in leader.unreached


def _what_to_means(request: Request, chosen: Sequence[NamedPeer]) -> Finding:
    names = ", ".join(one.name for one in chosen) or "no peer"
    text = (
        f"Qdrant has no primary: {names} is the peer that is taken out of service, not one that "
        "takes over"
        if request.intent == "switchover"
        else f"redundancy is restored without {names}; points are not at stake where another "
        "replica is sound"
    )
    return Finding("qdrant_no_primary", "info", "qdrant", text)


def _away(picture: ClusterPicture, peers: Sequence[NamedPeer]) -> list[NamedPeer]:
    """The members that do not follow the consensus. One that no address is known of may be well."""
    addresses = {one.address for one in picture.answers}
    if silent_together(peers):
        addresses |= {one.address for one in peers}
    return [one for one in peers if one.peer in picture.known and one.address in addresses
            and one.peer not in picture.quorum]  # fmt: skip
