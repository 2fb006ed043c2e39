"""RTO and RPO out of logs: what was acknowledged, what was found, and nothing better than that."""

import pytest

from aeterna_cli.workflows.dr_drill.measure import Moments, of_restore, of_writes
from tests.unit.workflows.dr_drill.samples import history

STEADY = {number: number / 10 for number in range(1, 101)}  # until 10.0 s


def test_a_gap_is_counted_from_the_fault_to_the_first_write_after_it() -> None:
    writes = {**STEADY, 101: 15.0, 102: 15.1}
    failed = {200 + n: 10.2 + n for n in range(4)}
    found = of_writes(
        "postgres", history(writes, failed), set(writes), Moments(0, 10.05, 15.2, verified=15.5), 10
    )
    assert found.rto == pytest.approx(4.95)
    assert found.rpo == 0
    assert (found.lost, found.recovered, found.in_doubt) == (0, True, 4)
    assert found.detection == pytest.approx(0.15)
    assert found.action == pytest.approx(4.8)
    assert found.verification == pytest.approx(0.5)
    assert found.decision is None


def test_a_decision_and_an_action_of_people_are_told_apart() -> None:
    writes = {**STEADY, 101: 15.0}
    moments = Moments(0, 10.05, 15.2, decided=12.2, acted=14.9, verified=15.1)
    found = of_writes("redis", history(writes, {200: 10.2}), set(writes), moments, 10)
    assert found.decision == pytest.approx(2.0)
    assert found.action == pytest.approx(2.7)
    assert found.verification == pytest.approx(0.2)


def test_no_write_after_the_fault_is_no_recovery() -> None:
    found = of_writes("postgres", history(STEADY), set(STEADY), Moments(0, 10.0, 60.0), 10)
    assert (found.rto, found.recovered) == (None, False)
    assert found.gap == 50


def test_a_later_and_longer_gap_counts() -> None:
    """A primary that was cut off went on for 3 s before it stopped."""
    writes = {**STEADY, **{100 + n: 10 + n / 10 for n in range(1, 31)}, 140: 25.0}
    found = of_writes("postgres", history(writes), set(writes), Moments(0, 10.0, 25.1), 10)
    assert found.rto == pytest.approx(12.0)


def test_lost_writes_are_counted_and_dated() -> None:
    writes = {**STEADY, 101: 12.0}
    there = set(writes) - {98, 99, 100}
    found = of_writes("redis", history(writes), there, Moments(0, 10.05, 12.1), 10)
    assert (found.lost, found.lost_examples) == (3, (98, 99, 100))
    assert found.rpo == pytest.approx(10.05 - 9.79)
    assert found.newest_lost == pytest.approx(0.05)


def test_a_single_write_lost_after_the_fault_still_has_an_age() -> None:
    writes = {**STEADY, 101: 11.0, 102: 12.0}
    found = of_writes("redis", history(writes), set(writes) - {101}, Moments(0, 10.0, 12.1), 10)
    assert found.lost == 1
    assert found.rpo is not None
    assert found.rpo > 0


def test_what_is_in_doubt_is_never_lost() -> None:
    log = history(STEADY, failed={101: 10.2, 102: 10.3}, refused={103: 10.4})
    found = of_writes("redis", log, {*STEADY, 101}, Moments(0, 10.05, 10.5), 10)
    assert (found.lost, found.in_doubt, found.in_doubt_found, found.refused) == (0, 2, 1, 1)


@pytest.mark.parametrize("fault", [None, 0.05], ids=["no fault", "before the first write"])
def test_without_writes_before_a_fault_nothing_is_measured(fault: float | None) -> None:
    found = of_writes("redis", history(STEADY), set(STEADY), Moments(0, fault, 10.1), 10)
    assert (found.rto, found.recovered) == (None, False)


def test_nothing_acknowledged_is_nothing_measured() -> None:
    found = of_writes("redis", history({}, {1: 1.0}), set(), Moments(0, 0.5, 10.1), 10)
    assert (found.rto, found.rpo, found.recovered) == (None, None, False)


def test_markers_that_cannot_be_read_are_no_proof() -> None:
    found = of_writes("redis", history({**STEADY, 101: 11}), None, Moments(0, 10.0, 11.1), 10)
    assert (found.rpo, found.recovered) == (None, False)


def test_foreign_markers_are_told() -> None:
    found = of_writes("redis", history(STEADY), {*STEADY, -7}, Moments(0, 9.95, 10.1), 10)
    assert found.unexpected == 1


def test_a_restored_copy_is_measured_until_it_was_verified() -> None:
    there = {number for number in STEADY if number <= 60}
    found = of_restore("postgres", history(STEADY), there, Moments(0, 10.05, 10.05), at=None,
                       until=40.05)  # fmt: skip
    assert found.rto == pytest.approx(30)
    assert found.lost == 40
    assert found.rpo == pytest.approx(10.05 - 6.09)


def test_a_moment_has_everything_before_it_and_nothing_after() -> None:
    moments, log = Moments(0, 10.05, 10.05), history(STEADY)
    exact = {number for number in STEADY if STEADY[number] <= 5.04}
    found = of_restore("postgres", log, exact, moments, at=5.04, until=12)
    assert (found.lost, found.unexpected, found.rpo) == (0, 0, 0)
    short = of_restore("postgres", log, exact - {50}, moments, at=5.04, until=12)
    assert short.lost == 1
    late = of_restore("postgres", log, exact | {52}, moments, at=5.04, until=12)
    assert late.unexpected == 1


def test_a_skewed_clock_blames_nobody_close_to_the_moment() -> None:
    there = {number for number in STEADY if STEADY[number] <= 4.9}
    found = of_restore("postgres", history(STEADY), there, Moments(0, 10.05, 10.05), at=5.04,
                       until=12, skew=0.2)  # fmt: skip
    assert found.lost == 0


def test_quiet_before_the_fault_is_not_the_faults() -> None:
    writes = {1: 1.0, 2: 10.0, 3: 13.0}
    found = of_writes("postgres", history(writes), set(writes), Moments(0, 9.0, 13.1), 10)
    assert found.rto == pytest.approx(3.0)


def test_of_several_faults_each_store_has_its_own() -> None:
    writes = {**STEADY, 101: 14.0}
    log = history(writes, failed={200: 10.3})
    found = of_writes("redis", log, set(writes), Moments(0, 2.0, 14.1), 10)
    assert found.rto == pytest.approx(4.0)
    assert found.detection == pytest.approx(0.3)
