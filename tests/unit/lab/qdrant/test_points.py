"""Ids, vectors and upsert bodies."""

from typing import Any

import pytest

pytest.importorskip("qdrant_edge")

from aeterna_cli.lab.qdrant import wire
from aeterna_cli.lab.qdrant.points import id_order, point_id, points_of
from aeterna_cli.lab.qdrant.refusals import Refusal

UUID = "c0ffee00-1111-2222-3333-444455556666"


@pytest.mark.parametrize("found", [0, 7, (1 << 64) - 1, UUID])
def test_ids_are_numbers_and_uuids(found: Any) -> None:
    assert point_id(found) == found


def test_a_uuid_has_one_form() -> None:
    assert point_id(UUID.replace("-", "").upper()) == UUID


@pytest.mark.parametrize("found", [-1, 1 << 64, 1.5, True, None, "7", "abc", [1]])
def test_other_ids_are_refused(found: Any) -> None:
    with pytest.raises(Refusal) as caught:
        point_id(found)
    assert caught.value.status == 400


def test_numbers_come_before_uuids() -> None:
    ids: list[int | str] = [UUID, 10, 9]
    assert sorted(ids, key=id_order) == [9, 10, UUID]


def test_rows_and_columns_are_the_same_points() -> None:
    rows = {"points": [{"id": 1, "vector": {"a": [1.0]}, "payload": {"n": 1}}]}
    columns = {"batch": {"ids": [1], "vectors": {"a": [[1.0]]}, "payloads": [{"n": 1}]}}
    assert points_of(rows) == points_of(columns) == [(1, {"a": [1.0]}, {"n": 1})]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"points": {}},
        {"points": []},
        {"points": [{"id": 1, "vector": "x"}]},
        {"batch": {"ids": [1, 2], "vectors": [[1.0]]}},
    ],
)
def test_incomplete_bodies_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        points_of(body)
    assert caught.value.status in (400, 422)


def test_vectors_are_printed_as_short_as_32_bits_need() -> None:
    assert wire.dumps({"v": wire.float32([0.1, 1.0])}) == b'{"v":[0.1,1.0]}'
