"""One real SeaweedFS and one real OpenBao for a test session, made of the lab's own parts."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from aeterna_cli.lab import names, ports, seaweedfs
from aeterna_cli.lab.openbao import ROOT_TOKEN
from aeterna_cli.lab.part import Place
from aeterna_cli.lab.secret_files import SecretFiles
from aeterna_cli.lab.servers import Servers
from aeterna_cli.lab.state import LabState, StateFile
from aeterna_cli.settings import KeySettings, RepositorySettings


@contextmanager
def running(directory: Path, part: str) -> Iterator[Place]:
    """One server of the lab in a folder of its own; gone at the end, however the tests end."""
    identity = secrets.token_hex(8)
    for folder in ("logs", "sockets", "secrets"):
        (directory / folder).mkdir(mode=0o700)
    with ports.HeldPorts() as held:
        chosen = ports.choose(names.port_names([part]), {}, held, companions=names.COMPANIONS)
        place = Place(directory, identity, directory / "sockets", chosen, SecretFiles(directory))
        state = LabState(id=identity, sockets=str(place.sockets))
        servers = Servers(place, state, StateFile(directory), lambda event: None)
        try:
            servers.bring_up(part, lambda: False)
            held.release()
            yield place
        finally:
            servers.kill(part)


@pytest.fixture(scope="session")
def seaweedfs_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running(tmp_path_factory.mktemp("seaweedfs"), "s3") as place:
        yield place


@pytest.fixture
def s3_settings(seaweedfs_place: Place) -> RepositorySettings:
    """A prefix of its own for every test."""
    return RepositorySettings(
        url=f"s3://{seaweedfs.BUCKET}/test/{secrets.token_hex(6)}",
        endpoint_url=seaweedfs_place.url("s3"),
        region=seaweedfs.REGION,
        access_key_id=seaweedfs.ACCESS_KEY,
        secret_access_key_file=seaweedfs_place.secrets.path(seaweedfs.SECRET_KEY),
        part_bytes=5 << 20,
        timeout=30,
    )


@pytest.fixture(scope="session")
def openbao_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with running(tmp_path_factory.mktemp("openbao"), "vault") as place:
        yield place


@pytest.fixture
def vault_settings(openbao_place: Place) -> KeySettings:
    """A key name of its own for every test; the token may do everything."""
    root = openbao_place.secrets.read(ROOT_TOKEN)
    assert root is not None
    return KeySettings(
        provider="vault",
        address=openbao_place.url("vault"),
        token=SecretStr(root),
        key_name=f"backup-{secrets.token_hex(4)}",
        timeout=10,
    )
