"""The key in a file: the promises of every key service, and where it refuses to be used."""

import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aeterna_cli.errors import RefusedError, RemoteError, UsageError
from aeterna_cli.settings import KeySettings
from aeterna_cli.stores.base.keys import KeyService
from aeterna_cli.stores.key_services import open_key_service
from aeterna_cli.stores.local_key import LocalFileKeyService
from tests.conformance.key_service import KeyServiceConformance


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "backup.key"


class TestConformance(KeyServiceConformance):
    @pytest.fixture
    def make(self, path: Path) -> Callable[[], KeyService]:
        return lambda: LocalFileKeyService(path)

    @pytest.fixture
    def other(self, path: Path) -> KeyService:
        return LocalFileKeyService(path.with_name("other.key"))


def test_the_file_is_for_its_owner_only(path: Path) -> None:
    LocalFileKeyService(path).ensure_key()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_open_to_others_is_refused(path: Path, mode: int) -> None:
    service = LocalFileKeyService(path)
    service.ensure_key()
    path.chmod(mode)
    for use in (lambda: service.wrap(b"x", context=b"c"), service.ensure_key):
        with pytest.raises(RefusedError) as caught:
            use()
        assert caught.value.code == "key_file_exposed"
    assert [found.code for found in service.probe()] == ["key_file_exposed", "local_key_service"]


@pytest.mark.parametrize("content", [b"", b"00" * 31, b"00" * 33, b"zz" * 32, b"\xff" * 32])
def test_a_damaged_file_is_refused_and_not_shown(path: Path, content: bytes) -> None:
    service = LocalFileKeyService(path)
    service.ensure_key()
    path.write_bytes(content)
    with pytest.raises(RefusedError) as caught:
        service.ensure_key()
    assert caught.value.code == "key_file_damaged"
    assert path.read_bytes() == content


def test_the_wrong_file_is_named(path: Path) -> None:
    service = LocalFileKeyService(path)
    service.ensure_key()
    wrapped = service.wrap(b"x", context=b"c")
    path.unlink()
    service.ensure_key()
    with pytest.raises(RefusedError, match="another one"):
        service.unwrap(wrapped, context=b"c")


def test_of_two_who_make_it_both_use_the_same(path: Path) -> None:
    services = [LocalFileKeyService(path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(LocalFileKeyService.ensure_key, services))
    wrapped = services[0].wrap(b"x", context=b"c")
    assert all(service.unwrap(wrapped, context=b"c") == b"x" for service in services)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RemoteError) as caught:
        LocalFileKeyService(tmp_path / "file" / "key").ensure_key()
    assert caught.value.code == "key_file_unusable"


def test_it_always_warns(path: Path) -> None:
    service = LocalFileKeyService(path)
    service.ensure_key()
    assert [(found.code, found.severity) for found in service.probe()] == [
        ("local_key_service", "warning")
    ]


def test_production_refuses_it(path: Path) -> None:
    settings = KeySettings(provider="local-file", key_file=path)
    with pytest.raises(RefusedError) as caught:
        open_key_service(settings, environment="production")
    assert caught.value.code == "local_key_in_production"
    assert isinstance(open_key_service(settings, environment="lab"), LocalFileKeyService)
    with pytest.raises(UsageError):
        open_key_service(KeySettings(provider="local-file"), environment="lab")
