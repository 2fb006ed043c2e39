"""One picture of a cluster from what every peer says, each asked on its own and all at once."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aeterna_cli.errors import AeternaError, AuthenticationError, UsageError
from aeterna_cli.stores.base.qdrant import ShardKey
from aeterna_cli.stores.base.qdrant_cluster import (
    ACTIVE,
    ClusterPicture,
    CollectionReplicas,
    PeerAnswer,
    ShardReplicas,
    ShardTransfer,
)
from aeterna_cli.stores.qdrant_http import QdrantHttp, part

_AGE = re.compile(r"started (\d+)s ago")
_STATUS = ("green", "grey", "yellow", "red")
#: A leader of 0 is raft's own word for none.
_NO_LEADER = (None, 0)


@dataclass
class PeerView:
    """One peer's answer and what it says of every collection: the server's own JSON by name."""

    answer: PeerAnswer
    clusters: dict[str, dict[str, Any]] = field(default_factory=dict)
    infos: dict[str, dict[str, Any]] = field(default_factory=dict)


def ask(http: QdrantHttp, only: Sequence[str] | None) -> PeerView:
    """Everything that the peer at this address tells; without an answer the reason.

    ``only`` names the collections to ask of, None means all. ``AuthenticationError`` and
    ``UsageError`` are raised: no answer would come from another peer either.
    """
    try:
        view = PeerView(_consensus(http))
        if view.answer.clustered:
            _collections(http, view, only)
    except (AuthenticationError, UsageError):
        raise
    except AeternaError as error:
        return PeerView(PeerAnswer(http.description, error.message))
    except (KeyError, TypeError, ValueError, AttributeError):
        said = "does not answer like Qdrant"
        return PeerView(PeerAnswer(http.description, f"{http.description} {said}"))
    return view


def _consensus(http: QdrantHttp) -> PeerAnswer:
    version = str(http.call("GET", "/")["version"])
    found = http.call("GET", "/cluster")
    raft = found.get("raft_info") or {}
    thread = found.get("consensus_thread_status") or {}
    leader = raft.get("leader")
    return PeerAnswer(
        address=http.description,
        peer=int(found.get("peer_id") or 0),
        version=version,
        clustered=found.get("status") == "enabled",
        peers={int(one): str(of["uri"]) for one, of in (found.get("peers") or {}).items()},
        term=int(raft.get("term") or 0),
        commit=int(raft.get("commit") or 0),
        leader=None if leader in _NO_LEADER else int(leader),
        role=str(raft.get("role") or ""),
        pending=int(raft.get("pending_operations") or 0),
        voter=bool(raft.get("is_voter")),
        consensus=str(thread.get("consensus_thread_status") or "unknown"),
        unreached=tuple(sorted(found.get("message_send_failures") or ())),
        emulated=http.emulated,
    )


def _collections(http: QdrantHttp, view: PeerView, only: Sequence[str] | None) -> None:
    names = [one["name"] for one in http.call("GET", "/collections")["collections"]]
    for name in names:
        if only is not None and name not in only:
            continue
        try:
            view.clusters[name] = http.call("GET", f"/collections/{part(name)}/cluster")
            view.infos[name] = http.call("GET", f"/collections/{part(name)}")
        except AeternaError as error:
            view.clusters.pop(name, None)
            if error.details.get("status") != 404:  # dropped meanwhile
                raise


# Who is right


def quorum_of(answers: Iterable[PeerAnswer]) -> tuple[frozenset[int], Mapping[int, str]]:
    """The peers that agree on a leader and are a majority of what they know, and what they know.

    Without a majority: nobody, and everybody that any peer has ever heard of.
    """
    groups: dict[tuple[int, int], list[PeerAnswer]] = {}
    known: dict[int, str] = {}
    for one in answers:
        known |= one.peers
        if one.peer is not None and one.clustered and one.leader and _works(one):
            groups.setdefault((one.term, one.leader), []).append(one)
    for (_, leader), members in sorted(groups.items(), reverse=True):
        peers = members[0].peers
        ids = frozenset(one.peer for one in members if one.peer is not None and one.peer in peers)
        if 2 * len(ids) > len(peers) and leader in ids:
            return ids, peers
    return frozenset(), known


def _works(one: PeerAnswer) -> bool:
    return one.consensus == "working" and one.voter and one.role in ("Leader", "Follower")


def picture_of(views: Sequence[PeerView]) -> ClusterPicture:
    answers = tuple(view.answer for view in views)
    quorum, known = quorum_of(answers)
    right = [view for view in views if view.answer.peer in quorum]
    trusted = right or [view for view in views if view.answer.clustered]
    names = sorted({name for view in trusted for name in view.clusters})
    collections = tuple(
        _collection(name, [view for view in trusted if name in view.clusters]) for name in names
    )
    commits = [view.answer.commit for view in right]
    others = [view for view in views if view.answer.peer not in quorum and view.clusters and right]
    return ClusterPicture(
        answers=answers,
        known=known,
        quorum=quorum,
        collections=collections,
        commits_apart=max(commits, default=0) - min(commits, default=0),
        stale=tuple(_stale(collections, others)),
    )


def _states(cluster: Mapping[str, Any]) -> dict[int, tuple[ShardKey | None, dict[int, str]]]:
    """Key and states by shard, as one peer tells them."""
    here = int(cluster["peer_id"])
    found: dict[int, tuple[ShardKey | None, dict[int, str]]] = {}
    for one in [*cluster["local_shards"], *cluster["remote_shards"]]:
        _, states = found.setdefault(one["shard_id"], (one.get("shard_key"), {}))
        states[int(one.get("peer_id", here))] = str(one["state"])
    return found


def _collection(name: str, views: Sequence[PeerView]) -> CollectionReplicas:
    seen = {view.answer.peer or 0: _states(view.clusters[name]) for view in views}
    shards = sorted({number for of in seen.values() for number in of})
    infos = [view.infos[name] for view in views]
    parameters = infos[0]["config"]["params"]
    statuses = [str(one["status"]) for one in infos]
    optimizers = [one.get("optimizer_status", "ok") for one in infos]
    bad = [one for one in optimizers if one != "ok"]
    return CollectionReplicas(
        name=name,
        status=max(statuses, key=lambda one: _STATUS.index(one) if one in _STATUS else 3),
        optimizer=str(bad[0].get("error", bad[0]) if isinstance(bad[0], dict) else bad[0])
        if bad
        else "ok",
        replication_factor=int(parameters.get("replication_factor") or 1),
        write_consistency_factor=int(parameters.get("write_consistency_factor") or 1),
        shards=tuple(_shard(name, number, seen) for number in shards),
        transfers=_transfers(name, views),
        resharding=tuple(
            sorted(
                {
                    f"{one.get('direction')} of shard {one.get('shard_id')}"
                    for view in views
                    for one in view.clusters[name].get("resharding_operations") or ()
                }
            )
        ),
    )


def _shard(
    name: str, number: int, seen: Mapping[int, Mapping[int, tuple[ShardKey | None, dict[int, str]]]]
) -> ShardReplicas:
    """A state that peers tell differently is the worst of them, and disputed."""
    tellings = {by: of[number][1] for by, of in seen.items() if number in of}
    key = next(of[number][0] for of in seen.values() if number in of)
    states: dict[int, str] = {}
    disputed: dict[int, str] = {}
    for peer in sorted({peer for one in tellings.values() for peer in one}):
        told = {by: one.get(peer, "no replica") for by, one in tellings.items()}
        inactive = [state for state in told.values() if state != ACTIVE]
        states[peer] = inactive[0] if inactive else ACTIVE
        if len(set(told.values())) > 1 or len(tellings) < len(seen):
            disputed[peer] = ", ".join(f"{state} says {by}" for by, state in sorted(told.items()))
    return ShardReplicas(name, number, key, states, disputed)


def _transfers(name: str, views: Sequence[PeerView]) -> tuple[ShardTransfer, ...]:
    found: dict[tuple[int, int, int], ShardTransfer] = {}
    for view in views:
        for one in view.clusters[name].get("shard_transfers") or ():
            comment = str(one.get("comment") or "")
            age = _AGE.search(comment)
            made = ShardTransfer(
                collection=name,
                shard=int(one["shard_id"]),
                source=int(one["from"]),
                target=int(one["to"]),
                sync=bool(one["sync"]),
                method=str(one.get("method") or ""),
                seconds=int(age[1]) if age else None,
                comment=comment,
            )
            key = (made.shard, made.source, made.target)
            if key not in found or made.seconds is not None:
                found[key] = made
    return tuple(found.values())


def _stale(collections: Sequence[CollectionReplicas], others: Sequence[PeerView]) -> Iterable[str]:
    """What peers outside of the quorum tell differently from it."""
    for view in others:
        for of in collections:
            cluster = view.clusters.get(of.name)
            told = _states(cluster) if cluster is not None else {}
            for shard in of.shards:
                believed = told.get(shard.id, (None, {}))[1]
                if believed != dict(shard.states):
                    yield f"{shard.name}: peer {view.answer.peer} believes {believed or 'nothing'}"
