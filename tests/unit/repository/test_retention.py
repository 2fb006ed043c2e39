"""Retention: never too few backups, never WAL that a kept one needs."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.repository.retention import (
    BackupFact,
    Decision,
    Policy,
    WalObject,
    WalStart,
    decide,
    expendable_key_days,
    expendable_wal,
)

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SEGMENT = 16 << 20


def fact(
    days: float,
    name: str = "",
    *,
    held: bool = False,
    lsn: int | None = None,
    tenant: str | None = None,
) -> BackupFact:
    """A backup whose recovery point lies ``days`` before now."""
    time = NOW - timedelta(days=days)
    wal = WalStart("7", lsn, SEGMENT) if lsn is not None else None
    return BackupFact(name or f"{days:g}", time, time - timedelta(minutes=5), held, wal, tenant)


def reasons(*facts: BackupFact, window: int = 0, last: int = 1, minimum: int = 1) -> list[object]:
    decisions = decide(facts, Policy(window, last, minimum), NOW)
    return [(decision.backup.backup, *decision.reasons) for decision in decisions]


def test_the_window_and_the_backup_before_it_are_kept() -> None:
    found = reasons(fact(1), fact(9), fact(11), fact(12), window=10)
    assert found == [
        ("12",),
        ("11", "window_anchor"),
        ("9", "window"),
        ("1", "window", "keep_last"),
    ]


def test_the_newest_are_kept_whatever_their_age() -> None:
    assert reasons(fact(100), fact(200), fact(300), last=2) == [
        ("300",),
        ("200", "keep_last"),
        ("100", "keep_last"),
    ]


def test_the_minimum_is_filled_from_the_newest() -> None:
    assert reasons(fact(100), fact(200), fact(300), fact(400), minimum=3) == [
        ("400",),
        ("300", "minimum"),
        ("200", "minimum"),
        ("100", "keep_last"),
    ]
    assert reasons(fact(100), minimum=3) == [("100", "keep_last")]
    assert reasons() == []


def test_a_hold_keeps() -> None:
    assert reasons(fact(100), fact(200, held=True), fact(300)) == [
        ("300",),
        ("200", "held"),
        ("100", "keep_last"),
    ]


def test_order_is_by_time_not_by_position_or_name() -> None:
    """After pg_upgrade positions begin anew, after a promotion timelines go up."""
    found = reasons(fact(1, "a", lsn=SEGMENT), fact(2, "z", lsn=900 * SEGMENT), fact(3, "m"))
    assert found == [("m",), ("z",), ("a", "keep_last")]


def test_a_tenants_backups_are_kept_by_the_same_policy_among_themselves() -> None:
    """Many young ones of a tenant must not push out the deployment's, nor fill its minimum."""
    young = [fact(day, f"t{day}", tenant="t") for day in (1, 2, 3)]
    assert reasons(fact(100), fact(200), fact(300), *young, minimum=2) == [
        ("300",),
        ("200", "minimum"),
        ("100", "keep_last"),
        ("t3",),
        ("t2", "minimum"),
        ("t1", "keep_last"),
    ]


@pytest.mark.parametrize("policy", [(-1, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_a_policy_that_could_keep_nothing_is_none(policy: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Policy(*policy)


def test_a_tenants_backup_says_nothing_of_the_wal() -> None:
    """Neither does an old one keep it, nor does a young one let it go."""
    old, young = fact(50, tenant="t"), fact(1, tenant="t")
    whole = fact(10, lsn=5 * SEGMENT)
    chunks = [wal(3 * SEGMENT), wal(9, system="8", days=20)]
    assert list(expendable_wal(chunks, kept(old, young, whole))) == chunks
    assert list(expendable_wal(chunks, kept(young))) == []
    assert expendable_key_days([date(2026, 1, 1)], kept(young)) == ()
    assert expendable_key_days([date(2026, 11, 1)], kept(old, whole)) == (date(2026, 11, 1),)


def wal(end: int, *, system: str = "7", days: float = 0, key: str = "") -> WalObject:
    return WalObject(key or f"{system}/{end}", system, end, NOW - timedelta(days=days))


def kept(*facts: BackupFact) -> list[Decision]:
    return [Decision(one, ("window",)) for one in facts]


def test_wal_goes_up_to_the_segment_that_the_oldest_kept_backup_starts_in() -> None:
    start = 10 * SEGMENT + 40
    decisions = [
        Decision(fact(9, lsn=SEGMENT), ()),
        *kept(fact(3, lsn=start), fact(1, lsn=50 * SEGMENT)),
    ]
    chunks = [wal(10 * SEGMENT), wal(10 * SEGMENT + 1), wal(start), wal(99 * SEGMENT)]
    assert expendable_wal(chunks, decisions) == (chunks[0],)


def test_wal_of_a_cluster_without_a_kept_backup_goes_by_age() -> None:
    decisions = kept(fact(10, lsn=SEGMENT))
    old, edge, new = (wal(1, system="8", days=days) for days in (13, 11, 1))
    assert expendable_wal([old, edge, new], decisions) == (old,)


def test_a_backup_without_postgres_needs_no_wal() -> None:
    decisions = kept(fact(10), fact(1, lsn=9 * SEGMENT))
    assert expendable_wal([wal(9 * SEGMENT)], decisions) == (wal(9 * SEGMENT),)


def test_without_a_kept_backup_nothing_goes() -> None:
    decisions = [Decision(fact(900, lsn=9 * SEGMENT), ())]
    assert expendable_wal([wal(1, days=5000)], decisions) == ()
    assert expendable_key_days([date(2000, 1, 1)], decisions) == ()


def test_keys_go_well_after_the_wal_that_they_open() -> None:
    days = [NOW.date() - timedelta(days=ago) for ago in (14, 13, 12, 11, 10, 0)]
    assert expendable_key_days(days, kept(fact(10), fact(1))) == tuple(days[:2])


facts = st.builds(
    lambda ago, number, held, system, lsn: BackupFact(
        f"{ago}-{number}",
        NOW - timedelta(minutes=ago),
        NOW - timedelta(minutes=ago + 30),
        held,
        WalStart(system, lsn, SEGMENT) if system else None,
    ),
    st.integers(-5_000, 200_000),
    st.integers(),
    st.booleans(),
    st.sampled_from(["", "7", "8"]),
    st.integers(0, 100 * SEGMENT),
)
policies = st.builds(Policy, st.integers(0, 60), st.integers(1, 9), st.integers(1, 9))
chunks = st.builds(
    wal,
    st.integers(1, 120 * SEGMENT),
    system=st.sampled_from(["7", "8", "9"]),
    days=st.floats(0, 200),
)


@given(st.lists(facts, max_size=20, unique_by=lambda one: one.backup), policies)
def test_never_fewer_than_promised(backups: list[BackupFact], policy: Policy) -> None:
    decisions = decide(backups, policy, NOW)
    assert sorted(one.backup.backup for one in decisions) == sorted(one.backup for one in backups)
    keeping = [one.backup for one in decisions if one.keep]
    assert len(keeping) >= min(len(backups), max(policy.minimum, policy.keep_last))
    going = [one.backup for one in decisions if not one.keep]
    assert not any(one.held for one in going)
    border = NOW - timedelta(days=policy.window_days)
    assert all(one.time <= border for one in going)
    if going and policy.window_days:  # every moment of the window can still be restored
        assert any(one.time <= border for one in keeping)
    if going:
        newest = sorted(backups, key=lambda one: (one.time, one.backup))[-policy.keep_last :]
        assert all(one in keeping for one in newest)
        assert all(one.time >= max(gone.time for gone in going) for one in newest)


@given(
    st.lists(facts, max_size=12, unique_by=lambda one: one.backup),
    policies,
    st.lists(chunks, max_size=30),
    st.lists(st.dates(date(2026, 1, 1), date(2026, 11, 30)), max_size=20),
)
def test_nothing_goes_that_a_kept_backup_needs(
    backups: list[BackupFact], policy: Policy, stored: list[WalObject], days: list[date]
) -> None:
    decisions = decide(backups, policy, NOW)
    keeping = [one.backup for one in decisions if one.keep]
    for chunk in expendable_wal(stored, decisions):
        needed = [one.wal for one in keeping if one.wal and one.wal.system == chunk.system]
        assert all(chunk.end <= start.lsn - start.lsn % SEGMENT for start in needed)
        assert needed or all(chunk.modified < one.started for one in keeping)
    for day in expendable_key_days(days, decisions):
        assert all(day < one.started.date() - timedelta(days=1) for one in keeping)
        assert keeping
