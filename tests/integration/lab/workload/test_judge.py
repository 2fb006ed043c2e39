"""Each sort of damage, made by hand, is found as exactly that; and nothing else is found."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from aeterna_cli.lab.workload.folder import Moved
from aeterna_cli.lab.workload.judging import Strictness
from aeterna_cli.lab.workload.workload import Workload
from aeterna_cli.stores.base.placement import PointsPlace
from tests.integration.lab.workload.ground import Ground, examples, found, written

pytestmark = pytest.mark.integration

Point = dict[str, Any]


class Ended:
    """A workload that ran, was clean and has ended."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.tenant = ground.moved()
        self.before: dict[str, Point] = {}
        self.workload = ground.workload(self.tenant)
        with self.workload:
            self.workload.prepare(40)
            self.before = {point["id"]: point for point in ground.points(self.tenant)}
            self.workload.start()
            written(self.workload, self.tenant, 70)
        self.points = {point["id"]: point for point in ground.points(self.tenant)}

    @property
    def place(self) -> PointsPlace:
        return self.tenant.place

    def changed(self) -> Point:
        """A point as it was before its last versions."""
        return next(
            point
            for identity, point in self.before.items()
            if identity in self.points
            and self.points[identity]["payload"]["version"] > point["payload"]["version"]
        )

    def deleted(self) -> Point:
        return next(one for identity, one in self.before.items() if identity not in self.points)

    def any(self) -> Point:
        return deepcopy(next(iter(self.points.values())))


@pytest.fixture(scope="module")
def original(ground: Ground) -> Ended:
    return Ended(ground)


@pytest.fixture
def ended(original: Ended) -> Any:
    """Mended afterwards."""
    assert found(original.workload.verdict().tenants[0]) == {}
    yield original
    ground, place = original.ground, original.place
    ids = {point["id"] for page in ground.servers.scan(place, {}) for point in page}
    ground.delete(place, *(ids - original.points.keys()))
    ground.put(place, *original.points.values())


def lose(ended: Ended) -> str:
    point = ended.any()
    ended.ground.delete(ended.place, point["id"])
    return str(point["id"])


def resurrect(ended: Ended) -> str:
    point = ended.deleted()
    ended.ground.put(ended.place, point)
    return str(point["id"])


def make_stale(ended: Ended) -> str:
    point = ended.changed()
    ended.ground.put(ended.place, point)
    return str(point["id"])


def change_vector(ended: Ended) -> str:
    point = ended.any()
    point["vector"][0] += 0.0001
    ended.ground.put(ended.place, point)
    return str(point["id"])


def exchange_vector(ended: Ended) -> str:
    first, second = list(ended.points.values())[:2]
    ended.ground.put(ended.place, {**first, "vector": second["vector"]})
    return str(first["id"])


def change_payload(ended: Ended) -> str:
    point = ended.any()
    point["payload"]["content"] += "!"
    ended.ground.put(ended.place, point)
    return str(point["id"])


def add_field(ended: Ended) -> str:
    point = ended.any()
    point["payload"]["copied_by"] = "somebody"
    ended.ground.put(ended.place, point)
    return str(point["id"])


def write_the_future(ended: Ended) -> str:
    point = ended.any()
    point["payload"]["version"] += 1000
    ended.ground.put(ended.place, point)
    return str(point["id"])


def give_away(ended: Ended) -> str:
    point = ended.any()
    point["payload"]["tenant_id"] = "somebody else"
    ended.ground.put(ended.place, point)
    return str(point["id"])


def take_in(ended: Ended) -> str:
    point = {**ended.any(), "id": "11111111-2222-4333-8444-555555555555"}
    ended.ground.put(ended.place, point)
    return str(point["id"])


@pytest.mark.parametrize(
    ("damage", "sort"),
    [
        (lose, "lost"),
        (resurrect, "resurrected"),
        (make_stale, "stale"),
        (change_vector, "wrong"),
        (exchange_vector, "wrong"),
        (change_payload, "wrong"),
        (add_field, "wrong"),
        (write_the_future, "wrong"),
        (give_away, "foreign"),
        (take_in, "foreign"),
    ],
)
def test_damage_is_found_as_what_it_is(
    ended: Ended, damage: Callable[[Ended], str], sort: str
) -> None:
    identity = damage(ended)
    verdict = ended.workload.verdict().tenants[0]
    assert found(verdict) == {sort: 1}
    assert len(examples(verdict, sort)) == 1
    assert identity in examples(verdict, sort)[0]
    assert not verdict.clean


def test_damages_are_counted_and_ten_are_shown(ended: Ended) -> None:
    ids = list(ended.points)[:15]
    ended.ground.delete(ended.place, *ids)
    verdict = ended.workload.verdict().tenants[0]
    assert found(verdict) == {"lost": 15}
    assert len(examples(verdict, "lost")) == 10


def test_a_place_that_is_gone_is_everything_lost_only_where_it_is_judged(ended: Ended) -> None:
    """What must be empty is judged as that: a collection that was dropped is empty."""
    gone = PointsPlace("", "never-was")
    strict = Strictness(emptied={ended.tenant.id: (gone,)})
    assert ended.workload.verdict(strict).clean
    strict = Strictness(emptied={ended.tenant.id: (ended.place,)})
    verdict = ended.workload.verdict(strict).tenants[0]
    assert found(verdict) == {"leftover": len(ended.points)}


def test_strangers_in_a_place_of_ones_own_are_foreign(ended: Ended) -> None:
    stranger = ended.any()
    stranger["id"] = "99999999-2222-4333-8444-555555555555"
    stranger["payload"]["tenant_id"] = "a neighbour"
    ended.ground.put(ended.place, stranger)
    assert ended.workload.verdict().clean
    verdict = ended.workload.verdict(Strictness(exclusive={ended.tenant.id})).tenants[0]
    assert found(verdict) == {"foreign": 1}
    give_away(ended)
    verdict = ended.workload.verdict(Strictness(exclusive={ended.tenant.id})).tenants[0]
    assert found(verdict) == {"foreign": 2}


def test_a_second_copy_under_another_shard_key_is_a_duplicate(ground: Ground) -> None:
    place = ground.place("first")
    tenant, other = ground.moved(place), PointsPlace("", place.collection, "second")
    workload = ground.workload(tenant)
    with workload:
        workload.prepare(20)
    ground.servers.call(other, "PUT", "/shards", {"shard_key": "second"})
    assert workload.verdict().clean
    ground.put(other, *ground.points(tenant)[:3])
    assert found(workload.verdict().tenants[0]) == {"duplicate": 3}
    assert workload.verdict(Strictness(copies_allowed={tenant.id})).clean


def test_points_from_before_the_workload_must_stay_as_they_are(ground: Ground) -> None:
    tenant = ground.moved()
    earlier = ground.workload(tenant)
    with earlier:
        earlier.prepare(10)
    workload = ground.workload(Moved(tenant.id, tenant.place), seed=2)
    with workload:
        workload.prepare(10)
    assert workload.verdict().clean
    known = [point for point in ground.points(tenant) if workload_of(earlier, tenant, point)]
    assert len(known) == 10
    known[0]["payload"]["content"] = "changed"
    ground.put(tenant.place, known[0])
    ground.delete(tenant.place, known[1]["id"])
    assert found(workload.verdict().tenants[0]) == {"wrong": 1, "lost": 1}


def workload_of(earlier: Workload, tenant: Moved, point: Point) -> bool:
    universe = earlier.description.universe(tenant)
    return point["id"] in {universe.id(number) for number in range(10)}
