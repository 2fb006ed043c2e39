"""Orphan sets by merging sorted ids."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.workflows.orphans import merge, summarise

IDS = st.lists(st.text(max_size=5), max_size=20)


def by_bytes(ids: list[str]) -> list[str]:
    return sorted(ids, key=str.encode)


@given(IDS, IDS)
def test_what_only_one_side_has(rows: list[str], points: list[str]) -> None:
    found = list(merge(by_bytes(rows), by_bytes(points)))
    assert [name for side, name in found if side == "rows"] == by_bytes(list({*rows} - {*points}))
    assert [name for side, name in found if side == "points"] == by_bytes(list({*points} - {*rows}))


def test_a_set_is_its_count_its_digest_and_a_sample() -> None:
    rows, points = summarise(merge(["a", "b", "c"], ["b", "d"]))
    assert (rows.count, rows.sample) == (2, ("a", "c"))
    assert rows.digest == hashlib.sha256(b"a\nc\n").hexdigest()
    assert (points.side, points.count, points.sample) == ("points", 1, ("d",))


def test_an_unsorted_side_is_never_merged() -> None:
    with pytest.raises(ValueError, match="not sorted"):
        list(merge(["b", "a"], []))
