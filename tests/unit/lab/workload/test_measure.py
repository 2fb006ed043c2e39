"""Pauses, waits and latencies, on a clock that the test owns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.lab.workload.measure import Histogram, Measurements


@given(st.lists(st.floats(1e-4, 1000), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_exact_to_five_percent(durations: list[float], share: float) -> None:
    histogram = Histogram()
    for one in durations:
        histogram.add(one)
    exact = sorted(durations)[max(0, -(-len(durations) * int(share * 100) // 100) - 1)]
    assert exact * 0.999 <= histogram.quantile(share) <= exact * 1.06
    assert histogram.maximum == max(durations)


def test_nothing_is_zero() -> None:
    assert Histogram().quantile(0.99) == 0
    assert Measurements().taken(100.0).longest_pause == 0


def test_a_pause_lasts_from_the_last_acknowledgement_while_something_waits() -> None:
    measured = Measurements()
    measured.due(0.0)
    measured.due(0.1)
    measured.acknowledged(0.0, 0.0, 0.2)
    measured.acknowledged(0.1, 0.1, 1.7)
    assert measured.taken(9.0).longest_pause == pytest.approx(1.5)


def test_a_time_without_anything_to_write_is_no_pause() -> None:
    measured = Measurements()
    measured.due(0.0)
    measured.acknowledged(0.0, 0.0, 0.1)
    measured.due(60.0)
    measured.acknowledged(60.0, 60.0, 60.2)
    assert measured.taken(100.0).longest_pause == pytest.approx(0.2)


def test_a_write_that_waits_at_the_end_or_is_given_up_counts() -> None:
    measured = Measurements()
    measured.due(5.0)
    assert measured.taken(8.0).longest_pause == pytest.approx(3.0)
    measured.given_up(5.0, 9.0)
    assert measured.taken(50.0).longest_pause == pytest.approx(4.0)


def test_before_the_first_acknowledgement_the_write_that_waits_longest_counts() -> None:
    measured = Measurements()
    measured.due(0.0)
    measured.due(1.5)
    measured.acknowledged(1.5, 1.5, 2.0)
    assert measured.taken(2.0).longest_pause == pytest.approx(2.0)


def test_phases_are_kept_apart() -> None:
    measured = Measurements(phase="before")
    for start in (0.0, 1.0):
        measured.due(start)
        measured.acknowledged(start, start, start + 0.1)
    measured.phase = "during"
    measured.due(2.0)
    measured.acknowledged(2.0, 2.0, 2.5)
    measured.read(0.002)
    found = measured.taken(3.0)
    assert found.pause_by_phase == {"before": pytest.approx(0.1), "during": pytest.approx(0.5)}
    counts = {(one.phase, one.kind): one.count for one in found.latencies}
    assert counts == {("before", "write"): 2, ("during", "write"): 1, ("during", "read"): 1}


def test_waits_are_counted_from_two_milliseconds() -> None:
    measured = Measurements()
    for seconds in (0.001, 0.5, 0.25):
        measured.waited(seconds)
    found = measured.taken(0.0)
    assert (found.held_waits, found.held_longest, found.held_total) == (2, 0.5, 0.75)
