"""The promises of ``aeterna_cli.stores.base.objects.ObjectStore``."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from aeterna_cli.errors import ConflictError, RefusedError
from aeterna_cli.stores.base.objects import ObjectStore
from aeterna_cli.stores.object_probe import probe_conditional_writes

RACERS = 8
MIB = 1 << 20


def _keys(store: ObjectStore, prefix: str = "") -> list[str]:
    return [found.key for found in store.list(prefix)]


def stream(store: ObjectStore, key: str, content: bytes, *, die: bool = False) -> None:
    with store.writer(key) as target:
        target.write(content)
        if die:
            raise ZeroDivisionError
        target.commit()


class ObjectStoreConformance:
    """Subclass it with a fixture ``store``: an empty store; and set ``part_bytes``."""

    part_bytes = 5 * MIB

    @pytest.mark.parametrize("content", [b"", b"\0", b"ten bytes!" * 1000])
    def test_what_was_created_is_read(self, store: ObjectStore, content: bytes) -> None:
        created = store.create("a/b.txt", content)
        assert (created.key, created.size) == ("a/b.txt", len(content))
        assert store.read("a/b.txt") == content
        seen = store.info("a/b.txt")
        assert (seen.key, seen.size, seen.etag) == ("a/b.txt", len(content), created.etag)
        assert abs(seen.modified - created.modified) <= timedelta(seconds=2)
        assert list(store.list("")) == [seen]

    def test_a_taken_key_is_never_overwritten(self, store: ObjectStore) -> None:
        store.create("taken", b"first")
        with pytest.raises(ConflictError) as caught:
            store.create("taken", b"second")
        assert caught.value.code == "object_exists"
        with pytest.raises(ConflictError) as caught:
            stream(store, "taken", b"third")
        assert caught.value.code == "object_exists"
        assert store.read("taken") == b"first"

    def test_replace_changes_the_version_it_names_only(self, store: ObjectStore) -> None:
        first = store.create("lease", b"one")
        second = store.replace("lease", b"two", etag=first.etag)
        assert store.read("lease") == b"two"
        assert store.info("lease").etag == second.etag != first.etag
        with pytest.raises(ConflictError) as caught:
            store.replace("lease", b"three", etag=first.etag)
        assert caught.value.code == "object_changed"
        assert store.read("lease") == b"two"

    def test_replacing_what_is_gone_fails(self, store: ObjectStore) -> None:
        first = store.create("lease", b"one")
        store.delete(["lease"])
        with pytest.raises((ConflictError, RefusedError)) as caught:
            store.replace("lease", b"two", etag=first.etag)
        assert caught.value.code in ("object_changed", "object_missing")
        assert _keys(store) == []

    def test_of_racing_writers_one_wins(self, store: ObjectStore) -> None:
        start = threading.Barrier(RACERS)

        def race(number: int) -> bytes | None:
            content = bytes([number]) * 64
            start.wait()
            try:
                stream(store, "race/streamed", content)
            except ConflictError:
                return None
            return content

        with ThreadPoolExecutor(RACERS) as pool:
            won = [content for content in pool.map(race, range(RACERS)) if content]
        assert won == [store.read("race/streamed")]

    def test_conditional_writes_hold(self, store: ObjectStore) -> None:
        assert list(probe_conditional_writes(store)) == []
        assert _keys(store) == []

    @pytest.mark.parametrize("difference", [-1, 0, 1, 6 * MIB])
    def test_a_streamed_object_is_whole(self, store: ObjectStore, difference: int) -> None:
        size = self.part_bytes + difference
        content = bytes(range(251)) * (size // 251 + 1)
        content = content[:size]
        with store.writer("large") as target:
            position = 0
            for step in (1, 65_537, 3 * MIB, size):  # odd steps across the borders of parts
                block = memoryview(content)[position : position + step]
                assert target.write(block) == len(block)
                position += len(block)
            assert _keys(store) == []
            info = target.commit()
        assert info.size == size
        with store.reader("large") as source:
            assert source.read(10) == content[:10]
            assert source.read() == content[10:]
        assert store.info("large") == info

    def test_leaving_without_commit_leaves_nothing(self, store: ObjectStore) -> None:
        with store.writer("left") as target:
            target.write(b"x" * (2 * self.part_bytes + 1))
        with store.writer("taken") as target:
            target.write(b"x" * (2 * self.part_bytes + 1))
            store.create("taken", b"by somebody else")
            with pytest.raises(ConflictError) as caught:
                target.commit()
        assert caught.value.code == "object_exists"
        assert store.delete(["taken"]) == 1
        with pytest.raises(ZeroDivisionError):
            stream(store, "left", b"x" * (2 * self.part_bytes + 1), die=True)
        assert _keys(store) == []
        assert store.abort_stale_uploads(timedelta(seconds=-5)) == 0

    def test_an_empty_stream_is_an_empty_object(self, store: ObjectStore) -> None:
        with store.writer("empty") as target:
            target.commit()
        assert store.read("empty") == b""

    def test_what_is_missing_is_said_to_be(self, store: ObjectStore) -> None:
        for ask in (store.read, store.info, store.reader):
            with pytest.raises(RefusedError) as caught:
                ask("not/there")
            assert caught.value.code == "object_missing"
            assert "not/there" in caught.value.message

    def test_a_listing_is_in_key_order(self, store: ObjectStore) -> None:
        keys = ["a-b", "a.b/c", "a/b", "a/c/d", "a/c=1", "ab", "b"]
        for key in reversed(keys):
            store.create(key, key.encode())
        assert _keys(store) == keys == sorted(keys)
        assert _keys(store, "a/") == ["a/b", "a/c/d", "a/c=1"]
        assert _keys(store, "a") == keys[:-1]
        assert _keys(store, "a/c") == ["a/c/d", "a/c=1"]
        assert _keys(store, "c") == []
        assert [found.size for found in store.list("a/c/")] == [5]

    def test_folders_are_the_next_part(self, store: ObjectStore) -> None:
        for key in ("top", "a/b/c", "a/b/d", "a/e", "a.x/y"):
            store.create(key, b"")
        assert sorted(store.list_folders("")) == ["a", "a.x"]
        assert list(store.list_folders("a/")) == ["b"]
        assert list(store.list_folders("a/b/")) == []
        assert list(store.list_folders("none/")) == []

    def test_deleting_counts_and_forgives(self, store: ObjectStore) -> None:
        for key in ("a/1", "a/2", "b"):
            store.create(key, b"x")
        assert store.delete(iter(["a/1", "never/there", "b"])) == 3
        assert _keys(store) == ["a/2"]
        assert store.delete(["a/2"]) == 1
        assert list(store.list_folders("")) == []
        assert store.delete([]) == 0
        store.create("a/1", b"again")

    @pytest.mark.parametrize(
        "key", ["", "/a", "a/", "a//b", "../a", "a/..", ".a", "a b", "ä", "a\n"]
    )
    def test_a_bad_key_is_a_programming_error(self, store: ObjectStore, key: str) -> None:
        for use in (store.read, store.info, store.reader, lambda bad: store.create(bad, b"")):
            with pytest.raises(ValueError, match="not an object key"):
                use(key)
        with pytest.raises(ValueError, match="not an object key"):
            store.delete([key])
        with pytest.raises(ValueError, match="not an object key"), store.writer(key):
            pass

    def test_the_clock_has_an_offset_and_goes_forward(self, store: ObjectStore) -> None:
        first = store.now()
        assert first.utcoffset() is not None
        assert abs(first - datetime.now(UTC)) < timedelta(minutes=1)  # one machine, one clock
        assert store.now() >= first

    def test_the_description_names_the_place(self, store: ObjectStore) -> None:
        assert store.description
        assert "secret" not in store.description
