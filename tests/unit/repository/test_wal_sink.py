"""WAL into chunks: nothing counts before the repository has it."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeterna_cli.errors import RemoteError, TransientError
from aeterna_cli.repository import wal_sink
from aeterna_cli.repository.wal_archive import SegmentReader, list_chunks
from aeterna_cli.repository.wal_sink import ChunkSink
from aeterna_cli.stores.base.objects import ObjectInfo
from aeterna_cli.stores.directory_store import DirectoryStore

SIZE = 1 << 20


class Flaky(DirectoryStore):
    """A directory whose writes fail while ``broken``."""

    broken = False

    def create(self, key: str, data: bytes) -> ObjectInfo:
        if self.broken:
            raise TransientError("gone", "the repository went away")
        return super().create(key, data)


def sink(store: DirectoryStore) -> ChunkSink:
    return ChunkSink(store, "wal/1", segment_size=SIZE, seal=lambda plain: b"S" + plain)


def unseal(_key: str, sealed: bytes) -> bytes:
    assert sealed[:1] == b"S"
    return sealed[1:]


@given(st.lists(st.integers(1, SIZE), min_size=1, max_size=6), st.integers(0, SIZE - 1))
def test_what_goes_in_comes_out_as_segments(sizes: list[int], offset: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        store = DirectoryStore(Path(folder))
        target, position, written = sink(store), 5 * SIZE + offset, b""
        target.begin(1, position)
        begin = position
        for number, size in enumerate(sizes):
            block = bytes([number + 1]) * size
            target.write(position, memoryview(block))
            position += size
            written += block
        target.flush()
        assert target.flushed == position
        chunks = list_chunks(store, "wal/1")
        assert all(chunk.end - chunk.start <= wal_sink.MAX_CHUNK for chunk in chunks)
        assert sum(chunk.end - chunk.start for chunk in chunks) == len(written)
        reader = SegmentReader(store, ["wal/1"], SIZE, unseal)
        for chunk in chunks:
            if chunk.start % SIZE == 0:
                segment = reader.segment(chunk.segment)
                assert segment is not None
                at = chunk.start - begin
                assert segment.startswith(written[at : at + chunk.end - chunk.start])


def test_nothing_is_flushed_before_the_repository_has_it(tmp_path: Path) -> None:
    store = Flaky(tmp_path)
    target = sink(store)
    target.begin(1, SIZE)
    target.write(SIZE, memoryview(b"abc"))
    assert target.flushed == SIZE
    store.broken = True
    with pytest.raises(TransientError):
        target.flush()
    assert target.flushed == SIZE
    store.broken = False
    target.flush()
    assert target.flushed == SIZE + 3


def test_a_chunk_that_is_there_from_before_a_crash_counts(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    for _ in range(2):
        target = sink(store)
        target.begin(1, SIZE)
        target.write(SIZE, memoryview(b"abc"))
        target.history(2, "00000002.history", b"1\t0/1\tx\n")
        target.flush()
        assert target.flushed == SIZE + 3
    assert len(list_chunks(store, "wal/1")) == 1


def test_old_chunks_are_stored_by_the_tick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(wal_sink, "monotonic", lambda: now[0])
    target = sink(DirectoryStore(tmp_path))
    target.begin(1, SIZE)
    target.write(SIZE, memoryview(b"abc"))
    now[0] += wal_sink.MAX_AGE - 0.1
    target.tick()
    assert target.flushed == SIZE
    now[0] += 0.2
    target.tick()
    assert target.flushed == SIZE + 3


def test_a_hole_in_the_stream_is_a_fault(tmp_path: Path) -> None:
    target = sink(DirectoryStore(tmp_path))
    target.begin(1, SIZE)
    with pytest.raises(RemoteError, match="expected"):
        target.write(SIZE + 8, memoryview(b"abc"))


def test_a_new_timeline_begins_with_what_was_pending_stored(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    target = sink(store)
    target.begin(1, SIZE)
    target.write(SIZE, memoryview(b"abc"))
    target.begin(2, SIZE + 1)
    assert [(c.timeline, c.start, c.end) for c in list_chunks(store, "wal/1")] == [
        (1, SIZE, SIZE + 3)
    ]
    assert target.flushed == SIZE + 1
