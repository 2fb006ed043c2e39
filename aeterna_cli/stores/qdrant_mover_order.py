"""The order in which a scroll gives points: numbers before UUIDs, each by value."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from aeterna_cli.stores.base.mover import PointId

M = TypeVar("M")
Marked = tuple[PointId, M]


def in_order(identifier: PointId) -> tuple[int, int, str]:
    """A key that sorts ids as the server does. A UUID's text sorts as its value."""
    return (0, identifier, "") if isinstance(identifier, int) else (1, 0, identifier)


def joined(
    target: Iterable[Marked[M]], source: Iterable[Marked[M]]
) -> Iterator[tuple[PointId, M | None, M | None]]:
    """Every id of either side once, in order, with its mark on the target and on the source.

    Both sides come in order; nothing is held but one item of each.
    """
    left, right = iter(target), iter(source)
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and in_order(one[0]) < in_order(other[0])):
            assert one is not None  # noqa: S101 - the loop's condition
            yield one[0], one[1], None
            one = next(left, None)
        elif one is None or in_order(other[0]) < in_order(one[0]):
            yield other[0], None, other[1]
            other = next(right, None)
        else:
            yield one[0], one[1], other[1]
            one, other = next(left, None), next(right, None)
