"""Two scrolls side by side: every id once, in the server's order."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.stores.base.mover import PointId
from aeterna_cli.stores.qdrant_mover_order import in_order, joined

IDS = st.one_of(
    st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 128) - 1).map(lambda n: str(UUID(int=n)))
)


@given(st.dictionaries(IDS, st.integers(0, 3)), st.dictionaries(IDS, st.integers(0, 3)))
def test_the_join_is_that_of_the_two_mappings(
    left: dict[PointId, int], right: dict[PointId, int]
) -> None:
    found = list(joined(_scroll(left), _scroll(right)))
    ids = [one for one, _, _ in found]
    assert ids == sorted({**left, **right}, key=in_order)
    assert {one: a for one, a, _ in found if a is not None} == left
    assert {one: b for one, _, b in found if b is not None} == right


def _scroll(points: dict[PointId, int]) -> list[tuple[PointId, int]]:
    return sorted(points.items(), key=lambda one: in_order(one[0]))


def test_numbers_come_before_uuids_each_by_value() -> None:
    ids: list[PointId] = [str(UUID(int=2)), 10, 9, (1 << 64) - 1, str(UUID(int=1 << 100))]
    expected = [9, 10, (1 << 64) - 1, str(UUID(int=2)), str(UUID(int=1 << 100))]
    assert sorted(ids, key=in_order) == expected
