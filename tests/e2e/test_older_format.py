"""Repositories that older versions wrote are opened, verified and loaded by today's code."""

import io
import json
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import pytest

from aeterna_cli.errors import RemoteError
from aeterna_cli.keys.slots import offline_identity, read_slots
from aeterna_cli.repository import layout, manifest
from aeterna_cli.repository.pipeline import open_volume, verify_parts
from aeterna_cli.repository.repository import Repository
from aeterna_cli.stores import binaries
from aeterna_cli.stores.base.redis import RedisDigests
from aeterna_cli.stores.directory_store import DirectoryStore
from aeterna_cli.stores.qdrant_image import image_facts
from aeterna_cli.stores.redis_digests import compare
from aeterna_cli.stores.redis_scratch import ScratchRedis

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

DATA = Path(__file__).parents[1] / "data"
VERSIONS = sorted(DATA.glob("repository-*.tar.zst"))


@dataclass(frozen=True)
class Old:
    """A repository of an older version, its newest backup, and the identity that opens it."""

    repository: Repository
    backup: manifest.Manifest
    identity: str
    folder: Path

    def volume(self, store: str, name: str) -> Path:
        """A volume's plain bytes in a file, proven."""
        (record,) = [one for one in self.backup.stores[store].volumes if one.name == name]
        path = self.folder / name
        with open_volume(self.repository.store, record, self.identity) as stream:
            path.write_bytes(stream.read())
        return path


def opened(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    stream = archive.extractfile(member)
    assert stream is not None
    return stream


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name.removesuffix(".tar.zst"))
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Old:
    import zstandard

    packed = zstandard.ZstdDecompressor().decompress(request.param.read_bytes())
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:  # extractall's filter came with Python 3.11.4
            if member.isfile():
                (tmp_path / member.name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / member.name).write_bytes(opened(archive, member).read())
    identity = offline_identity(tmp_path / "identity.txt")
    repository = Repository.open(DirectoryStore(tmp_path / "repository"), deployment=None)
    return Old(repository, manifest.load(repository, "latest"), identity, tmp_path)


def test_there_is_one_of_every_version() -> None:
    assert "repository-1.0.tar.zst" in [path.name for path in VERSIONS]


def test_it_is_listed_and_its_stored_objects_are_whole(old: Old) -> None:
    (entry,) = old.repository.backups()
    assert (entry.backup, entry.fault, entry.catalogued) == (old.backup.backup, "", True)
    for volume in old.backup.volumes():
        assert list(verify_parts(old.repository.store, volume)) == []
    (slot,) = read_slots(old.repository.store, layout.backup_folder(old.backup.backup))
    assert slot.provider == "vault"


def test_redis_holds_what_it_held(old: Old) -> None:
    """Without what expired since, which the comparison knows."""
    image = old.volume("redis", "dump.rdb")
    expected = RedisDigests.from_document(old.backup.digests["redis"])
    with ScratchRedis(binaries.redis_server(), old.folder / "scratch") as scratch:
        scratch.start(image)
        found = scratch.server.digests()
    assert found.persistent == expected.persistent
    assert expected.persistent.items > 0
    wrong = [one for one in compare(expected, found, datetime.now(UTC)) if one.severity == "error"]
    assert wrong == []


def test_qdrant_holds_what_it_held(old: Old) -> None:
    images = old.backup.stores["qdrant"].facts["images"]
    assert len(images) > 3
    for image in images:
        snapshot = old.volume("qdrant", image["volume"])
        facts = image_facts(snapshot, old.folder / "opened", name=image["volume"])
        assert (facts.points, facts.digest) == (image["points"], image["digest"])


def test_what_redis_was_configured_with_is_read(old: Old) -> None:
    content = json.loads(old.volume("redis", "configuration.json").read_bytes())
    assert content["acl"][0].startswith("user default")
    assert "appendonly" in content["configuration"]


def test_a_changed_manifest_is_refused(old: Old) -> None:
    path = old.folder / "repository" / layout.manifest_key(old.backup.backup)
    path.write_bytes(path.read_bytes().replace(b'"note":""', b'"note":"x"'))
    with pytest.raises(RemoteError) as raised:
        manifest.load(old.repository, old.backup.backup)
    assert raised.value.code == "signature_invalid"
