"""Things are added up where they belong, and names that nobody knows take bounded room."""

from dataclasses import dataclass

import pytest

from aeterna_cli.stores.base.tenant_counts import Tally
from aeterna_cli.stores.tallies import MOST_SHAPES, OTHER, add, shape


@dataclass(frozen=True)
class Judgement:
    holder: str
    tenants: tuple[str, ...] = ()
    rule_name: str = "rule"


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("sess:17:4", "sess:<n>:<n>"),
        ("a/550e8400-e29b-41d4-a716-446655440000.x", "a/<uuid>.x"),
        ("emb:00ff00ff00ff00ff", "emb:<hex>"),
        ("plain", "plain"),
        ("x" * 500, "x" * 200 + "…"),
    ],
)
def test_the_shape_of_a_name(name: str, form: str) -> None:
    assert shape(name) == form


def test_a_thing_of_several_is_each_ones_and_once_in_the_total() -> None:
    tally = Tally()
    add(tally, "k", 10, Judgement("several", ("a", "b")))
    add(tally, "l", 5, Judgement("tenant", ("a",)))
    add(tally, "m", 1, Judgement("ambiguous", ("a", "b")))
    assert (tally.of("a").count, tally.of("a").bytes) == (2, 15)
    assert (tally.of("b").count, tally.of("c").count) == (1, 0)
    assert (tally.total.count, tally.total.bytes) == (3, 16)
    assert tally.shared["rule"].count == 1
    assert tally.others["ambiguous"]["rule"].bytes == 1


def test_unknown_shapes_are_bounded_and_long_names_cut() -> None:
    tally = Tally()
    for number in range(MOST_SHAPES + 50):
        word = "".join("abcdefghij"[int(digit)] for digit in str(number))
        add(tally, f"{word}" + "y" * 1000, 1, Judgement("unclassified"))
    assert len(tally.unclassified) == MOST_SHAPES + 1
    assert tally.unclassified[OTHER].volume.count == 50
    assert all(len(found.sample) <= 200 for found in tally.unclassified.values())
