"""Ids are UUIDs of version 7 that sort by the time they were made."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from aeterna_cli.operations import identifiers
from aeterna_cli.operations.identifiers import is_uuid7, uuid7, uuid7_time


def test_ids_sort_in_the_order_in_which_they_were_made() -> None:
    made = [uuid7() for _ in range(5000)]
    assert made == sorted(set(made))
    assert {uuid.UUID(one).variant for one in made[:50]} == {uuid.RFC_4122}
    assert all(is_uuid7(one) for one in made[:50])


def test_threads_never_make_the_same_one() -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _number: uuid7(), range(2000)))
    assert len(set(made)) == 2000


def test_a_clock_that_jumps_back_does_not_break_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    before = uuid7()
    monkeypatch.setattr(identifiers, "time_ns", lambda: 0)
    assert uuid7() > before


def test_the_time_is_in_the_id() -> None:
    assert abs(uuid7_time(uuid7()) - datetime.now(UTC)) < timedelta(seconds=5)
    # The example of RFC 9562, appendix A.6: Tuesday, February 22, 2022 2:22:22.00 PM GMT-05:00
    example = uuid7_time("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
    assert example == datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "../017f22e2",
        "017F22E2-79B0-7CC3-98C4-DC0C0C07398F",
        "017f22e279b07cc398c4dc0c0c07398f",
        "919108f7-52d1-4320-9bac-f847db4148a8",
    ],
)
def test_anything_else_is_no_operation_id(text: str) -> None:
    assert not is_uuid7(text)
    with pytest.raises(ValueError, match="not an operation id"):
        uuid7_time(text)
