"""Who should be elsewhere: classes at their thresholds, shards by room, advice that adds up."""

import shlex

import pytest

from aeterna_cli.errors import UsageError
from aeterna_cli.settings import TenantSettings
from aeterna_cli.workflows.tenant.advice import checked, size_class
from aeterna_cli.workflows.tenant.census import Nobody
from tests.unit.workflows.tenant.given import LIMITS, SHARED, advice, collection, placed, shard

SHARED_1, EMPTY = shard("shared-1", SHARED), shard("dedicated-1", "dedi")
NONE = collection("dedi", {}, rule="")


@pytest.mark.parametrize(
    ("memories", "size"),
    [(0, "small"), (10, "small"), (11, "medium"), (100, "medium"), (101, "large")],
)
def test_a_threshold_belongs_to_the_smaller_class(memories: int, size: str) -> None:
    assert size_class(memories, LIMITS) == size


def test_thresholds_that_leave_no_medium_are_refused() -> None:
    with pytest.raises(UsageError) as raised:
        checked(TenantSettings(small=5, medium=5))
    assert raised.value.code == "thresholds_inverted"


def test_a_large_tenant_among_others_goes_to_an_empty_shard() -> None:
    found = advice([collection(SHARED, {"big": 101, "few": 3}), NONE], [SHARED_1, EMPTY])
    assert (found["big"].shard, found["big"].placed) == ("shared-1", False)
    assert (found["big"].move, found["big"].recommended_shard) == (True, "dedicated-1")
    assert shlex.split(found["big"].command or "") == [
        "aeterna-cli", "tenant", "migrate", "--tenant-id", "big", "--to-shard", "dedicated-1",
    ]  # fmt: skip
    assert (found["few"].move, found["few"].recommended_shard) == (False, "shared-1")


def test_an_orphans_points_are_company_too() -> None:
    ghost = Nobody("ghost", "no such tenant")
    assert advice([collection(SHARED, {"big": 101, ghost: 1})])["big"].move
    assert not advice([collection(SHARED, {"big": 101})])["big"].move


def test_an_empty_shard_is_recommended_once_and_to_the_largest() -> None:
    points = {"big": 101, "bigger": 200, "few": 1}
    found = advice([collection(SHARED, points), NONE], [SHARED_1, EMPTY])
    assert found["bigger"].recommended_shard == "dedicated-1"
    assert (found["big"].move, found["big"].recommended_shard) == (True, None)
    assert found["big"].command is None
    assert "no active shard is empty" in found["big"].why


@pytest.mark.parametrize(
    "unfit",
    [
        shard("dedicated-1", "dedi", status="draining"),
        shard("dedicated-1", "dedi", status="provisioning"),
        shard("dedicated-1", "dedi", status="offline"),
        shard("dedicated-1", "dedi", capacity=100),
    ],
    ids=lambda one: f"{one.status}-{one.capacity}",
)
def test_a_shard_that_cannot_take_it_is_not_recommended(unfit: object) -> None:
    found = advice([collection(SHARED, {"big": 101, "few": 1}), NONE], [SHARED_1, unfit])
    assert (found["big"].move, found["big"].recommended_shard) == (True, None)


def test_an_empty_shared_collection_is_no_dedicated_shard() -> None:
    other = shard("shared-2", "memories-shared-2")
    empty = collection("memories-shared-2", {}, rule="shared memories")
    found = advice([collection(SHARED, {"big": 101, "few": 1}), empty], [SHARED_1, other])
    assert found["big"].recommended_shard is None


def test_a_large_tenant_alone_stays() -> None:
    found = advice([collection("dedi", {"big": 500})], [EMPTY], [placed("big", EMPTY)])
    assert (found["big"].shard, found["big"].placed) == ("dedicated-1", True)
    assert (found["big"].move, found["big"].recommended_shard) == (False, "dedicated-1")


def test_who_is_on_a_draining_shard_goes_to_the_shared_one_with_most_room() -> None:
    old = shard("old", "old", status="draining")
    full, wide = shard("full", "full", capacity=5), shard("wide", "wide", capacity=50)
    found = advice(
        [
            collection("old", {"a": 8, "b": 7}),
            collection("full", {"x": 2, "y": 3}),
            collection("wide", {"v": 1, "w": 1}),
        ],
        [old, full, wide],
        [placed("a", old)],
    )
    assert [found[name].recommended_shard for name in "ab"] == ["wide", "wide"]
    assert "old is draining" in found["a"].why
    assert not found["x"].move


def test_a_dedicated_shard_is_not_shared_with_small_ones() -> None:
    old, own = shard("old", "old", status="draining"), shard("own", "own")
    found = advice(
        [collection("old", {"a": 1, "b": 1}), collection("own", {"big": 101})], [old, own]
    )
    assert (found["a"].move, found["a"].recommended_shard) == (True, None)
    assert "no active shared shard has room" in found["a"].why


def test_an_overfull_shard_gives_up_as_many_as_it_must() -> None:
    full, free = shard("full", SHARED, capacity=20), shard("free", "free", capacity=1000)
    points = {"a": 9, "b": 8, "c": 7, "d": 6}
    found = advice([collection(SHARED, points), collection("free", {"x": 1, "y": 1})], [full, free])
    assert [name for name in points if found[name].move] == ["a", "b"]
    assert "more than its capacity" in found["a"].why
    assert found["a"].recommended_shard == "free"


def test_room_that_advice_has_given_away_is_gone() -> None:
    old, narrow = shard("old", "old", status="offline"), shard("narrow", "narrow", capacity=10)
    found = advice(
        [collection("old", {"a": 5, "b": 4}), collection("narrow", {"x": 1, "y": 1})],
        [old, narrow],
    )
    assert found["a"].recommended_shard == "narrow"
    assert found["b"].recommended_shard is None


def test_a_running_move_is_left_alone() -> None:
    points = collection(SHARED, {"big": 101, "few": 1})
    found = advice([points, NONE], [SHARED_1, EMPTY], [placed("big", SHARED_1, EMPTY)])
    assert (found["big"].move, found["big"].command) == (False, None)
    assert "dedicated-1" in found["big"].why


def test_a_vacant_tenant_has_no_place_and_no_move() -> None:
    found = advice([collection(SHARED, {"few": 1})], [SHARED_1], vacant=["nobody"])
    assert (found["nobody"].collection, found["nobody"].move) == (None, False)
    assert found["nobody"].recommended_shard == "shared-1"


def test_a_shard_name_is_quoted_for_the_shell() -> None:
    odd = shard("it's $HOME", "dedi")
    found = advice([collection(SHARED, {"big": 101, "few": 1}), NONE], [SHARED_1, odd])
    assert shlex.split(found["big"].command or "")[-1] == "it's $HOME"
