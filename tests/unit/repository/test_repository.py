"""A repository belongs to one deployment and says so."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from aeterna_cli.errors import AeternaError, ExitCode, RefusedError, RemoteError, TransientError
from aeterna_cli.repository import layout
from aeterna_cli.repository.once import create_once
from aeterna_cli.repository.repository import FORMAT, Repository
from aeterna_cli.repository.signing import SigningKey
from aeterna_cli.stores.base.objects import ObjectInfo
from aeterna_cli.stores.directory_store import DirectoryStore
from tests.unit.repository.given import tampered


def document(store: DirectoryStore, **changes: Any) -> None:
    def change(data: bytes) -> bytes:
        return json.dumps({**json.loads(data), **changes}).encode("utf-8")

    tampered(store, layout.REPOSITORY, change)


def refused(store: DirectoryStore, deployment: str | None = None) -> AeternaError:
    with pytest.raises(AeternaError) as caught:
        Repository.open(store, deployment=deployment)
    return caught.value


def test_what_was_initialised_is_opened(repository: Repository, signing_key: SigningKey) -> None:
    opened = Repository.open(repository.store, deployment="prod-eu")
    assert opened.info == repository.info
    assert opened.info.format == FORMAT == "1.0"
    assert opened.info.public_key == signing_key.public
    assert opened.info.created.tzinfo is not None
    assert Repository.open(repository.store, deployment=None).info == repository.info
    opened.verify(b"text", signing_key.sign(b"text"))
    with pytest.raises(RemoteError):
        opened.verify(b"text", SigningKey.generate().sign(b"text"))


def test_it_is_initialised_once(repository: Repository, store: DirectoryStore) -> None:
    before = store.read(layout.REPOSITORY)
    with pytest.raises(RefusedError) as caught:
        Repository.initialise(store, deployment="prod-eu", signing_key=SigningKey.generate())
    assert caught.value.code == "repository_exists"
    assert store.read(layout.REPOSITORY) == before


def test_of_several_that_initialise_one_wins(store: DirectoryStore) -> None:
    together = threading.Barrier(6)

    def race(number: int) -> str | None:
        together.wait()
        try:
            made = Repository.initialise(
                store, deployment=f"d{number}", signing_key=SigningKey.generate()
            )
        except RefusedError:
            return None
        return made.info.uuid

    with ThreadPoolExecutor(6) as racers:
        winners = [found for found in racers.map(race, range(6)) if found]
    assert winners == [Repository.open(store, deployment=None).info.uuid]


def test_a_deployment_has_a_name(store: DirectoryStore, signing_key: SigningKey) -> None:
    with pytest.raises(ValueError, match="deployment"):
        Repository.initialise(store, deployment="", signing_key=signing_key)
    assert list(store.list("")) == []


def test_an_empty_place_is_no_repository(store: DirectoryStore) -> None:
    error = refused(store)
    assert error.code == "repository_uninitialised"
    assert error.exit_code == ExitCode.REFUSED
    assert error.next_steps == ("aeterna-cli repository init",)


def test_another_deployment_is_refused(repository: Repository, store: DirectoryStore) -> None:
    error = refused(store, "prod-us")
    assert (error.code, error.exit_code) == ("repository_foreign", ExitCode.REFUSED)
    assert error.details == {"found": "prod-eu", "expected": "prod-us"}


@pytest.mark.parametrize(
    "changes", [{"format": "2.0"}, {"format": "10.3"}, {"schema": "aeterna.repository/2"}]
)
def test_a_newer_major_is_refused(
    repository: Repository, store: DirectoryStore, changes: dict[str, Any]
) -> None:
    document(store, **changes)
    error = refused(store)
    assert (error.code, error.exit_code) == ("repository_too_new", ExitCode.REFUSED)


def test_a_newer_minor_is_read(repository: Repository, store: DirectoryStore) -> None:
    document(store, format="1.7", something="new")
    assert Repository.open(store, deployment="prod-eu").info.format == "1.7"


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "something/1"},
        {"schema": None},
        {"format": "one"},
        {"uuid": "../../x"},
        {"uuid": 7},
        {"deployment": ""},
        {"deployment": None},
        {"created": "yesterday"},
        {"created": None},
        {"public_key": "AAAA"},
    ],
)
def test_a_damaged_repository_file_is_named(
    repository: Repository, store: DirectoryStore, changes: dict[str, Any]
) -> None:
    document(store, **changes)
    error = refused(store)
    assert (error.code, error.details) == ("repository_damaged", {"key": "repository.json"})


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff", b"{", b"[" * 100_000])
def test_what_is_no_json_object_is_damage(
    repository: Repository, store: DirectoryStore, content: bytes
) -> None:
    tampered(store, layout.REPOSITORY, lambda _data: content)
    assert refused(store).code == "repository_damaged"


def test_other_faults_of_the_store_pass_through(store: DirectoryStore) -> None:
    class Locked(DirectoryStore):
        def read(self, key: str) -> bytes:
            raise RefusedError("repository_not_writable", "no permission")

    from pathlib import Path

    assert refused(Locked(Path(store.description))).code == "repository_not_writable"


class Lossy(DirectoryStore):
    """A store whose answer to a write is lost, before or after it happened."""

    happens = True
    blind = False

    def create(self, key: str, data: bytes) -> ObjectInfo:
        if self.happens:
            super().create(key, data)
        raise TransientError("gone", "the repository went away")

    def read(self, key: str) -> bytes:
        if self.blind:
            raise TransientError("still_gone", "the repository is away")
        return super().read(key)


class TestOnce:
    @pytest.fixture
    def lossy(self, store: DirectoryStore) -> Lossy:
        from pathlib import Path

        return Lossy(Path(store.description))

    def test_the_same_content_twice_is_once(self, store: DirectoryStore) -> None:
        create_once(store, "key", b"text")
        create_once(store, "key", b"text")
        with pytest.raises(AeternaError) as caught:
            create_once(store, "key", b"other")
        assert caught.value.code == "object_exists"
        assert store.read("key") == b"text"

    def test_a_write_with_a_lost_answer_is_found(self, lossy: Lossy) -> None:
        create_once(lossy, "key", b"text")
        assert lossy.read("key") == b"text"

    def test_a_write_that_did_not_happen_is_an_error(self, lossy: Lossy) -> None:
        lossy.happens = False
        with pytest.raises(TransientError) as caught:
            create_once(lossy, "key", b"text")
        assert caught.value.code == "gone"

    def test_a_write_that_nobody_can_look_at_is_an_error(self, lossy: Lossy) -> None:
        lossy.blind = True
        with pytest.raises(TransientError) as caught:
            create_once(lossy, "key", b"text")
        assert caught.value.code == "still_gone"
