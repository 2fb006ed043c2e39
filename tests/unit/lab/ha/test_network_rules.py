import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.errors import FailedError, UsageError
from aeterna_cli.lab.ha.network_rules import FREE, OUTSIDE, Rules, document, parse

NODES = frozenset({"a", "b", "c"})


def rules(folder: Path, *documents: object) -> Rules:
    made = Rules(folder / "rules.json", NODES)
    for one in documents:
        made.add(parse(one, NODES))
    return made


def test_a_cut_separates_a_node_from_everybody_but_itself(tmp_path: Path) -> None:
    cut = rules(tmp_path, {"kind": "cut", "node": "a"})
    for pair in (("a", "b"), ("b", "a"), (OUTSIDE, "a")):
        assert cut.verdict(*pair).hang, pair
    for pair in (("b", "c"), (OUTSIDE, "b"), ("a", "a")):
        assert cut.verdict(*pair) == FREE, pair


def test_outside_can_be_cut_alone(tmp_path: Path) -> None:
    cut = rules(tmp_path, {"kind": "cut-outside", "node": "a", "how": "reset"})
    assert cut.verdict(OUTSIDE, "a").reset
    assert cut.verdict("b", "a") == FREE
    assert cut.verdict(OUTSIDE, "b") == FREE


def test_a_partition_leaves_who_is_in_no_group_alone(tmp_path: Path) -> None:
    cut = rules(tmp_path, {"kind": "partition", "groups": [["a"], ["b", "c"]]})
    assert cut.verdict("a", "b").hang
    assert cut.verdict("c", "a").hang
    assert cut.verdict("b", "c") == FREE
    assert cut.verdict(OUTSIDE, "a") == FREE


def test_a_reset_counts_more_than_a_hang(tmp_path: Path) -> None:
    both = rules(
        tmp_path, {"kind": "cut", "node": "a"}, {"kind": "cut", "node": "b", "how": "reset"}
    )
    verdict = both.verdict("a", "b")
    assert (verdict.hang, verdict.reset) == (False, True)


def test_delays_of_both_ends_add_up(tmp_path: Path) -> None:
    slow = rules(
        tmp_path,
        {"kind": "slow", "node": "a", "delay_ms": 10},
        {"kind": "slow", "node": "b", "delay_ms": 5, "bytes_per_second": 100},
    )
    verdict = slow.verdict("a", "b")
    assert verdict.delay == pytest.approx(0.015)
    assert verdict.slow == (("2", 100),)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        {},
        {"kind": ["cut"]},
        {"kind": "cut"},
        {"kind": "cut", "node": "d"},
        {"kind": "cut", "node": ["a"]},
        {"kind": "cut", "node": "a", "how": "http"},
        {"kind": "cut", "node": "a", "how": ["hang"]},
        {"kind": "cut", "node": "a", "more": 1},
        {"kind": "partition", "groups": [["a"]]},
        {"kind": "partition", "groups": [["a"], []]},
        {"kind": "partition", "groups": [["a"], ["a", "b"]]},
        {"kind": "partition", "groups": "ab"},
        {"kind": "slow", "node": "a"},
        {"kind": "slow", "node": "a", "delay_ms": -1},
        {"kind": "slow", "node": "a", "delay_ms": float("nan")},
        {"kind": "slow", "node": "a", "delay_ms": True},
        {"kind": "slow", "node": "a", "delay_ms": 1e9},
        {"kind": "truncate", "node": "a"},
        {"kind": "truncate", "node": "a", "upload": 1.5},
        {"kind": "truncate", "node": "a", "upload": -1},
    ],
)
def test_what_is_no_rule_is_refused(bad: object) -> None:
    with pytest.raises(UsageError, match="no rule"):
        parse(bad, NODES)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["kind", "node", "how", "groups", "delay_ms", "upload"]),
        _JSON | st.sampled_from(["cut", "a", "slow", "hang", "partition"]),
    )
)
def test_any_json_is_a_rule_or_refused(tree: object) -> None:
    try:
        rule = parse(tree, NODES)
    except UsageError:
        return
    assert parse(document(rule), NODES) == rule


def test_a_restart_keeps_the_rules_and_uses_no_id_again(tmp_path: Path) -> None:
    first = rules(tmp_path, {"kind": "cut", "node": "a"}, {"kind": "cut", "node": "b"})
    assert first.remove("2") == ["2"]
    assert first.remove("2") == []
    again = Rules(tmp_path / "rules.json", NODES)
    assert again.active == first.active
    assert again.add(parse({"kind": "cut", "node": "c"}, NODES)) == "3"
    assert again.remove(None) == ["1", "3"]
    assert Rules(tmp_path / "rules.json", NODES).active == {}


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '{"format": 2}', '{"format": 1, "next": 1, "rules": {"1": {"kind": "cut"}}}'],
)
def test_damaged_rules_are_not_taken_for_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "rules.json").write_text(text)
    with pytest.raises(FailedError) as caught:
        Rules(tmp_path / "rules.json", NODES)
    assert caught.value.code == "network_rules_damaged"


def test_the_rules_are_readable_to_us_alone(tmp_path: Path) -> None:
    rules(tmp_path, {"kind": "cut", "node": "a"})
    assert (tmp_path / "rules.json").stat().st_mode & 0o777 == 0o600
    assert json.loads((tmp_path / "rules.json").read_text())["rules"]["1"]["node"] == "a"
