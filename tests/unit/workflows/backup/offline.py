"""A deployment whose servers nobody needs: a repository in a directory and a key in a file."""

import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from aeterna_cli import profiles
from aeterna_cli.deployment import Deployment
from aeterna_cli.keys import slots
from aeterna_cli.repository import canonical, layout
from aeterna_cli.repository.manifest import (
    Manifest,
    RecoveryPoint,
    Scope,
    StorePart,
    Window,
    commit,
)
from aeterna_cli.repository.pipeline import SealedWriter
from aeterna_cli.repository.repository import Repository
from aeterna_cli.repository.signing import SigningKey
from tests.command_line import CommandLine

NAME = "archive"


@dataclass(frozen=True)
class Archive:
    """``identity`` is a file that opens every backup without the key service."""

    cli: CommandLine
    place: Deployment
    repository: Repository
    signing_key: SigningKey
    identity: Path
    recipient: str

    @property
    def folder(self) -> Path:
        return Path(self.place.profile.repository.url)

    def path(self, backup: str, name: str) -> Path:
        return self.folder / layout.backup_folder(backup) / name

    def backup(
        self,
        backup: str,
        *,
        note: str = "",
        degraded: tuple[str, ...] = (),
        listed: bool = True,
        scope: Scope | None = None,
    ) -> None:
        """A committed backup of one small Redis (or, with ``scope``, of a tenant's keys); without
        ``listed`` the tool died just before."""
        part_name = "keys" if scope else "redis"
        store, folder = self.repository.store, layout.backup_folder(backup)
        secret, recipient = slots.create_identity()
        context = slots.slot_context(self.repository.info.uuid, folder)
        slots.write_slot(
            store, folder, self.place.key_service, secret, context, sign=self.signing_key.sign
        )
        prefix = layout.volume_prefix(backup, part_name, "dump.rdb")
        with SealedWriter(store, prefix, [recipient, self.recipient], 1 << 20) as writer:
            writer.write(b"an image, as it were" * 1000)
            volume = writer.commit()
        store.create(layout.marker_key(backup), canonical.as_bytes({"marker": 3}))
        created = layout.parse_backup_id(backup)
        point = created + timedelta(minutes=1)
        window = Window(start=created, end=point)
        part = StorePart(
            kind="redis-rdb",
            server_version="valkey 9.1.2",
            identity="somebody",
            window=window,
            volumes=(volume,),
        )
        manifest = Manifest(
            backup=backup,
            repository=self.repository.info.uuid,
            deployment=self.repository.info.deployment,
            created=created,
            tool_version="0.1.0",
            profile=NAME,
            actor="ada@host",
            stores={part_name: part},
            scope=scope,
            recovery_point=RecoveryPoint(time=point, marker=3),
            note=note,
            degraded=degraded,
        )
        commit(self.repository, manifest, self.signing_key)
        if not listed:
            sorted((self.folder / "catalogue").iterdir())[-1].unlink()

    def remove(self) -> None:
        """All backups, and all that was ever said of them."""
        for name in (layout.BACKUPS, layout.CATALOGUE):
            shutil.rmtree(self.folder / name, ignore_errors=True)


@pytest.fixture
def archive(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Archive:
    config, key = tmp_path / "config.toml", tmp_path / "local.key"
    config.write_text(
        f'default_profile = "{NAME}"\n'
        f'[profiles.{NAME}]\nenvironment = "development"\n'
        f'[profiles.{NAME}.repository]\nurl = "{tmp_path / "repository"}"\n'
        f'[profiles.{NAME}.keys]\nprovider = "local-file"\nkey_file = "{key}"\n',
        encoding="utf-8",
    )
    monkeypatch.setenv("AETERNA_CONFIG", str(config))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    loaded = profiles.load(None)
    place = Deployment(loaded.name, loaded.values)
    place.prepare_repository_place()
    place.key_service.ensure_key()
    signing_key = SigningKey.generate()
    repository = Repository.initialise(place.objects, deployment=place.id, signing_key=signing_key)
    secret, recipient = slots.create_identity()
    identity = tmp_path / "offline.txt"
    identity.write_text(secret, encoding="utf-8")
    return Archive(CommandLine(capsys), place, repository, signing_key, identity, recipient)
