"""Both ends' ids and marks side by side, the target always read before the source.

A thread reads the target's pages one ahead; each page names a range of ids, and the source is read
up to its end only afterwards. So an id that both have is never older on the target's side because
of us, and a point written meanwhile looks missing, never surplus. Memory: a few pages.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from time import monotonic, sleep
from typing import TypeVar

from aeterna_cli.stores.base.mover import Pace, PointId
from aeterna_cli.stores.qdrant_mover_end import QdrantEnd
from aeterna_cli.stores.qdrant_mover_marks import MarkedPages
from aeterna_cli.stores.qdrant_mover_order import Marked, in_order, joined

T = TypeVar("T")
#: So many more than the target's page has are asked of the source at once: a few new points
#: between two pages must not cost another whole page.
_SLACK = 16


def one_ahead(pages: Iterator[T], pace: Pace) -> Iterator[T]:
    """The same pages; while one is used a thread fetches the next. Its errors are raised here.

    Where ``pace.share`` is below 1 the thread rests after each page in proportion to its work.
    """

    def fetch() -> tuple[T] | None:
        began = monotonic()
        for page in pages:
            if pace.share < 1:
                sleep((monotonic() - began) * (1 / pace.share - 1))
            return (page,)
        return None

    with ThreadPoolExecutor(1, "read-ahead") as thread:
        coming = thread.submit(fetch)
        while (ready := coming.result()) is not None:
            coming = thread.submit(fetch)
            yield ready[0]


class Scan:
    """One pass. ``source`` and ``target`` are the numbers of ids seen so far.

    ``same`` is called with every run of ids that both ends have with equal marks.
    """

    def __init__(
        self,
        marks: MarkedPages,
        source: QdrantEnd,
        target: QdrantEnd,
        same: Callable[[list[Marked[int]]], None] = lambda _: None,
    ) -> None:
        self.source = 0
        self.target = 0
        self._marks = marks
        self._from = source
        self._to = target
        self._offset: PointId | None = None
        self._ended = False
        self._same = same

    def different(self) -> Iterator[tuple[PointId, int | None, int | None]]:
        """Ids with unequal marks (target's, source's; None where it is not), in order."""
        for items, last in one_ahead(self._target_pages(), self._to.pace):
            self.target += len(items)
            yield from self._range(items, last)

    def _target_pages(self) -> Iterator[tuple[list[Marked[int]], bool]]:
        offset: PointId | None = None
        limit = self._marks.limit(self._to)
        while True:
            items, offset = self._marks.page(self._to, self._to.reading, offset, limit)
            yield items, offset is None
            if offset is None:
                return

    def _range(
        self, items: list[Marked[int]], last: bool
    ) -> Iterator[tuple[PointId, int | None, int | None]]:
        """One page of the target against the source's ids up to its end."""
        end = None if last or not items else items[-1][0]
        chunks = self._source_chunks(end, len(items) + _SLACK)
        first = next(chunks, [])
        if first == items:  # nearly always: one comparison in C
            self._same(items)
            items, first = [], []
        equal: list[Marked[int]] = []
        source = chain(first, chain.from_iterable(chunks))
        for identifier, theirs, ours in joined(items, source):
            if theirs is not None and theirs == ours:
                equal.append((identifier, ours))
                continue
            yield identifier, theirs, ours
        self._same(equal)

    def _source_chunks(self, end: PointId | None, size: int) -> Iterator[list[Marked[int]]]:
        """The source's ids from where the last range ended up to ``end``; None: all the rest."""
        most = self._marks.limit(self._from)
        while not self._ended:
            limit = most if end is None else min(size, most)
            items, following = self._marks.page(self._from, self._from.reading, self._offset, limit)
            inside = len(items)
            if end is not None:
                inside = bisect_right(items, in_order(end), key=lambda one: in_order(one[0]))
            self._offset = items[inside][0] if inside < len(items) else following
            self._ended = self._offset is None
            self.source += inside
            yield items[:inside]
            if end is not None and (inside < len(items) or self._beyond(end)):
                return

    def _beyond(self, end: PointId) -> bool:
        return self._offset is not None and in_order(self._offset) > in_order(end)
