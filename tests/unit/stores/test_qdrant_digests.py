"""Digests: independent of order and representation, sensitive to everything else."""

import copy
import struct
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.stores.qdrant_digests import DigestSum, combine, point_hash

UUID_TEXT = "0b3e4d6a-6c1d-4c67-9a1e-6a6f1e6f2b11"
VECTORS: dict[str, Any] = {
    "dense": [0.25, -1.5, 3.0],
    "sparse": {"indices": [5, 1], "values": [0.5, 0.25]},
    "multi": [[1.0, 2.0], [3.0, 4.0]],
}
PAYLOAD: dict[str, Any] = {"b": [1, 2.5, None], "a": {"x": True, "é": "ü"}, "n": 2**63 - 1}


def test_key_order_and_sparse_order_do_not_matter() -> None:
    turned = {name: VECTORS[name] for name in reversed(list(VECTORS))}
    turned["sparse"] = {"indices": [1, 5], "values": [0.25, 0.5]}
    payload = {name: PAYLOAD[name] for name in reversed(list(PAYLOAD))}
    assert point_hash(7, VECTORS, PAYLOAD) == point_hash(7, turned, payload)


def test_the_same_point_in_two_spellings() -> None:
    assert point_hash(UUID(UUID_TEXT), [1.0], None) == point_hash(
        UUID_TEXT.upper(), {"": [1.0]}, {}
    )
    assert point_hash(1, None, {}) == point_hash(1, {}, {})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("dense", 0), 0.2500001),
        (("sparse", "indices", 0), 6),
        (("sparse", "values", 1), 0.26),
        (("multi", 1, 0), 3.5),
    ],
)
def test_one_changed_number_changes_the_hash(path: tuple[str | int, ...], value: float) -> None:
    changed: Any = copy.deepcopy(VECTORS)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    assert point_hash(1, changed, PAYLOAD) != point_hash(1, VECTORS, PAYLOAD)


def test_kinds_of_things_are_not_mistaken_for_each_other() -> None:
    different = [
        point_hash(1, {"a": [1.0, 2.0]}, {}),
        point_hash(1, {"a": [[1.0, 2.0]]}, {}),
        point_hash(1, {"a": [[1.0], [2.0]]}, {}),
        point_hash(1, {"a": [1.0], "b": [2.0]}, {}),
        point_hash(1, {"b": [1.0, 2.0]}, {}),
        point_hash(1, {"a": [1.0, 2.0]}, {"x": 1}),
        point_hash(1, {"a": [1.0, 2.0]}, {"x": 1.0}),
        point_hash(1, {"a": [1.0, 2.0]}, {"x": "1"}),
        point_hash(1, {"a": [1.0, 2.0]}, {"x": None}),
        point_hash(2, {"a": [1.0, 2.0]}, {}),
        point_hash(str(UUID(int=1)), {"a": [1.0, 2.0]}, {}),
    ]
    assert len(set(different)) == len(different)


def test_shards_add_up_and_a_double_point_counts_twice() -> None:
    whole, left, right = DigestSum(), DigestSum(), DigestSum()
    for number in range(20):
        whole.add(number, [float(number)], {"n": number})
    for number in reversed(range(20)):
        (left if number % 3 else right).add(number, [float(number)], {"n": number})
    assert combine([left.result(), right.result()]) == whole.result()
    twice = combine([whole.result(), right.result()])
    assert twice.points == 20 + right.points
    assert twice.digest != whole.result().digest


floats32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(floats32, min_size=1, max_size=8))
def test_float32_survives_the_shortest_text(values: list[float]) -> None:
    """A server prints float32 in its shortest form; reading that as float64 must hash equally."""
    import numpy
    import orjson

    array = numpy.array(values, numpy.float32)
    text = orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY)
    widened = [struct.unpack("<f", struct.pack("<f", value))[0] for value in values]
    assert point_hash(1, orjson.loads(text), {}) == point_hash(1, widened, {})
