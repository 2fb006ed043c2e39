"""In which order tables can be filled and emptied: foreign keys first, selections where possible.

Rows of a table that refers to itself, or tables that refer to each other in a ring, have no order
by tables: such cycles are told, with what loads them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import TypeAlias

#: tables that refer to each other in a ring; mostly one alone
Ring: TypeAlias = tuple[str, ...]


@dataclass(frozen=True)
class Cycle:
    """Tables that refer to each other in a ring (one table: to itself) by these foreign keys.

    ``how``: a table alone can be filled parents first (``rows_parents_first``); a ring needs its
    constraints checked after all its rows are there (``constraints_after``).
    """

    tables: tuple[str, ...]
    foreign_keys: tuple[str, ...]
    how: str


@dataclass(frozen=True)
class Order:
    """``insert``: parents before what refers to them. ``select_first``: tables whose rows are found
    through tables that must be emptied earlier; read their keys before the first delete."""

    insert: tuple[str, ...]
    cycles: tuple[Cycle, ...]
    select_first: tuple[str, ...]

    @property
    def delete(self) -> tuple[str, ...]:
        return tuple(reversed(self.insert))


@dataclass(frozen=True)
class Arrow:
    """``child`` refers to ``parent`` by the foreign key ``name``."""

    child: str
    parent: str
    name: str


def order(
    tables: Iterable[str],
    arrows: Sequence[Arrow],
    reads: Mapping[str, Sequence[str]],
    *,
    first: str = "",
) -> Order:
    """A deterministic order. ``reads``: which tables the selection of a table reads.

    Foreign keys hold always (but for those of a cycle); what a selection reads comes before it only
    where that fits in. ``first`` is filled before all that it does not refer to itself, and so
    emptied last: while it is there, the work is not done.
    """
    names = sorted(set(tables))
    parents: dict[str, set[str]] = {name: set() for name in names}
    for arrow in arrows:
        if arrow.child != arrow.parent and {arrow.child, arrow.parent} <= parents.keys():
            parents[arrow.child].add(arrow.parent)
    rings = _rings(names, parents)
    ring_of = {name: ring for ring in rings for name in ring}
    graph: dict[Ring, set[Ring]] = {
        ring: {ring_of[one] for name in ring for one in parents[name]} - {ring} for ring in rings
    }
    select_first: dict[str, None] = {}
    for name in names:
        for read in sorted(set(reads.get(name, ())) & parents.keys() - {name}):
            child, parent = ring_of[name], ring_of[read]
            if child == parent or _reaches(graph, parent, child):
                select_first[name] = None
            else:
                graph[child].add(parent)
    for ring in rings if first in ring_of else ():
        if ring != ring_of[first] and not _reaches(graph, ring_of[first], ring):
            graph[ring].add(ring_of[first])
    loops = sorted({arrow.child for arrow in arrows if arrow.child == arrow.parent} & set(names))
    cyclic = [(name,) for name in loops] + [ring for ring in rings if len(ring) > 1]
    insert = [name for ring in _sorted(graph) for name in ring]
    return Order(tuple(insert), tuple(_cycle(one, arrows) for one in cyclic), tuple(select_first))


def _reaches(graph: Mapping[Ring, set[Ring]], start: Ring, wanted: Ring) -> bool:
    seen, todo = {start}, [start]
    while todo:
        for parent in graph[todo.pop()]:
            if parent == wanted:
                return True
            if parent not in seen:
                seen.add(parent)
                todo.append(parent)
    return False


def _sorted(graph: Mapping[Ring, set[Ring]]) -> Iterator[Ring]:
    """Parents first, and by name where nothing else decides."""
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        yield from ready
        sorter.done(*ready)


def _cycle(ring: Ring, arrows: Sequence[Arrow]) -> Cycle:
    keys = sorted({a.name for a in arrows if a.child in ring and a.parent in ring})
    how = "rows_parents_first" if len(ring) == 1 else "constraints_after"
    return Cycle(ring, tuple(keys), how)


def _rings(names: Sequence[str], graph: Mapping[str, set[str]]) -> list[Ring]:
    """The strongly connected components (Tarjan's, with a stack of its own)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    open_: set[str] = set()
    found: list[Ring] = []
    for start in names:
        if start in index:
            continue
        work = [(start, iter(sorted(graph[start])))]
        index[start] = low[start] = len(index)
        path.append(start)
        open_.add(start)
        while work:
            name, parents = work[-1]
            following = next(parents, None)
            if following is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    cut = path.index(name)
                    found.append(tuple(sorted(path[cut:])))
                    open_.difference_update(path[cut:])
                    del path[cut:]
            elif following not in index:
                index[following] = low[following] = len(index)
                path.append(following)
                open_.add(following)
                work.append((following, iter(sorted(graph[following]))))
            elif following in open_:
                low[name] = min(low[name], index[following])
    return found
