"""WAL chunks: names, coverage, and segments put together again."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.errors import RemoteError
from aeterna_cli.repository import wal_archive as wal
from aeterna_cli.stores.directory_store import DirectoryStore

SEGMENT = 16 << 20
FOLDER = "wal/7000"


def chunk(start: int, end: int, timeline: int = 1) -> wal.Chunk:
    name = wal.segment_name(timeline, start, SEGMENT)
    key = wal.chunk_key(FOLDER, timeline, start, end, SEGMENT)
    return wal.Chunk(timeline, name, start, end, key, end - start)


@given(st.integers(0, 2**63), st.sampled_from([1 << 20, 16 << 20, 1 << 30]))
def test_segment_names_and_starts_are_inverse(position: int, size: int) -> None:
    position %= 1 << 62
    name = wal.segment_name(3, position, size)
    if int(name[8:16], 16) <= 0xFFFFFFFF and len(name) == 24:
        start = wal.segment_start(name, size)
        assert start <= position < start + size


def test_names_are_postgresqls() -> None:
    # pg_walfile_name('1A/2B3C4D5E') with 16 MB segments on timeline 2
    assert wal.segment_name(2, wal.lsn_number("1A/2B3C4D5E"), SEGMENT) == "000000020000001A0000002B"
    assert wal.lsn_text(wal.lsn_number("1A/2B3C4D5E")) == "1A/2B3C4D5E"


@pytest.mark.parametrize("text", ["", "12", "x/1", "1/", "1/zz", "123456789/0"])
def test_what_is_no_lsn(text: str) -> None:
    with pytest.raises(ValueError, match=r"LSN|invalid literal"):
        wal.lsn_number(text)


def test_a_chunk_never_crosses_a_segment() -> None:
    wal.chunk_key(FOLDER, 1, SEGMENT - 8, SEGMENT, SEGMENT)
    with pytest.raises(ValueError, match="inside one segment"):
        wal.chunk_key(FOLDER, 1, SEGMENT - 8, SEGMENT + 8, SEGMENT)


def test_coverage_joins_overlaps_and_shows_gaps_per_timeline() -> None:
    chunks = [chunk(0, 100), chunk(50, 200), chunk(300, 400), chunk(400, 500), chunk(0, 90, 2)]
    ranges = wal.covered(chunks)
    assert ranges == [wal.Range(1, 0, 200), wal.Range(1, 300, 500), wal.Range(2, 0, 90)]
    assert wal.covers(ranges, 1, 310, 500)
    assert not wal.covers(ranges, 1, 150, 310)
    assert not wal.covers(ranges, 2, 0, 100)
    assert wal.covered([]) == []


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=12))
def test_coverage_equals_the_set_of_positions(pieces: list[tuple[int, int]]) -> None:
    positions = {p for start, length in pieces for p in range(start, start + length)}
    ranges = wal.covered([chunk(start, start + length) for start, length in pieces])
    assert {p for r in ranges for p in range(r.start, r.end)} == positions
    assert all(a.end < b.start for a, b in pairwise(ranges))


def reader(tmp_path: Path, pieces: dict[tuple[int, int], bytes]) -> wal.SegmentReader:
    store = DirectoryStore(tmp_path)
    store.ensure()
    for (start, end), content in pieces.items():
        store.create(wal.chunk_key(FOLDER, 1, start, end, SEGMENT), content)
    store.create(wal.history_key(FOLDER, 2), b"1\t0/3000000\tno recovery target\n")
    return wal.SegmentReader(store, [FOLDER], SEGMENT, lambda _key, content: content)


def test_a_segment_is_its_chunks_padded_with_zeros(tmp_path: Path) -> None:
    got = reader(tmp_path, {(SEGMENT, SEGMENT + 4): b"abcd", (SEGMENT + 2, SEGMENT + 6): b"cdef"})
    segment = got.segment("000000010000000000000001")
    assert segment is not None
    assert segment[:8] == b"abcdef\0\0"
    assert len(segment) == SEGMENT
    assert got.segment("000000010000000000000002") is None


def test_nothing_behind_a_gap_is_replayed(tmp_path: Path) -> None:
    got = reader(tmp_path, {(SEGMENT, SEGMENT + 4): b"abcd", (SEGMENT + 8, SEGMENT + 10): b"zz"})
    segment = got.segment("000000010000000000000001")
    assert segment is not None
    assert b"zz" not in segment
    late = reader(tmp_path / "late", {(SEGMENT + 8, SEGMENT + 10): b"zz"})
    assert late.segment("000000010000000000000001") is None


def test_a_chunk_of_another_size_than_its_name_is_damage(tmp_path: Path) -> None:
    got = reader(tmp_path, {(SEGMENT, SEGMENT + 4): b"abc"})
    with pytest.raises(RemoteError, match="size"):
        got.segment("000000010000000000000001")


def test_histories(tmp_path: Path) -> None:
    got = reader(tmp_path, {})
    content = got.history(2)
    assert content is not None
    assert wal.parse_history(content.decode()) == [wal.HistoryEntry(1, 0x3000000)]
    assert got.history(3) is None
    with pytest.raises(RemoteError, match="history"):
        wal.parse_history("nonsense\n")
