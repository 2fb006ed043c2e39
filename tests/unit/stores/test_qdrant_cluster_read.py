"""Who of several peers is right, and what they tell differently."""

from typing import Any

import pytest

from aeterna_cli.stores.base.qdrant_cluster import PeerAnswer
from aeterna_cli.stores.qdrant_cluster_read import PeerView, picture_of, quorum_of

PEERS = {1: "http://a:6335/", 2: "http://b:6335/", 3: "http://c:6335/"}
INFO = {"status": "green", "optimizer_status": "ok", "config": {"params": {}}}


def answer(peer: int | None, leader: int | None = 1, **more: Any) -> PeerAnswer:
    fields: dict[str, Any] = {
        "clustered": True,
        "peers": PEERS,
        "term": 2,
        "commit": 7,
        "role": "Leader" if peer == leader else "Follower",
        "voter": True,
        "consensus": "working",
        **more,
    }
    if peer is None:
        return PeerAnswer("http://x", "no answer")
    return PeerAnswer(f"http://{peer}", peer=peer, leader=leader, **fields)


def view(peer: int, states: dict[int, str], **more: Any) -> PeerView:
    """A peer's telling of the only shard of ``c``."""
    local = [{"shard_id": 0, "state": states[peer]}] if peer in states else []
    remote = [
        {"shard_id": 0, "peer_id": n, "state": state} for n, state in states.items() if n != peer
    ]
    cluster = {
        "peer_id": peer,
        "local_shards": local,
        "remote_shards": remote,
        "shard_transfers": more.pop("transfers", []),
    }
    return PeerView(answer(peer, **more), {"c": cluster}, {"c": INFO})


@pytest.mark.parametrize(
    ("answers", "quorum"),
    [
        ([answer(1), answer(2), answer(3)], {1, 2, 3}),
        ([answer(1), answer(2), answer(None)], {1, 2}),
        ([answer(1), answer(None), answer(None)], set()),
        # a leader that is cut off still believes in itself
        ([answer(1, 1), answer(2, 3, term=3), answer(3, 3, term=3)], {2, 3}),
        ([answer(1, 1), answer(2, None, role="Candidate"), answer(None)], set()),
        ([answer(1), answer(2, consensus="stopped"), answer(3)], {1, 3}),
        # the leader itself does not answer: nobody says what it would agree to
        ([answer(None), answer(2), answer(3)], set()),
        ([answer(1), answer(2, voter=False), answer(None)], set()),
    ],
)
def test_who_can_agree(answers: list[PeerAnswer], quorum: set[int]) -> None:
    assert quorum_of(answers)[0] == quorum


def test_a_peer_that_was_removed_is_no_member() -> None:
    two = {1: "http://a", 2: "http://b"}
    found, known = quorum_of([answer(1, peers=two), answer(2, peers=two), answer(3)])
    assert (found, set(known)) == ({1, 2}, {1, 2})


def test_what_all_say_is_not_disputed() -> None:
    views = [view(n, {1: "Active", 2: "Active"}) for n in (1, 2, 3)]
    ((_, shard),) = picture_of(views).shards()
    assert dict(shard.states) == {1: "Active", 2: "Active"}
    assert not shard.disputed
    assert picture_of(views).sound(shard) == (1, 2)


def test_what_members_tell_differently_is_the_worst_and_not_sound() -> None:
    views = [view(n, {1: "Active", 2: "Active"}) for n in (1, 2)]
    views.append(view(3, {1: "Active", 2: "Dead"}))
    shown = picture_of(views)
    ((_, shard),) = shown.shards()
    assert dict(shard.states) == {1: "Active", 2: "Dead"}
    assert "Dead says 3" in shard.disputed[2]
    assert shown.sound(shard) == (1,)


def test_what_an_outsider_believes_is_told_and_changes_nothing() -> None:
    views = [view(n, {1: "Active", 3: "Dead"}) for n in (1, 2)]
    views.append(view(3, {1: "Active", 3: "Active"}, leader=None, role="Candidate", term=1))
    shown = picture_of(views)
    ((_, shard),) = shown.shards()
    assert dict(shard.states) == {1: "Active", 3: "Dead"}
    assert len(shown.stale) == 1
    assert "peer 3 believes" in shown.stale[0]


def test_the_age_of_a_transfer_is_read_from_its_comment() -> None:
    running = {"shard_id": 0, "from": 1, "to": 3, "sync": True, "method": "snapshot"}
    aged = {**running, "comment": "Transferring records (4/9), started 61s ago, ETA: 2.00s"}
    (one,) = picture_of([view(n, {1: "Active"}, transfers=[aged]) for n in (1, 2)]).collections
    assert [each.seconds for each in one.transfers] == [61]
    (one,) = picture_of([view(n, {1: "Active"}, transfers=[running]) for n in (1, 2)]).collections
    assert [each.seconds for each in one.transfers] == [None]


def test_commits_that_stay_apart_are_told() -> None:
    views = [view(1, {1: "Active"}), view(2, {1: "Active"}, commit=4)]
    assert picture_of(views).commits_apart == 3
