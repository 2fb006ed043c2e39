"""Qdrant in ``failover``: a peer is taken out of service, or redundancy is restored without one.

There is no primary, so nothing is promoted: every peer serves. ``Request.to`` names the peer that
is to be emptied, never one that shall serve afterwards.
"""

from collections.abc import Iterator, Sequence

from aeterna_cli.settings import FailoverSettings
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.qdrant_cluster import ClusterPicture, QdrantClusterStore
from aeterna_cli.workflows.failover.component import (
    ComponentName,
    ComponentStatus,
    Preflight,
    Request,
    Stage,
)
from aeterna_cli.workflows.failover.qdrant_names import NamedPeer, name_of, named_peers, resolve
from aeterna_cli.workflows.failover.qdrant_needs import (
    Copy,
    copies_to_empty,
    copies_to_restore,
    drops_of,
)
from aeterna_cli.workflows.failover.qdrant_stages import QdrantStages
from aeterna_cli.workflows.failover.qdrant_status import status_of

#: The time for the copy of one shard, in seconds: the platform's promise for Qdrant.
COPY_SECONDS = 600.0
#: What a dead peer looks like: a failover is for that, not hindered by it.
_EXPECTED_WHEN_DEAD = frozenset(
    {
        "qdrant_peer_unreachable",
        "qdrant_peer_outside",
        "qdrant_shard_unserved",
        "qdrant_collection_red",
    }
)


class QdrantComponent:
    """Constructing it contacts nothing. Emulated peers say so in every status.

    ``drop_replicas``: a switchover also removes the peer's replicas, after others have been made;
    without it they stay and are filled again when the peer is back. ``remove_peer``: a failover
    also removes the dead peer from the consensus, once it has no replica.
    """

    name: ComponentName = "qdrant"

    def __init__(
        self,
        store: QdrantClusterStore,
        target: FailoverSettings,
        *,
        drop_replicas: bool = False,
        remove_peer: bool = False,
        copy_seconds: float = COPY_SECONDS,
    ) -> None:
        self._store = store
        self._target = target
        self._drop = drop_replicas
        self._remove = remove_peer
        self._copy_seconds = copy_seconds

    def close(self) -> None:
        self._store.close()

    def status(self) -> ComponentStatus:
        return status_of(self._store.picture(), self._target)

    def new_primary(self) -> str | None:
        """None, always: no peer is more than the others."""
        return None

    def preflight(self, request: Request) -> Preflight:
        """A switchover wants ``request.to``; a failover without it means every peer that is away.

        ``candidate`` is that peer, by name. The facts are the peers and the replicas that will be
        made and dropped; points and commits are not in them.
        """
        picture = self._store.picture()
        peers = named_peers(picture)
        status = status_of(picture, self._target)
        named = resolve(peers, request.to) if request.to is not None else None
        if request.intent == "switchover":
            chosen = [named] if named is not None else []
        else:
            chosen = [named] if named is not None else _away(picture, peers)
        copies = self._copies(request, picture, chosen)
        judged = (
            self._switchover(picture, peers, chosen, status)
            if request.intent == "switchover"
            else self._failover(request, picture, chosen, status)
        )
        findings = (*judged, _what_to_means(request, chosen))
        numbers = [one.peer for one in chosen if one.peer is not None]
        drops = request.intent == "failover" or self._drop
        facts = {
            "intent": request.intent,
            "peers": {one.name: str(one.peer) for one in peers if one.peer is not None},
            "out_of_service": [one.name for one in chosen],
            "copies": [_copy_text(one, peers) for one in copies],
            "drops": [
                f"{one.collection}, shard {one.shard} on {name_of(peers, one.peer)}"
                for one in drops_of(picture, numbers, living=request.intent == "switchover")
            ]
            if drops
            else [],
            "remove_from_consensus": self._remove and request.intent == "failover",
        }
        candidate = ", ".join(one.name for one in chosen) or None
        return Preflight("qdrant", status, None, candidate, findings, facts)

    def _copies(
        self, request: Request, picture: ClusterPicture, chosen: Sequence[NamedPeer]
    ) -> list[Copy]:
        if request.intent == "failover":
            return copies_to_restore(picture)[0]
        numbers = [one.peer for one in chosen if one.peer is not None]
        return copies_to_empty(picture, numbers[0], drop=self._drop)[0] if numbers else []

    def _switchover(
        self,
        picture: ClusterPicture,
        peers: Sequence[NamedPeer],
        chosen: Sequence[NamedPeer],
        status: ComponentStatus,
    ) -> Iterator[Finding]:
        """Everything that is wrong now speaks against it, and what would be wrong without it."""
        yield from status.findings
        if not chosen:
            yield Finding(
                "qdrant_peer_not_named", "error", "qdrant",
                "Qdrant has no primary that could change: name the peer to take out of service",
                mend=f"--to one of {', '.join(one.name for one in peers)}",
            )  # fmt: skip
            return
        peer = chosen[0]
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
        for shard in copies_to_empty(picture, peer.peer, drop=self._drop)[1]:
            yield Finding(
                "qdrant_peer_needed", "error", shard,
                f"cannot be served without {peer.name} as its write_consistency_factor wants: "
                "no other peer has room for one more replica",
                mend="add a peer, or lower write_consistency_factor",
            )  # fmt: skip

    def _failover(
        self,
        request: Request,
        picture: ClusterPicture,
        chosen: Sequence[NamedPeer],
        status: ComponentStatus,
    ) -> Iterator[Finding]:
        """A dead peer is what it is for; only what it cannot work around forbids it."""
        names = {peer.name for peer in chosen}
        for one in status.findings:
            named = one.code == "qdrant_peer_unlisted" and one.subject in names
            if one.code in _EXPECTED_WHEN_DEAD or named:
                yield Finding(one.code, "warning", one.subject, one.message, one.mend, one.details)
            else:
                yield one
        for peer in chosen:
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
            elif not request.fenced and _reached(picture, peer):
                yield Finding(
                    "qdrant_peer_maybe_alive", "error", peer.name,
                    "does not answer here, yet the other peers still reach it",
                    mend="look at the network between this machine and the peer; stop the peer and "
                    "say that it is fenced",
                )  # fmt: skip
        _, unserved, short = copies_to_restore(picture)
        for shard in short:
            yield Finding("qdrant_peers_too_few_for_factor", "warning", shard,
                          "too few peers are left for as many replicas as it wants")  # fmt: skip
        held = {peer.peer for peer in chosen}
        stuck = [
            shard.name
            for _, shard in picture.shards()
            if not picture.sound(shard) and held & set(shard.states)
        ]
        if self._remove and stuck and unserved:
            yield Finding(
                "qdrant_peer_has_the_last", "error", ", ".join(one.name for one in chosen),
                f"it cannot be removed: the only replicas of {', '.join(stuck[:5])} are there",
                mend="restore those collections from a backup first",
            )  # fmt: skip

    def stages(self, request: Request, found: Preflight) -> tuple[Stage, ...]:
        chosen = [found.facts["peers"].get(name) for name in found.facts["out_of_service"]]
        numbers = tuple(int(one) for one in chosen if one is not None)
        copies = max(1, len(found.facts["copies"]))
        made = QdrantStages(self._store, numbers, self._copy_seconds, copies)
        if request.intent == "switchover":
            return made.switchover(drop=self._drop)
        return made.failover(remove=self._remove)


def _away(picture: ClusterPicture, peers: Sequence[NamedPeer]) -> list[NamedPeer]:
    """The members that do not follow the consensus. One that no address is known of may be well."""
    addresses = {one.address for one in picture.answers}
    return [one for one in peers if one.peer in picture.known and one.address in addresses
            and one.peer not in picture.quorum]  # fmt: skip


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


def _copy_text(one: Copy, peers: Sequence[NamedPeer]) -> str:
    return f"{one.collection}, shard {one.shard} to {name_of(peers, one.target)}"
