"""A Qdrant cluster, asked at every peer, and the changes of its replicas.

No answer of an operation is believed: true is only that consensus took note. Each call waits until
all peers of the consensus say that the state is the wanted one.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from aeterna_cli.errors import (
    AuthenticationError,
    FailedError,
    RefusedError,
    RemoteError,
    TransientError,
)
from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores.base.qdrant_cluster import ClusterPicture, ShardReplicas, ShardTransfer
from aeterna_cli.stores.qdrant import QdrantServer
from aeterna_cli.stores.qdrant_cluster_read import PeerView, ask, picture_of
from aeterna_cli.stores.qdrant_http import QdrantHttp, checked_urls, part

#: One peer has this long for one answer: a frozen one must not stop the others from being heard.
PEER_SECONDS = 3.0
#: Peers of a healthy consensus have the same commit within this time.
SETTLE_SECONDS = 1.0
#: A transfer that is in no list and whose target is not active has failed after this time.
_IDLE_SECONDS = 3.0
_LOOK_AGAIN = 0.2
#: A peer that hangs is not asked again for so long: it would slow down everybody's rescue.
_HUNG_SECONDS = 5.0


def _nothing() -> None:
    """Nobody wants to look."""


class QdrantCluster:
    """Every peer of one deployment. Nothing connects before the first call.

    ``limit`` of every change is seconds; ``look`` is called at every look at the cluster and may
    raise to stop the waiting (nothing is undone by that). Errors of every change:
    ``RefusedError('qdrant_no_quorum')`` before anything is sent where the peers that answer cannot
    agree, ``RemoteError('qdrant_shard_gone')``, and those of ``QdrantHttp``. All may be repeated.
    """

    def __init__(self, settings: QdrantSettings, *, seconds: float = PEER_SECONDS) -> None:
        self._settings = settings
        self._seconds = min(seconds, settings.timeout)
        # qdrant.url may be a name for all peers: beside them it is no peer of its own.
        first = settings.peers[0] if settings.peers else settings.url
        scheme = settings.url.partition("://")[0]
        first = first if "://" in first else f"{scheme}://{first}"
        self._urls = checked_urls(settings.model_copy(update={"url": first}))
        self._hung: dict[str, tuple[float, PeerView]] = {}
        self._connections = {
            one: QdrantHttp(self._single(one, self._seconds)) for one in self._urls
        }

    def _single(self, url: str, seconds: float) -> QdrantSettings:
        return self._settings.model_copy(update={"url": url, "peers": (), "timeout": seconds})

    def close(self) -> None:
        for one in self._connections.values():
            one.close()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that are asked, without secrets, in the order of the profile."""
        return tuple(one.description for one in self._connections.values())

    # Looking

    def picture(self, only: Sequence[str] | None = None) -> ClusterPicture:
        """The cluster now, from every address in parallel; ``only`` names collections to read.

        Peers of the quorum that differ are asked again for a second: what then still differs is
        told as disputed. An address that does not answer is part of the picture. Raises
        ``AuthenticationError`` and ``UsageError`` only.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            found = picture_of(self._views(only))
            disputed = any(shard.disputed for _, shard in found.shards())
            if not (found.commits_apart or disputed) or time.monotonic() > deadline:
                return found
            time.sleep(_LOOK_AGAIN)

    def _views(self, only: Sequence[str] | None) -> list[PeerView]:
        connections = list(self._connections.values())
        with ThreadPoolExecutor(len(connections), "qdrant-peer") as threads:
            return list(threads.map(lambda one: self._view(one, only), connections))

    def _view(self, http: QdrantHttp, only: Sequence[str] | None) -> PeerView:
        """One that has just let us wait in vain is left in peace for a while."""
        until, last = self._hung.get(http.description) or (0.0, None)
        if last is not None and time.monotonic() < until:
            return last
        began = time.monotonic()
        found = ask(http, only)
        if found.answer.peer is None and time.monotonic() - began >= self._seconds:
            self._hung[http.description] = (time.monotonic() + _HUNG_SECONDS, found)
        return found

    def _looks(
        self, collection: str, limit: float, look: Callable[[], None]
    ) -> Iterator[ClusterPicture]:
        """Pictures of one collection until the limit is over."""
        deadline = time.monotonic() + limit
        while True:
            look()
            yield self.picture((collection,) if collection else ())
            if time.monotonic() > deadline:
                return
            time.sleep(_LOOK_AGAIN)

    def _connection(self, picture: ClusterPicture, peer: int | None = None) -> QdrantHttp:
        """To the peer, or to the leader; ``RefusedError('qdrant_no_quorum')`` without consensus."""
        if peer is None and not picture.quorum:
            raise RefusedError(
                "qdrant_no_quorum",
                f"the peers of Qdrant that answer cannot agree on changes: {_who_answers(picture)}",
                hint="bring peers back until more than half of them follow one leader",
            )
        wanted = peer if peer is not None else picture.leader
        answer = picture.answer(wanted) if wanted is not None else None
        for one in self._connections.values():
            if answer is not None and one.description == answer.address:
                return one
        raise TransientError("qdrant_peer_unreachable", f"peer {wanted} of Qdrant does not answer")

    def _change(self, picture: ClusterPicture, method: str, path: str, body: Any = None) -> None:
        """Propose; an answer says only that consensus took note."""
        seconds = max(1, int(self._settings.timeout))
        self._connection(picture).call(
            method, path, body, params={"timeout": str(seconds)}, seconds=seconds + 1
        )

    # Changing

    def replicate(
        self,
        collection: str,
        shard: int,
        source: int,
        target: int,
        *,
        limit: float,
        look: Callable[[], None] = _nothing,
    ) -> None:
        """The target has a sound replica of the shard; the source keeps its own.

        ``TransientError('qdrant_transfer_slow')`` at the limit: the transfer may still run, the
        same call waits for it again, ``abort`` ends it. ``FailedError('qdrant_transfer_failed')``
        where it has ended without an active replica. ``RefusedError`` before it began:
        ``qdrant_source_not_active``, ``qdrant_target_away``. The source is always as it was.
        """
        self._transfer("replicate_shard", (collection, shard, source, target), limit, look)

    def move(
        self,
        collection: str,
        shard: int,
        source: int,
        target: int,
        *,
        limit: float,
        look: Callable[[], None] = _nothing,
    ) -> None:
        """As ``replicate``; then the source has no replica, removed by the server itself."""
        self._transfer("move_shard", (collection, shard, source, target), limit, look)

    def _transfer(
        self,
        operation: str,
        what: tuple[str, int, int, int],
        limit: float,
        look: Callable[[], None],
    ) -> None:
        collection, number, source, target = what
        asked, idle_since = False, time.monotonic()
        for picture in self._looks(collection, limit, look):
            shard = _shard(picture, collection, number)
            moving = operation == "move_shard" and source in shard.states
            if target in picture.sound(shard) and not moving:
                return
            idle = time.monotonic() - idle_since
            if _running(picture, collection, number, target):
                idle_since = time.monotonic()
            elif not asked and (target not in shard.states or idle > _IDLE_SECONDS):
                self._start(picture, operation, shard, source, target)
                asked, idle_since = True, time.monotonic()
            elif asked and picture.quorum and idle > _IDLE_SECONDS:
                state = shard.states.get(target, "not there")
                raise FailedError(
                    "qdrant_transfer_failed",
                    f"{shard.name} did not get to peer {target}: its replica there is {state}",
                    hint="nothing was dropped; look at the log of the peers at both ends",
                    details={"shard": number, "collection": collection, "state": state},
                )
        raise TransientError(
            "qdrant_transfer_slow",
            f"{collection}, shard {number} is not on peer {target} after {limit:g} s",
            hint="nothing was dropped, the source serves as before; look at both peers",
            details={"collection": collection, "shard": number, "target": target},
        )

    def _start(
        self, picture: ClusterPicture, operation: str, shard: ShardReplicas, source: int,
        target: int,
    ) -> None:  # fmt: skip
        self._connection(picture)
        if source not in picture.sound(shard):
            raise RefusedError(
                "qdrant_source_not_active",
                f"{shard.name} on peer {source} is {shard.states.get(source, 'not there')}: "
                "nothing is copied from it",
            )
        if target not in picture.quorum:
            raise RefusedError("qdrant_target_away", f"peer {target} does not follow the consensus")
        body = {"shard_id": shard.id, "from_peer_id": source, "to_peer_id": target}
        self._change(picture, "POST", _cluster(shard.collection), {operation: body})

    def drop(
        self,
        collection: str,
        shard: int,
        peer: int,
        *,
        leave: int = 1,
        limit: float,
        look: Callable[[], None] = _nothing,
    ) -> None:
        """The peer has no replica of the shard, and ``leave`` sound ones are elsewhere.

        That is looked at right before it is sent: ``RefusedError('qdrant_last_replica')``.
        ``TransientError('qdrant_drop_slow')`` at the limit.
        """
        asked = False
        for picture in self._looks(collection, limit, look):
            found = _shard(picture, collection, shard)
            if peer not in found.states and picture.quorum:
                return
            if asked:
                continue
            self._connection(picture)
            others = [one for one in picture.sound(found) if one != peer]
            if len(others) < max(1, leave):
                raise RefusedError(
                    "qdrant_last_replica",
                    f"{found.name} has {len(others)} sound replicas besides peer {peer}: "
                    f"dropping it would leave fewer than {max(1, leave)}",
                    details={"states": {str(n): state for n, state in found.states.items()}},
                )
            body = {"drop_replica": {"shard_id": shard, "peer_id": peer}}
            self._change(picture, "POST", _cluster(collection), body)
            asked = True
        raise TransientError(
            "qdrant_drop_slow", f"{collection}, shard {shard} is still on peer {peer}"
        )

    def abort(self, transfer: ShardTransfer, *, limit: float) -> None:
        """The transfer does not run; its target is dead or gone. One that has ended is no error."""
        arguments = {
            "shard_id": transfer.shard,
            "from_peer_id": transfer.source,
            "to_peer_id": transfer.target,
        }
        asked = False
        for picture in self._looks(transfer.collection, limit, _nothing):
            running = _running(picture, transfer.collection, transfer.shard, transfer.target)
            if running is None or running.source != transfer.source or asked:
                return
            path = _cluster(transfer.collection)
            try:
                self._change(picture, "POST", path, {"abort_transfer": arguments})
            except RemoteError as error:
                if error.details.get("status") != 404:
                    raise
            asked = True
        raise TransientError("qdrant_abort_slow", "the transfer still runs")

    def remove_peer(self, peer: int, *, limit: float, look: Callable[[], None] = _nothing) -> None:
        """The consensus no longer knows the peer; never by force.

        ``RefusedError('qdrant_peer_not_empty')`` while a shard has a replica there.
        """
        deadline, asked = time.monotonic() + limit, False
        while True:
            look()
            picture = self.picture()
            self._connection(picture)
            if peer not in picture.known:
                return
            held = [shard.name for _, shard in picture.shards() if peer in shard.states]
            if held:
                raise RefusedError(
                    "qdrant_peer_not_empty",
                    f"peer {peer} still has replicas: {', '.join(held[:5])}",
                    details={"shards": held},
                )
            if not asked:
                self._change(picture, "DELETE", f"/cluster/peer/{peer}")
                asked = True
            if time.monotonic() > deadline:
                raise TransientError("qdrant_removal_slow", f"peer {peer} is still a member")
            time.sleep(_LOOK_AGAIN)

    def recover(self, peer: int, *, limit: float, look: Callable[[], None] = _nothing) -> None:
        """The peer has asked for the whole of the consensus again and follows it.

        ``TransientError('qdrant_recovery_slow')`` at the limit: it does not follow yet.
        """
        asked = False
        for picture in self._looks("", limit, look):
            if peer in picture.quorum and (asked or not picture.commits_apart):
                return
            if not asked and picture.answer(peer) is not None:
                self._connection(picture, peer).call("POST", "/cluster/recover")
                asked = True
        raise TransientError(
            "qdrant_recovery_slow", f"peer {peer} does not follow the consensus after {limit:g} s"
        )

    # Points

    def counts(self, collection: str, shard: int, peers: Sequence[int]) -> Mapping[int, int]:
        """How many points each of these replicas has, exactly and at about the same moment.

        Empty where a server does not tell it of a single replica.
        """
        picture = self.picture(())
        path = f"/collections/{part(collection)}/shards/{shard}/points/count"
        connections = [self._connection(picture, one) for one in peers]
        try:
            with ThreadPoolExecutor(len(connections), "qdrant-count") as threads:
                found = threads.map(
                    lambda one: one.call("POST", path, {"exact": True}), connections
                )
                return dict(zip(peers, (int(one["count"]) for one in found), strict=True))
        except (RemoteError, AuthenticationError):
            return {}

    # The marker

    def write_marker(self) -> int:
        """The next number, written to our own collection through the leader and applied."""
        picture = self.picture(())
        with closing(self._server(self._connection(picture))) as server:
            server.ensure_identity()
            number = (server.marker() or 0) + 1
            server.write_marker(number)
        return number

    def marker(self, peer: int) -> int | None:
        """The marker as read through this peer; None where there is none."""
        with closing(self._server(self._connection(self.picture(()), peer))) as server:
            return server.marker()

    def _server(self, connection: QdrantHttp) -> QdrantServer:
        settings = self._single(connection.url, self._settings.timeout)
        return QdrantServer(settings, replicas=len(self._urls))


def _cluster(collection: str) -> str:
    return f"/collections/{part(collection)}/cluster"


def _shard(picture: ClusterPicture, collection: str, number: int) -> ShardReplicas:
    """``RemoteError('qdrant_shard_gone')`` where no peer knows it; transient without a quorum."""
    found = picture.shard(collection, number)
    if found is not None:
        return found
    if not picture.quorum:
        return ShardReplicas(collection, number, None, {})
    raise RemoteError("qdrant_shard_gone", f"{collection} has no shard {number} any more")


def _running(
    picture: ClusterPicture, collection: str, shard: int, target: int
) -> ShardTransfer | None:
    of = picture.collection(collection)
    transfers = of.transfers if of else ()
    return next((one for one in transfers if (one.shard, one.target) == (shard, target)), None)


def _who_answers(picture: ClusterPicture) -> str:
    answering = sum(one.peer is not None for one in picture.answers)
    return f"{answering} of {max(len(picture.known), len(picture.answers))} answer"
