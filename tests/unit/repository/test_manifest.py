"""Manifests: what is written is read, and a hostile one is refused before it is used."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeterna_cli.errors import (
    AeternaError,
    DegradedError,
    ExitCode,
    RefusedError,
    RemoteError,
    TransientError,
    UsageError,
)
from aeterna_cli.repository import canonical, catalogue, inventory, layout
from aeterna_cli.repository.manifest import Scope, commit, incomplete, load, read_manifest
from aeterna_cli.repository.repository import Repository, RepositoryInfo
from aeterna_cli.repository.signing import SigningKey
from aeterna_cli.stores.base.objects import ObjectInfo
from aeterna_cli.stores.directory_store import DirectoryStore
from tests.unit.repository.given import (
    BACKUP,
    START,
    Person,
    flipped,
    manifest,
    sealed,
    tampered,
)

LATER = "20261124T030000Z-0a1b2c"
NEWEST = "20261125T030000Z-0a1b2c"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


def info() -> RepositoryInfo:
    key = SigningKey.generate().public
    return RepositoryInfo("0b4b6f5e-0000-4000-8000-000000000000", "1.0", "prod-eu", START, key)


def refusal(data: bytes) -> AeternaError:
    with pytest.raises(AeternaError) as caught:
        read_manifest(data)
    return caught.value


@settings(max_examples=40, deadline=None)
@given(facts=st.dictionaries(st.text(max_size=9), json_values), note=st.text(max_size=40))
def test_what_was_written_is_read(facts: dict[str, Any], note: str) -> None:
    one = manifest(Repository(DirectoryStore(None), info()), digests=facts, note=note)  # type: ignore[arg-type]  # no store is touched
    data = one.as_bytes()
    assert read_manifest(data) == one
    assert read_manifest(data).as_bytes() == data


def test_fields_of_a_newer_minor_are_kept(
    repository: Repository, store: DirectoryStore, person: Person
) -> None:
    document = json.loads(manifest(repository, sealed(store, person, b"text")).as_bytes())
    document["format"] = "1.4"
    document["invented"] = {"later": [1, 2]}
    document["recovery_point"]["precision"] = "1ms"
    document["stores"]["postgres"]["volumes"][0]["parts"][0]["blake3"] = "ab"
    data = canonical.as_bytes(document)
    assert read_manifest(data).as_bytes() == data


def test_a_newer_major_is_refused(repository: Repository) -> None:
    data = manifest(repository).as_bytes().replace(b"manifest/1", b"manifest/2")
    error = refusal(data)
    assert (error.code, error.exit_code) == ("manifest_too_new", ExitCode.REFUSED)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "other/1"},
        {"schema": None},
        {"backup": "../x"},
        {"backup": 7},
        {"created": "2026-11-23T03:00:00"},
        {"stores": []},
        {"stores": {"postgres": {}}},
        {"recovery_point": None},
        {"label": {"a": 7}},
    ],
)
def test_what_is_no_manifest_is_refused(repository: Repository, change: dict[str, Any]) -> None:
    document = {**json.loads(manifest(repository).as_bytes()), **change}
    assert refusal(canonical.as_bytes(document)).code == "manifest_invalid"


@pytest.mark.parametrize("data", [b"", b"[]", b"nonsense", b"{}", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    assert refusal(data).code == "manifest_invalid"


@pytest.mark.parametrize(
    "key",
    [
        f"backups/{LATER}/postgres/base.tar.zst.age.00000",
        f"backups/{BACKUP}/qdrant/base.tar.zst.age.00000",
        f"backups/{BACKUP}/postgres/../../{LATER}/postgres/base.tar.zst.age.00000",
        f"backups/{BACKUP}/../../../etc/base.tar.zst.age.00000",
        "../base.tar.zst.age.00000",
        "/etc/base.tar.zst.age.00000",
        "wal/7/base.tar.zst.age.00000",
        f"backups/{BACKUP}/manifest.json",
        f"backups/{BACKUP}/slots/0.json",
    ],
)
def test_a_manifest_cannot_name_objects_that_are_not_its_own(
    repository: Repository, store: DirectoryStore, person: Person, key: str
) -> None:
    document = json.loads(manifest(repository, sealed(store, person, b"text")).as_bytes())
    document["stores"]["postgres"]["volumes"][0]["parts"][0]["key"] = key
    assert refusal(canonical.as_bytes(document)).code == "manifest_invalid"


@pytest.mark.parametrize("name", ["..", "../" + LATER, "", "."])
def test_a_store_is_no_way_out_either(
    repository: Repository, store: DirectoryStore, person: Person, name: str
) -> None:
    document = json.loads(manifest(repository, sealed(store, person, b"text")).as_bytes())
    part = document["stores"].pop("postgres")
    record = part["volumes"][0]["parts"][0]
    record["key"] = record["key"].replace("/postgres/", f"/{name}/")
    document["stores"][name] = part
    assert refusal(canonical.as_bytes(document)).code == "manifest_invalid"


def test_no_volume_counts_twice(
    repository: Repository, store: DirectoryStore, person: Person
) -> None:
    record = sealed(store, person, b"text")
    with pytest.raises(ValueError, match="is no part of"):
        manifest(repository, record, record)


# -- committed, listed, loaded


def test_a_committed_backup_is_listed_and_loaded(
    repository: Repository, signing_key: SigningKey, store: DirectoryStore, person: Person
) -> None:
    record = sealed(store, person, b"text" * 999)
    assert incomplete(repository) == [BACKUP]
    one = manifest(repository, record, label={"reason": "upgrade"}, degraded=("no digests",))
    commit(repository, one, signing_key)
    assert load(repository, BACKUP) == load(repository, "latest") == one
    (entry,) = repository.backups()
    assert (entry.backup, entry.catalogued, entry.held, entry.fault) == (BACKUP, True, False, "")
    assert entry.summary["label"] == {"reason": "upgrade"}
    assert entry.summary["plain_bytes"] == 4 * 999
    assert entry.summary["stored_bytes"] == record.stored_bytes
    assert entry.summary["recovery_point"]["lsn"] == "0/3000028"
    assert (entry.summary["degraded"], entry.summary["stores"]) == (1, ["postgres"])
    assert incomplete(repository) == []


def test_the_newest_is_the_latest(repository: Repository, signing_key: SigningKey) -> None:
    for backup in (NEWEST, BACKUP, LATER):
        commit(repository, manifest(repository, backup=backup), signing_key)
    assert [entry.backup for entry in repository.backups()] == [BACKUP, LATER, NEWEST]
    assert load(repository, "latest").backup == NEWEST


def test_a_tenants_backup_is_never_the_latest_of_the_deployment(
    repository: Repository, signing_key: SigningKey
) -> None:
    mine = Scope(tenant="t-1", slug="acme-corp", name='Acme "&" 100%')
    other = Scope(tenant="t-2", slug="acme_corp", name="Acme, the other")
    commit(repository, manifest(repository, backup=LATER, scope=mine, stores={}), signing_key)
    with pytest.raises(RefusedError) as caught:
        load(repository, "latest")
    assert caught.value.code == "no_backups"
    commit(repository, manifest(repository), signing_key)
    commit(repository, manifest(repository, backup=NEWEST, scope=other, stores={}), signing_key)
    assert load(repository, "latest").backup == BACKUP
    assert load(repository, "latest", tenant="t-1").scope == mine
    assert load(repository, "latest", tenant="t-3").backup == BACKUP
    assert [entry.tenant for entry in repository.backups()] == [None, "t-1", "t-2"]


def test_a_manifest_of_the_first_minor_has_no_scope(repository: Repository) -> None:
    document = json.loads(manifest(repository).as_bytes())
    del document["scope"]
    document["format"] = "1.0"
    assert read_manifest(canonical.as_bytes(document)).tenant is None


def test_without_a_backup_there_is_no_latest(repository: Repository) -> None:
    with pytest.raises(RefusedError) as caught:
        load(repository, "latest")
    assert caught.value.code == "no_backups"
    with pytest.raises(RefusedError) as caught:
        load(repository, BACKUP)
    assert caught.value.code == "backup_missing"
    with pytest.raises(UsageError):
        load(repository, "../repository")


class Recording(DirectoryStore):
    """Remembers the order of writes; fails at the first key that contains ``fails_at``."""

    fails_at = "nothing"

    def __init__(self, root: Any) -> None:
        super().__init__(root)
        self.created: list[str] = []

    def create(self, key: str, data: bytes) -> ObjectInfo:
        if self.fails_at in key:
            raise TransientError("gone", "the repository went away")
        self.created.append(key)
        return super().create(key, data)


@pytest.fixture
def recording(store: DirectoryStore, repository: Repository) -> Repository:
    from pathlib import Path

    return Repository(Recording(Path(store.description)), repository.info)


def recorder(repository: Repository) -> Recording:
    assert isinstance(repository.store, Recording)
    return repository.store


def test_the_manifest_is_the_mark_and_the_catalogue_comes_last(
    recording: Repository, signing_key: SigningKey
) -> None:
    commit(recording, manifest(recording), signing_key)
    assert recorder(recording).created == [
        layout.signature_key(BACKUP),
        layout.manifest_key(BACKUP),
        layout.catalogue_key(1),
    ]


@pytest.mark.parametrize("fails_at", [layout.SIGNATURE, layout.MANIFEST])
def test_a_commit_that_fails_lists_nothing(
    recording: Repository, signing_key: SigningKey, fails_at: str
) -> None:
    recorder(recording).fails_at = fails_at
    with pytest.raises(TransientError):
        commit(recording, manifest(recording), signing_key)
    assert list(recording.backups()) == []
    recorder(recording).fails_at = "nothing"
    commit(recording, manifest(recording), signing_key)
    assert len(recording.backups()) == 1


def test_a_backup_without_its_catalogue_record_is_listed_and_repaired(
    recording: Repository, signing_key: SigningKey
) -> None:
    recorder(recording).fails_at = layout.CATALOGUE
    with pytest.raises(DegradedError) as caught:
        commit(recording, manifest(recording, note="kept"), signing_key)
    assert caught.value.code == "catalogue_behind"
    assert caught.value.details == {"backup": BACKUP, "cause": "gone"}
    recorder(recording).fails_at = "nothing"
    (entry,) = recording.backups()
    assert (entry.catalogued, entry.summary["note"]) == (False, "kept")
    assert inventory.repair(recording) == [BACKUP]
    (repaired,) = recording.backups()
    assert repaired.catalogued
    assert repaired.summary == entry.summary
    assert inventory.repair(recording) == []


def test_a_manifest_nobody_signed_is_listed_as_a_fault_and_never_the_latest(
    repository: Repository, signing_key: SigningKey, store: DirectoryStore
) -> None:
    commit(repository, manifest(repository), signing_key)
    store.create(layout.manifest_key(LATER), manifest(repository, backup=LATER).as_bytes())
    store.create(layout.manifest_key(NEWEST), manifest(repository, backup=NEWEST).as_bytes())
    store.create(layout.signature_key(NEWEST), bytes(64))
    entries = repository.backups()
    assert [(entry.backup, bool(entry.fault)) for entry in entries] == [
        (BACKUP, False),
        (LATER, True),
        (NEWEST, True),
    ]
    assert load(repository, "latest").backup == BACKUP
    assert inventory.repair(repository) == []
    assert incomplete(repository) == []  # nobody may delete them for that


def test_a_folder_without_a_manifest_is_no_backup(
    repository: Repository, signing_key: SigningKey, store: DirectoryStore
) -> None:
    commit(repository, manifest(repository), signing_key)
    store.create(f"backups/{LATER}/postgres/base.tar.zst.age.00000", b"x")
    store.create("backups/notes/readme.txt", b"x")
    assert [entry.backup for entry in repository.backups()] == [BACKUP]
    assert incomplete(repository) == [LATER]
    store.delete([layout.manifest_key(BACKUP)])
    assert list(repository.backups()) == []
    assert incomplete(repository) == [BACKUP, LATER]


def test_a_pruned_backup_is_gone_even_where_files_are_left(
    repository: Repository, signing_key: SigningKey, store: DirectoryStore
) -> None:
    commit(repository, manifest(repository), signing_key)
    catalogue.append(store, "pruned", BACKUP, time=START)
    assert list(repository.backups()) == []
    assert incomplete(repository) == [BACKUP]
    assert [entry.backup for entry in inventory.pruned(repository)] == [BACKUP]


@pytest.mark.parametrize("suffix", [layout.MANIFEST, layout.SIGNATURE])
@pytest.mark.parametrize("place", [0, 40, -1])
def test_a_changed_manifest_or_signature_is_refused(
    repository: Repository,
    signing_key: SigningKey,
    store: DirectoryStore,
    suffix: str,
    place: int,
) -> None:
    commit(repository, manifest(repository), signing_key)
    tampered(store, f"backups/{BACKUP}/{suffix}", flipped(place))
    with pytest.raises(RemoteError) as caught:
        load(repository, BACKUP)
    assert caught.value.code == "signature_invalid"


def test_a_missing_signature_is_refused(
    repository: Repository, signing_key: SigningKey, store: DirectoryStore
) -> None:
    commit(repository, manifest(repository), signing_key)
    store.delete([layout.signature_key(BACKUP)])
    with pytest.raises(RemoteError) as caught:
        load(repository, BACKUP)
    assert (caught.value.code, caught.value.details) == (
        "signature_invalid",
        {"key": layout.signature_key(BACKUP)},
    )


def test_a_manifest_copied_into_another_folder_is_refused(
    repository: Repository, signing_key: SigningKey, store: DirectoryStore
) -> None:
    commit(repository, manifest(repository), signing_key)
    for key in (layout.MANIFEST, layout.SIGNATURE):
        store.create(f"backups/{LATER}/{key}", store.read(f"backups/{BACKUP}/{key}"))
    with pytest.raises(RemoteError) as caught:
        load(repository, LATER)
    assert caught.value.code == "manifest_invalid"
    assert load(repository, "latest").backup == BACKUP


@pytest.mark.parametrize("field", ["repository", "deployment"])
def test_a_manifest_of_another_repository_is_never_committed(
    repository: Repository, signing_key: SigningKey, store: DirectoryStore, field: str
) -> None:
    one = manifest(repository).model_copy(update={field: "somebody else's"})
    with pytest.raises(RemoteError) as caught:
        commit(repository, one, signing_key)
    assert caught.value.code == "manifest_invalid"
    assert list(store.list("backups/")) == []


def test_another_signing_key_is_refused_before_anything_is_written(
    repository: Repository, store: DirectoryStore
) -> None:
    with pytest.raises(RefusedError) as caught:
        commit(repository, manifest(repository), SigningKey.generate())
    assert caught.value.code == "signing_key_foreign"
    assert list(store.list("backups/")) == []


def test_a_backup_id_is_never_committed_twice(
    repository: Repository, signing_key: SigningKey
) -> None:
    commit(repository, manifest(repository), signing_key)
    with pytest.raises(AeternaError) as caught:
        commit(repository, manifest(repository, note="another"), signing_key)
    assert caught.value.code == "object_exists"
    assert load(repository, BACKUP).note == ""


def test_a_store_that_cannot_be_read_is_not_an_empty_one(
    repository: Repository, signing_key: SigningKey, store: DirectoryStore
) -> None:
    class Locked(DirectoryStore):
        def read(self, key: str) -> bytes:
            raise RefusedError("repository_not_writable", "no permission")

        def info(self, key: str) -> ObjectInfo:
            raise RefusedError("repository_not_writable", "no permission")

    from pathlib import Path

    commit(repository, manifest(repository), signing_key)
    locked = Repository(Locked(Path(store.description)), repository.info)
    for call in (locked.backups, lambda: load(locked, BACKUP), lambda: inventory._folders(locked)):
        with pytest.raises(RefusedError) as caught:
            call()
        assert caught.value.code == "repository_not_writable"


def test_the_window_of_a_store_is_kept(repository: Repository) -> None:
    part = read_manifest(manifest(repository).as_bytes()).stores["postgres"]
    assert part.window.end - part.window.start == timedelta(minutes=1)
