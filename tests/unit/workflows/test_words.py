"""Words of the command line as values."""

import pytest

from aeterna_cli.errors import UsageError
from aeterna_cli.workflows import words


def test_stores_come_in_their_usual_order() -> None:
    assert words.stores(None) == ("postgres", "qdrant", "redis")
    assert words.stores(["redis", "postgres", "redis"]) == ("postgres", "redis")
    with pytest.raises(UsageError, match="no store 'mysql'"):
        words.stores(["mysql"])


def test_a_time_wants_an_offset() -> None:
    assert words.moment("2026-11-23T03:00:00+01:00").isoformat() == "2026-11-23T03:00:00+01:00"
    assert words.moment("2026-11-23T03:00:00Z").utcoffset() is not None
    with pytest.raises(UsageError) as refused:
        words.moment("2026-11-23T03:00:00")
    assert refused.value.code == "time_without_offset"
    with pytest.raises(UsageError, match="not a time"):
        words.moment("yesterday")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("1h30m", 5400), ("500ms", 0.5), ("1.5m", 90), ("2d", 172800)],
)
def test_durations(text: str, expected: float) -> None:
    assert words.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "90", "s", "5 m", "-5s", "5mx"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError):
        words.seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("500", 500),
        ("50M", 50 << 20),
        ("1.5G", 3 << 29),
        ("1GiB", 1 << 30),
        ("2kB/s", 2048),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert words.size(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "M", "1X", "1e3"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError):
        words.size(text)


def test_labels() -> None:
    assert words.labels(["a=b", "ticket=X=1", "empty="]) == {"a": "b", "ticket": "X=1", "empty": ""}
    for bad in ("a", "=b", "a b=c", "k=" + "v" * 257):
        with pytest.raises(UsageError, match="not a label"):
            words.labels([bad])


def test_positions() -> None:
    assert words.position("1/2") == (1 << 32) + 2
    with pytest.raises(UsageError, match="LSN"):
        words.position("12")
