"""From where WAL is received, over timelines and gaps."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from aeterna_cli.errors import RemoteError
from aeterna_cli.repository.wal_archive import chunk_key
from aeterna_cli.stores.directory_store import DirectoryStore
from aeterna_cli.workflows.backup.wal_position import (
    Gap,
    Line,
    lines,
    list_gaps,
    next_wanted,
    note_gap,
    on_life,
    stored_end,
)

SIZE = 1 << 20
FOLDER = "wal/7000"
NOW = datetime(2026, 11, 23, tzinfo=UTC)
LIFE = [Line(1, 0, 5 * SIZE + 100), Line(3, 5 * SIZE + 100, 9 * SIZE), Line(4, 9 * SIZE, None)]


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path)


def put(store: DirectoryStore, timeline: int, start: int, end: int) -> None:
    store.create(chunk_key(FOLDER, timeline, start, end, SIZE), b"sealed")


def test_a_life_from_a_history_file() -> None:
    assert lines(4, [(1, 5 * SIZE + 100), (3, 9 * SIZE)]) == LIFE
    assert lines(1, ()) == [Line(1, 0, None)]


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ({}, None),
        ({2: 4 * SIZE}, None),  # a branch that this cluster never took
        ({1: 3 * SIZE}, (1, 3 * SIZE)),
        ({1: 5 * SIZE + 99}, (1, 5 * SIZE + 99)),
        ({1: 5 * SIZE + 100}, (3, 5 * SIZE)),  # a whole segment, under the new name
        ({1: 8 * SIZE}, (3, 5 * SIZE)),  # the dead server had written more
        ({1: 8 * SIZE, 3: 7 * SIZE}, (3, 7 * SIZE)),
        ({1: 8 * SIZE, 3: 9 * SIZE}, (4, 9 * SIZE)),
        ({1: 2 * SIZE, 4: 12 * SIZE + 5}, (4, 12 * SIZE + 5)),
    ],
)
def test_the_first_wal_that_is_not_stored(
    stored: dict[int, int], wanted: tuple[int, int] | None
) -> None:
    assert next_wanted(LIFE, stored.get, SIZE) == wanted


@pytest.mark.parametrize(
    ("position", "start"),
    [
        (5, (1, 0)),
        (5 * SIZE - 1, (1, 4 * SIZE)),
        (5 * SIZE + 1, (3, 5 * SIZE)),
        (9 * SIZE - 1, (3, 8 * SIZE)),
        (9 * SIZE, (4, 9 * SIZE)),
        (20 * SIZE + 7, (4, 20 * SIZE)),
    ],
)
def test_a_stream_begins_with_a_whole_segment(position: int, start: tuple[int, int]) -> None:
    assert on_life(LIFE, position, SIZE) == start


def test_the_end_of_what_is_stored(store: DirectoryStore) -> None:
    assert stored_end(store, FOLDER, 1) is None
    put(store, 1, 0, 500)
    put(store, 1, 3 * SIZE, 3 * SIZE + 10)
    put(store, 1, 3 * SIZE + 10, 3 * SIZE + 90)
    put(store, 2, 8 * SIZE, 9 * SIZE)
    assert stored_end(store, FOLDER, 1) == 3 * SIZE + 90
    put(store, 1, 3 * SIZE + 200, 3 * SIZE + 210)  # behind a hole: received all the same
    assert stored_end(store, FOLDER, 1) == 3 * SIZE + 210


def test_a_noted_gap_counts_as_received_for_the_next_start(store: DirectoryStore) -> None:
    put(store, 1, 0, 500)
    gap = Gap(1, 500, 4 * SIZE)
    note_gap(store, FOLDER, gap, NOW)
    note_gap(store, FOLDER, gap, NOW)
    assert list_gaps(store, FOLDER, 1) == [gap]
    assert stored_end(store, FOLDER, 1) == 4 * SIZE
    put(store, 1, 4 * SIZE, 4 * SIZE + 8)
    assert stored_end(store, FOLDER, 1) == 4 * SIZE + 8
    assert str(gap) == "0/1F4 to 0/400000 on timeline 1"


def test_a_gap_record_of_another_shape(store: DirectoryStore) -> None:
    store.create(f"{FOLDER}/00000001/gaps/nonsense.json", b"{}")
    with pytest.raises(RemoteError) as caught:
        list_gaps(store, FOLDER, 1)
    assert caught.value.code == "wal_gap_damaged"
