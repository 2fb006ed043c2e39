"""Orders of tables: every foreign key holds, whatever the graph looks like."""

from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.datamap.closure import Arrow, order

NAMES = [f"t{number}" for number in range(9)]
arrows_of = st.lists(
    st.builds(Arrow, st.sampled_from(NAMES), st.sampled_from(NAMES), st.just("key")), max_size=25
)
reads_of = st.dictionaries(
    st.sampled_from(NAMES), st.lists(st.sampled_from(NAMES), max_size=3), max_size=9
)


def reachable(arrows: list[Arrow], start: str) -> set[str]:
    found: set[str] = set()
    todo = [start]
    while todo:
        name = todo.pop()
        for arrow in arrows:
            if arrow.child == name and arrow.parent not in found:
                found.add(arrow.parent)
                todo.append(arrow.parent)
    return found


@given(arrows_of, reads_of, st.sampled_from(["", *NAMES]))
def test_parents_come_first_except_within_a_cycle(
    arrows: list[Arrow], reads: dict[str, list[str]], first: str
) -> None:
    made = order(NAMES, arrows, reads, first=first)
    assert sorted(made.insert) == NAMES
    assert made.delete == tuple(reversed(made.insert))
    place = {name: number for number, name in enumerate(made.insert)}
    rings = {name: cycle.tables for cycle in made.cycles for name in cycle.tables}
    for arrow in arrows:
        if arrow.child not in reachable(arrows, arrow.parent):
            assert place[arrow.parent] < place[arrow.child]
        elif arrow.child != arrow.parent:
            ring = rings[arrow.child]
            assert arrow.parent in ring
    for name in NAMES:  # what is on no cycle is reported on none
        assert (name in rings) == (name in reachable(arrows, name))
    for name, wanted in reads.items():
        for read in set(wanted) - {name}:
            assert place[read] < place[name] or name in made.select_first


@given(arrows_of, reads_of)
def test_the_order_does_not_depend_on_how_it_is_asked(
    arrows: list[Arrow], reads: dict[str, list[str]]
) -> None:
    backwards = {name: list(reversed(reads[name])) for name in reversed(reads)}
    assert order(NAMES, arrows, reads) == order(NAMES[::-1], arrows[::-1], backwards)


def test_cycles_say_what_loads_them() -> None:
    arrows = [
        Arrow("units", "units", "units.parent"),
        Arrow("a", "b", "a.b"),
        Arrow("b", "a", "b.a"),
        Arrow("c", "a", "c.a"),
    ]
    made = order(["units", "a", "b", "c"], arrows, {})
    told = {cycle.tables: (cycle.how, cycle.foreign_keys) for cycle in made.cycles}
    assert told == {
        ("units",): ("rows_parents_first", ("units.parent",)),
        ("a", "b"): ("constraints_after", ("a.b", "b.a")),
    }


def test_what_is_selected_through_a_child_must_be_selected_first() -> None:
    made = order(["users", "memberships"], [Arrow("memberships", "users", "k")], {
        "users": ["memberships"],
    })  # fmt: skip
    assert made.insert == ("users", "memberships")
    assert made.select_first == ("users",)


def test_the_root_is_emptied_last() -> None:
    made = order(["a", "tenants", "b"], [Arrow("tenants", "b", "k")], {}, first="tenants")
    assert made.delete == ("a", "tenants", "b")  # but before what it refers to
