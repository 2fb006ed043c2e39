"""A repository in a directory, and an identity to seal for."""

from pathlib import Path

import pytest

from aeterna_cli.keys.slots import create_identity
from aeterna_cli.repository.repository import Repository
from aeterna_cli.repository.signing import SigningKey
from aeterna_cli.stores.directory_store import DirectoryStore
from tests.unit.repository.given import Person


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    found = DirectoryStore(tmp_path / "repository")
    found.ensure()
    return found


@pytest.fixture
def person() -> Person:
    return Person(*create_identity())


@pytest.fixture
def signing_key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
def repository(store: DirectoryStore, signing_key: SigningKey) -> Repository:
    return Repository.initialise(store, deployment="prod-eu", signing_key=signing_key)
