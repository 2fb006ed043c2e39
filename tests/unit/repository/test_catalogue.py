"""The catalogue: append-only, chained, and every change to it is seen."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.errors import ConflictError, RefusedError, RemoteError
from aeterna_cli.repository import catalogue, layout
from aeterna_cli.repository.catalogue import append
from aeterna_cli.stores.base.objects import ObjectInfo
from aeterna_cli.stores.directory_store import DirectoryStore
from tests.unit.repository.given import START, swapped, tampered

IDS = [f"2026112{day}T030000Z-0a1b2c" for day in range(5)]


def filled(store: DirectoryStore) -> None:
    for backup in IDS[:3]:
        append(store, "added", backup, time=START, actor="ada", summary={"stored_bytes": 7})
    append(store, "held", IDS[1], time=START, reason="legal case 7")
    append(store, "pruned", IDS[0], time=START)


def damaged(store: DirectoryStore) -> Any:
    with pytest.raises(RemoteError) as caught:
        catalogue.read(store)
    assert caught.value.code == "catalogue_damaged"
    with pytest.raises(RemoteError):
        append(store, "added", IDS[4], time=START)
    return caught.value.details["key"]


def test_an_empty_catalogue_is_sound(store: DirectoryStore) -> None:
    chain = catalogue.read(store)
    assert (chain.records, chain.entries(), chain.head) == ((), [], catalogue.NOTHING_BEFORE)


def test_what_was_appended_is_read(store: DirectoryStore) -> None:
    filled(store)
    chain = catalogue.read(store)
    assert [record.sequence for record in chain.records] == [1, 2, 3, 4, 5]
    assert [record.kind for record in chain.records[3:]] == ["held", "pruned"]
    assert chain.records[3].reason == "legal case 7"
    entries = chain.entries()
    assert [(entry.backup, entry.held, entry.pruned) for entry in entries] == [
        (IDS[0], False, True),
        (IDS[1], True, False),
        (IDS[2], False, False),
    ]
    assert entries[2].summary == {"stored_bytes": 7}
    assert entries[2].created == layout.parse_backup_id(IDS[2])
    append(store, "released", IDS[1], time=START)
    assert not catalogue.read(store).entries()[1].held


def test_entries_are_in_order_of_time_not_of_arrival(store: DirectoryStore) -> None:
    for backup in (IDS[2], IDS[0], IDS[1]):
        append(store, "added", backup, time=START)
    append(store, "added", IDS[1], time=START, summary={"again": True})
    append(store, "held", IDS[3], time=START)  # of a backup that nobody ever added
    entries = catalogue.read(store).entries()
    assert [entry.backup for entry in entries] == IDS[:3]
    assert entries[1].summary == {}


def test_a_removed_record_is_named(store: DirectoryStore) -> None:
    filled(store)
    store.delete([layout.catalogue_key(2)])
    assert damaged(store) == layout.catalogue_key(2)


def test_swapped_records_are_named(store: DirectoryStore) -> None:
    filled(store)
    swapped(store, layout.catalogue_key(2), layout.catalogue_key(3))
    assert damaged(store) == layout.catalogue_key(2)


def test_a_changed_record_breaks_the_one_after_it(store: DirectoryStore) -> None:
    filled(store)
    tampered(store, layout.catalogue_key(2), lambda data: data.replace(b'"ada"', b'"eve"'))
    assert damaged(store) == layout.catalogue_key(3)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "vanished"},
        {"backup": "../x"},
        {"time": "now"},
        {"summary": 7},
        {"schema": "other/1"},
        {"schema": 1},
        {"backup": None},
    ],
)
def test_a_record_that_is_none_is_named(store: DirectoryStore, changes: dict[str, Any]) -> None:
    filled(store)
    key = layout.catalogue_key(4)
    tampered(store, key, lambda data: json.dumps({**json.loads(data), **changes}).encode())
    assert damaged(store) == key


def test_what_is_no_json_is_named(store: DirectoryStore) -> None:
    filled(store)
    for content in (b"", b"[]", b"{}"):
        Path(store.description, layout.catalogue_key(1)).write_bytes(content)
        assert damaged(store) == layout.catalogue_key(1)


def test_a_newer_format_is_refused(store: DirectoryStore) -> None:
    filled(store)
    key = layout.catalogue_key(5)
    tampered(store, key, lambda data: data.replace(b"catalogue/1", b"catalogue/2"))
    with pytest.raises(RefusedError) as caught:
        catalogue.read(store)
    assert caught.value.code == "catalogue_too_new"


def test_other_objects_are_ignored(store: DirectoryStore) -> None:
    filled(store)
    store.create("catalogue/notes.txt", b"hello")
    assert len(catalogue.read(store).records) == 5


def test_an_id_that_is_none_is_never_appended(store: DirectoryStore) -> None:
    with pytest.raises(Exception, match="not a backup id"):
        append(store, "added", "../x", time=START)
    assert list(store.list("")) == []


def test_of_racing_writers_all_are_recorded_once(store: DirectoryStore) -> None:
    together = threading.Barrier(6)

    def race(number: int) -> int:
        together.wait()
        backup = f"20261123T03000{number}Z-0a1b2c"
        return append(store, "added", backup, time=START).sequence

    with ThreadPoolExecutor(6) as racers:
        numbers = sorted(racers.map(race, range(6)))
    assert numbers == [1, 2, 3, 4, 5, 6]
    assert len(catalogue.read(store).entries()) == 6


class Contended(DirectoryStore):
    """Somebody else is always first."""

    fault = "object_exists"

    def create(self, key: str, data: bytes) -> ObjectInfo:
        if self.fault != "object_exists":
            raise ConflictError(self.fault, "something else")
        document = json.loads(data)
        super().create(key, json.dumps({**document, "nonce": "theirs"}).encode())
        raise ConflictError("object_exists", f"{key} exists already")


def test_whoever_always_loses_gives_up(store: DirectoryStore) -> None:
    busy = Contended(Path(store.description))
    with pytest.raises(ConflictError) as caught:
        append(busy, "added", IDS[0], time=START)
    assert caught.value.code == "catalogue_contended"


def test_another_conflict_is_not_a_race(store: DirectoryStore, tmp_path: Path) -> None:
    filled(store)
    busy = Contended(Path(store.description))
    busy.fault = "object_locked"
    with pytest.raises(ConflictError) as caught:
        append(busy, "added", IDS[4], time=START)
    assert caught.value.code == "object_locked"
