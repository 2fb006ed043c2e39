"""What a point is at each version: the same every time, and different from every other."""

import numpy as np  # noqa: TID253 - a test has no start-up to keep short
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.lab.workload.model import Operation, Universe, share

ONE = Universe("acme", 1, 16)
NUMBERS = st.integers(0, 10**9)


def test_vectors_are_units_and_do_not_depend_on_the_batch() -> None:
    many = ONE.vectors(range(500), [3] * 500)
    assert many.dtype == np.float32
    assert np.abs(np.linalg.norm(many.astype(np.float64), axis=1) - 1).max() < 1e-6
    assert np.array_equal(ONE.vectors([77], [3])[0], many[77])


@given(NUMBERS, NUMBERS)
def test_another_version_number_seed_or_tenant_is_another_vector(number: int, version: int) -> None:
    others = [
        ONE.vectors([number], [version + 1]),
        ONE.vectors([number + 1], [version]),
        Universe("acme", 2, 16).vectors([number], [version]),
        Universe("other", 1, 16).vectors([number], [version]),
    ]
    mine = ONE.vectors([number], [version])
    assert all(np.abs(mine - other).max() > 1e-3 for other in others)


def test_ids_are_unique_per_number_tenant_and_seed() -> None:
    worlds = [ONE, Universe("acme", 2, 16), Universe("other", 1, 16)]
    assert len({world.id(number) for world in worlds for number in range(1000)}) == 3000


def test_a_payload_update_keeps_the_vector_and_changes_the_text() -> None:
    before = ONE.payload(Operation(5, 1, "insert", 1, 10))
    after = ONE.payload(Operation(5, 2, "payload", 1, 20))
    assert before["created_at"] == after["created_at"]
    assert before["embedded_version"] == after["embedded_version"] == 1
    assert before["content"] != after["content"]
    assert (after["version"], after["updated_at"], after["tenant_id"]) == (2, 20, "acme")


def test_a_share_is_even_and_repeatable() -> None:
    drawn = [share(1, "acme", number) for number in range(4000)]
    assert drawn == [share(1, "acme", number) for number in range(4000)]
    assert 0.4 < sum(one < 0.5 for one in drawn) / 4000 < 0.6
