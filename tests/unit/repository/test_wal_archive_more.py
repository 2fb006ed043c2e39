"""WAL that is not as it should be: strange names, histories, and servers that repeat themselves."""

from pathlib import Path

import pytest

from aeterna_cli.errors import ConflictError, RemoteError
from aeterna_cli.repository import wal_archive as wal
from aeterna_cli.repository.wal_sink import ChunkSink
from aeterna_cli.stores.base.objects import ObjectInfo
from aeterna_cli.stores.directory_store import DirectoryStore

SIZE = 1 << 20
FOLDER = "wal/1"


def reader(store: DirectoryStore) -> wal.SegmentReader:
    return wal.SegmentReader(store, [FOLDER], SIZE, lambda _key, sealed: sealed)


@pytest.mark.parametrize(
    ("start", "end"), [(SIZE - 8, SIZE + 8), (2 * SIZE - 8, 2 * SIZE + 8), (3 * SIZE, 3 * SIZE + 8)]
)
def test_a_chunk_outside_of_its_segment_is_refused(
    start: int, end: int, store: DirectoryStore
) -> None:
    """Its bytes would land in another place than its name says, or make the segment longer."""
    name = wal.segment_name(1, SIZE, SIZE)
    store.create(wal.chunk_key(FOLDER, 1, SIZE, SIZE + 64, SIZE), b"W" * 64)
    store.create(f"{FOLDER}/00000001/{name}/{start:016X}-{end:016X}", b"X" * (end - start))
    with pytest.raises(RemoteError, match="outside of its segment") as raised:
        reader(store).segment(name)
    assert raised.value.code == "wal_chunk_damaged"


def test_a_chunk_of_another_size_than_its_name_is_refused(store: DirectoryStore) -> None:
    store.create(wal.chunk_key(FOLDER, 1, SIZE, SIZE + 64, SIZE), b"W" * 65)
    with pytest.raises(RemoteError, match="has not the size it says"):
        reader(store).segment(wal.segment_name(1, SIZE, SIZE))


def test_a_history_is_read_with_its_comments() -> None:
    text = "# made by hand\n\n1\t0/3000000\tno recovery target specified\n2\t0/4000028\tx\n"
    assert wal.parse_history(text) == [
        wal.HistoryEntry(1, 0x3000000),
        wal.HistoryEntry(2, 0x4000028),
    ]


@pytest.mark.parametrize("line", ["one\t0/3000000\tx", "1", "1\tnowhere\tx"])
def test_a_damaged_history_is_refused(line: str) -> None:
    with pytest.raises(RemoteError) as raised:
        wal.parse_history(line)
    assert raised.value.code == "history_damaged"


def test_timelines_are_those_with_a_history_file(store: DirectoryStore) -> None:
    for timeline in (3, 2):
        store.create(wal.history_key(FOLDER, timeline), b"1\t0/3000000\tx\n")
    store.create(f"{FOLDER}/00000004/00000005.history", b"misplaced")
    store.create(wal.chunk_key(FOLDER, 9, 0, 8, SIZE), b"W" * 8)
    assert wal.timelines(store, FOLDER) == [2, 3]
    assert reader(store).history(2) == b"1\t0/3000000\tx\n"
    assert reader(store).history(4) is None


def test_what_was_stored_before_a_crash_is_told_as_stored(store: DirectoryStore) -> None:
    """The second receiver learns the bytes that are there, not those that it sealed anew."""
    told: list[tuple[str, int, int, bytes]] = []

    def sink(mark: bytes) -> ChunkSink:
        return ChunkSink(
            store,
            FOLDER,
            segment_size=SIZE,
            seal=lambda plain: mark + plain,
            on_chunk=lambda *chunk: told.append(chunk),
        )

    for mark in (b"1", b"2"):
        target = sink(mark)
        target.history(2, "00000002.history", b"x")
        target.begin(2, SIZE)
        target.write(SIZE, memoryview(b"wal"))
        assert (target.timeline, target.position, target.flushed) == (2, SIZE + 3, SIZE)
        target.flush()
    chunk = wal.chunk_key(FOLDER, 2, SIZE, SIZE + 3, SIZE)
    stored = [(wal.history_key(FOLDER, 2), 0, 0, b"1x"), (chunk, SIZE, SIZE + 3, b"1wal")]
    assert told == stored * 2


def test_another_conflict_than_an_existing_object_is_raised(tmp_path: Path) -> None:
    class Locked(DirectoryStore):
        def create(self, key: str, data: bytes) -> ObjectInfo:
            raise ConflictError("locked", f"{key} is locked")

    target = ChunkSink(Locked(tmp_path), FOLDER, segment_size=SIZE, seal=lambda plain: plain)
    target.begin(1, SIZE)
    target.write(SIZE, memoryview(b"wal"))
    for attempt in (target.flush, lambda: target.history(2, "", b"x")):
        with pytest.raises(ConflictError, match="locked"):
            attempt()
    assert target.flushed == SIZE
