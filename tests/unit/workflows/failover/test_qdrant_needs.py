"""Which replicas are made and dropped so that a peer can be missed."""

import itertools
import random

import pytest

from aeterna_cli.stores.base.qdrant import OPS_COLLECTION
from aeterna_cli.stores.base.qdrant_cluster import ClusterPicture, CollectionReplicas, ShardReplicas
from aeterna_cli.workflows.failover.qdrant_needs import (
    Copy,
    copies_to_empty,
    copies_to_restore,
    drops_of,
)
from tests.unit.workflows.failover.pictures import active, collection, picture


def test_a_shard_that_is_elsewhere_needs_nothing() -> None:
    assert copies_to_empty(picture(collection("c", active(1, 2))), 1, drop=False) == ([], [])


def test_the_only_replica_is_copied_from_the_peer_that_goes() -> None:
    copies, impossible = copies_to_empty(picture(collection("c", active(1))), 1, drop=False)
    assert copies == [Copy("c", 0, 1, 2)]
    assert impossible == []


def test_a_dead_replica_elsewhere_is_none_and_is_filled_first() -> None:
    shard = {1: "Active", 3: "Dead"}
    copies, _ = copies_to_empty(picture(collection("c", shard)), 1, drop=False)
    assert copies == [Copy("c", 0, 1, 3)]


def test_updates_that_want_two_get_a_third_replica() -> None:
    shown = picture(collection("c", active(1, 2), consistency=2))
    assert copies_to_empty(shown, 1, drop=False)[0] == [Copy("c", 0, 2, 3)]


def test_updates_that_want_more_than_there_are_peers_hold_the_peer() -> None:
    shown = picture(collection("c", active(1, 2, 3), consistency=3))
    assert copies_to_empty(shown, 1, drop=False) == ([], ["c, shard 0"])
    assert copies_to_empty(shown, 1, drop=True) == ([], []), "a dropped replica does not count"


def test_an_emptied_peer_leaves_the_factor_as_far_as_peers_go() -> None:
    two = picture(collection("c", active(1, 2)))
    assert copies_to_empty(two, 1, drop=True)[0] == [Copy("c", 0, 2, 3)]
    three = picture(collection("c", active(1, 2, 3), factor=3))
    assert copies_to_empty(three, 1, drop=True) == ([], [])


def test_a_shard_without_a_sound_replica_holds_its_peer() -> None:
    shown = picture(collection("c", {1: "Dead"}))
    assert copies_to_empty(shown, 1, drop=False) == ([], ["c, shard 0"])


def test_redundancy_is_restored_from_what_is_sound() -> None:
    shards = collection("c", active(1, 2), active(2), active(2, 3))
    shown = picture(shards, quorum=(1, 3))
    copies, unserved, short = copies_to_restore(shown)
    assert copies == [Copy("c", 0, 1, 3), Copy("c", 2, 3, 1)]
    assert unserved == ["c, shard 1"]
    assert short == []


def test_a_factor_that_needs_the_dead_peer_stays_short_but_our_own_is_no_promise() -> None:
    shown = picture(
        collection("c", active(1, 2, 3), factor=3),
        collection(OPS_COLLECTION, active(1, 2, 3), factor=3),
        quorum=(1, 2),
    )
    assert copies_to_restore(shown) == ([], [], ["c, shard 0"])


def test_the_last_sound_replica_is_never_dropped() -> None:
    shown = picture(collection("c", active(1), {1: "Active", 2: "Dead"}, active(1, 2)))
    assert [(one.shard, one.peer) for one in drops_of(shown, [1], living=True)] == [(2, 1)]
    gone = picture(collection("c", active(1), active(1, 2)), quorum=(2, 3))
    assert [(one.shard, one.peer) for one in drops_of(gone, [1], living=False)] == [(1, 1)]


def test_a_disputed_replica_is_not_counted() -> None:
    shard = ShardReplicas("c", 0, None, active(1, 2), {2: "Active says 1, Dead says 3"})
    made = CollectionReplicas("c", "green", "ok", 2, 1, (shard,))
    assert list(drops_of(picture(made), [1], living=True)) == []


def _after(shown: ClusterPicture, peer: int, drop: bool) -> list[tuple[int, int, int]]:
    """Sound replicas elsewhere, all replicas and what updates want, once the plan is done."""
    copies, impossible = copies_to_empty(shown, peer, drop=drop)
    found = []
    for of, shard in shown.shards():
        if shard.name in impossible or peer not in shard.states:
            continue
        made = {one.target for one in copies if one.shard == shard.id}
        sound = (set(shown.sound(shard)) | made) - {peer}
        replicas = (set(shard.states) | made) - ({peer} if drop else set())
        found.append((len(sound), len(replicas), of.write_consistency_factor))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_cluster_is_updates_go_on_without_the_peer(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    shapes = [
        {peer: chance.choice(["Active", "Active", "Dead"]) for peer in chance.sample([1, 2, 3], k)}
        for k in (1, 2, 3, 2, 1)
    ]
    for consistency, drop in itertools.product((1, 2, 3), (False, True)):
        shown = picture(collection("c", *shapes, consistency=consistency))
        for sound, replicas, wanted in _after(shown, 1, drop):
            assert sound >= 1
            assert sound >= min(wanted, replicas)
