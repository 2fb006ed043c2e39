"""What stored WAL makes restorable."""

from aeterna_cli.repository.wal_archive import Range
from aeterna_cli.workflows.backup.wal_coverage import (
    Archive,
    Reach,
    Stretch,
    Wants,
    gaps,
    reach,
    stretches,
)
from aeterna_cli.workflows.backup.wal_position import Gap, Line

SIZE = 1000
LIFE = (Line(1, 0, 5200), Line(2, 5200, None))


def archive(*ranges: tuple[int, int, int], noted: tuple[Gap, ...] = ()) -> Archive:
    return Archive(tuple(Range(*one) for one in ranges), noted, LIFE, SIZE)


def wants(
    name: str, start: int, point: int, own: tuple[int, int] | None = None, timeline: int = 1
) -> Wants:
    mine = (Range(timeline, *own),) if own else ()
    return Wants(name, timeline, start, point, mine)


def test_timelines_join_where_one_left_the_other() -> None:
    found = archive((1, 0, 5200), (2, 5000, 7000))
    assert stretches(found.ranges, found) == [Stretch(0, 7000)]


def test_a_new_timeline_holds_the_segment_of_the_switch_itself() -> None:
    """Its first segment repeats the old timeline's bytes: the old one may end in front of them."""
    found = archive((1, 0, 5000), (2, 5000, 7000))
    assert stretches(found.ranges, found) == [Stretch(0, 7000)]


def test_what_a_dead_branch_wrote_does_not_count() -> None:
    found = archive((1, 0, 9000), (2, 6000, 7000))
    assert stretches(found.ranges, found) == [Stretch(0, 5200), Stretch(6000, 7000)]
    assert stretches([Range(7, 0, 9000)], found) == []


def test_a_backup_reaches_as_far_as_its_own_wal_and_the_archive_go() -> None:
    found = archive((1, 1900, 5200), (2, 5000, 7000))
    assert reach(wants("a", 1000, 1500, (1000, 2000)), found) == Reach(
        "a", 1, 1500, 7000, True, True
    )


def test_a_backup_without_the_wal_it_needs() -> None:
    broken = reach(wants("a", 1000, 1500, (1000, 1400)), archive())
    assert (broken.end, broken.whole) == (1400, False)
    assert not reach(wants("a", 1000, 1500), archive()).whole


def test_a_backup_of_a_branch_that_was_left() -> None:
    found = archive((1, 0, 9000), (2, 5000, 7000))
    left = reach(wants("a", 6000, 6500), found)
    assert (left.end, left.whole, left.on_life) == (9000, True, False)
    foreign = reach(wants("a", 6000, 6500, (6000, 6600), timeline=9), found)
    assert (foreign.end, foreign.on_life) == (6600, False)


def test_a_gap_stops_the_backups_before_it_and_a_newer_one_closes_it() -> None:
    found = archive((1, 0, 2000), (1, 3000, 5200), (2, 5000, 7000))
    old, new = wants("old", 500, 900), wants("new", 3500, 3600)
    (gap,) = gaps([old], [reach(old, found)], found)
    assert (gap.gap, gap.backups, gap.open) == (Gap(1, 2000, 3000), ("old",), True)
    (gap,) = gaps([old, new], [reach(old, found), reach(new, found)], found)
    assert (gap.backups, gap.open) == (("old",), False)


def test_the_own_wal_of_a_backup_fills_a_hole() -> None:
    found = archive((1, 0, 2000), (1, 3000, 4000))
    one = wants("a", 1900, 2900, (1900, 3000))
    assert gaps([one], [reach(one, found)], found) == []


def test_a_noted_gap_counts_until_it_is_a_hole_or_was_filled() -> None:
    noted = Gap(1, 2000, 3000)
    one = wants("a", 0, 100)
    alone = archive((1, 0, 2000), noted=(noted,))
    assert [g.gap for g in gaps([one], [reach(one, alone)], alone)] == [noted]
    hole = archive((1, 0, 2000), (1, 3000, 4000), noted=(noted,))
    assert [g.gap for g in gaps([one], [reach(one, hole)], hole)] == [noted]
    filled = archive((1, 0, 4000), noted=(noted,))
    assert gaps([one], [reach(one, filled)], filled) == []


def test_a_gap_without_any_backup_is_shown_and_stops_nobody() -> None:
    found = archive((1, 0, 2000), (2, 6000, 7000))
    (gap,) = gaps([], [], found)
    assert (gap.gap, gap.backups, gap.open) == (Gap(1, 2000, 6000), (), False)
