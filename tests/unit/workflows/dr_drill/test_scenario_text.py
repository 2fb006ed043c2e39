"""A scenario file says what it means or is refused with its line."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.errors import UsageError
from aeterna_cli.workflows.dr_drill.library import loaded_from
from aeterna_cli.workflows.dr_drill.scenario_text import LARGEST, parse
from tests.unit.workflows.dr_drill.samples import PLAIN


def refused(text: str | bytes) -> UsageError:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(UsageError) as caught:
        loaded_from(data, "sample", "sample.yaml")
    assert caught.value.code == "scenario_invalid"
    return caught.value


def test_a_whole_one_is_read() -> None:
    scenario = loaded_from(PLAIN.encode(), "sample", "sample.yaml").scenario
    assert scenario.writers.timeout == 1
    assert scenario.objectives["postgres"].rto == 30
    assert scenario.hypothesis.probes[0].tolerance.equals == 1


@pytest.mark.parametrize(
    ("good", "bad", "line", "closest"),
    [
        ("scope:", "scoop:", 3, "scope"),
        ("warm-up", "warmup", 4, "warm-up"),
        ("rto:", "rta:", 5, "rto"),
        ("steady-state:", "steady_state:", 6, "steady-state"),
        ("within:", "witin:", 8, "within"),
        ("tolerance:", "tolerence:", 10, "tolerance"),
        ("{query:", "{qury:", 10, "query"),
        ("fault: true", "falt: true", 12, "fault"),
        ("action: process, with: {command: [\"true\"]}}", "action: proces}", 14, "process"),
    ],
)  # fmt: skip
def test_an_unknown_key_is_refused_with_its_line_and_the_closest(
    good: str, bad: str, line: int, closest: str
) -> None:
    assert good in PLAIN
    error = refused(PLAIN.replace(good, bad))
    assert error.details["line"] == line, error.message
    assert f"did you mean {closest}?" in error.hint


@pytest.mark.parametrize(
    ("good", "bad", "words"),
    [
        ("rate: 20", "rate: lots", "number"),
        ("rate: 20", "rate: 0", "greater than 0"),
        ("rate: 20", "rate: true", "number"),
        ("timeout: 1s", "timeout: 1x", "not a duration"),
        ("stores: [postgres]", "stores: [oracle]", "'postgres'"),
        ("stores: [postgres]", "stores: []", "at least 1"),
        ("tolerance: 1}", "tolerance: {equals: 1, regex: a}}", "exactly one"),
        ("tolerance: 1}", "tolerance: {regex: '('}}", "regex"),
        ("tolerance: 1}", "tolerance: {at: x}}", "exactly one"),
        ("probe: sql", "probe: lab.heal", "no probe"),
        ("action: process", "action: marker.latest", "no action"),
        (", fault: true", "", "nothing in it is a fault"),
        ("objectives: {postgres", "objectives: {redis", "nothing is written to it"),
        ("title: A drill", "title: [a]", "valid string"),
    ],
)
def test_a_wrong_value_is_refused(good: str, bad: str, words: str) -> None:
    assert good in PLAIN
    assert words in refused(PLAIN.replace(good, bad)).message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("- a", "not a mapping"),
        ('a: "\\ud800"', "surrogate"),
        ("a: 1\na: 2", "twice"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: &a [b]\nb: [*a, *a]", "aliases"),
        ("a: !!python/object/apply:os.system [id]", "tags"),
        ("a: !!binary aGk=", "tags"),
        ("? [a]\n: b", "a key must be a word"),
        ("[" * 5000, "nested"),
        ("a: {", "not YAML"),
        ("a: \x01", "not YAML"),
        ("%YAML 9.9\n---\na: 1", "not YAML"),
        ("--- a\n--- b", "not YAML"),
        (b"a: \xff", "not UTF-8"),
        ("a: " + "x" * LARGEST, "larger than"),
    ],
)
def test_what_is_no_plain_yaml_is_refused(text: str | bytes, words: str) -> None:
    assert words in refused(text).message


@pytest.mark.parametrize(
    ("text", "value"),
    [("12:30", "12:30"), ("010", "010"), ("no", "no"), ("1_000", "1_000"), ("0x1F", "0x1F"),
     ("2026-11-27", "2026-11-27"), (".inf", ".inf"), ("1.5", 1.5), ("-3", -3), ("true", True),
     ("~", None), ("'true'", "true"), ("'1'", "1")],
)  # fmt: skip
def test_plain_values_mean_what_they_look_like(text: str, value: object) -> None:
    assert parse(f"a: {text}".encode(), "x").tree == {"a": value}


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(UsageError):
        loaded_from(data, "sample", "sample.yaml")
