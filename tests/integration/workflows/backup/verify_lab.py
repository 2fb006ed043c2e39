"""One backup for a whole module of tests, and a copy of its repository for each test to damage."""

import io
import json
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.keys.slots import create_identity
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.main import main
from aeterna_cli.repository import canonical, layout, signing
from aeterna_cli.repository.pipeline import SealedWriter
from tests.command_line import CommandLine, Ran, _own_signals
from tests.integration.deployment import Practice, practise

Taken = tuple[Practice, dict[str, Any]]


class Redirected(CommandLine):
    """As the fixture ``cli``, but it may live as long as it likes."""

    def __init__(self) -> None:
        pass

    def __call__(self, *words: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), _own_signals():
            code = main(list(words))
        return Ran(int(code), out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Copied:
    """A copy of the repository. ``folder`` is the backup's."""

    practice: Practice
    repository: Path
    backup: str

    @property
    def cli(self) -> CommandLine:
        return self.practice.cli

    @property
    def folder(self) -> Path:
        return self.repository / "backups" / self.backup

    @property
    def work(self) -> Path:
        """Where this profile restores to scratch."""
        return self.practice.open().cache_directory / "work"

    @property
    def offline(self) -> Path:
        """The identity file of the offline recipient."""
        return self.practice.repository.with_name("offline.txt")

    def key(self, path: Path) -> str:
        return path.relative_to(self.repository).as_posix()

    def one(self, pattern: str, number: int = 0) -> Path:
        """One of the objects of this pattern; the order is that of their names."""
        return sorted(self.folder.glob(pattern))[number]

    def verify(self, *words: str) -> Ran:
        return self.cli("backup", "verify", *words)

    def resign(self, change: Callable[[dict[str, Any]], None]) -> None:
        """The manifest as the deployment would have signed it with this ``change``."""
        manifest = self.folder / "manifest.json"
        document = json.loads(manifest.read_bytes())
        change(document)
        data = canonical.as_bytes(document)
        manifest.write_bytes(data)
        (self.folder / "manifest.sig").write_bytes(self.signing_key().sign(data))

    def recipient(self) -> str:
        """Whom this backup's volumes are sealed for."""
        found: str = json.loads((self.folder / "slots/0.json").read_bytes())["recipient"]
        return found

    def seal(self, store: str, name: str, data: bytes) -> dict[str, Any]:
        """A volume of this content in the place of any other; how a manifest names it."""
        for path in self.folder.glob(f"{store}/{name}.zst.age.*"):
            path.unlink()
        prefix = layout.volume_prefix(self.backup, store, name)
        objects = self.practice.open().objects
        with SealedWriter(objects, prefix, [self.recipient()], 1 << 30) as writer:
            writer.write(data)
            return writer.commit().model_dump()

    def signing_key(self) -> signing.SigningKey:
        return signing.SigningKey.load(self.practice.open().signing_key_file)


def found(ran: Ran) -> set[tuple[str, str]]:
    """Code and subject of all that is no note."""
    data: dict[str, Any] = ran.data
    return {(one["code"], one["subject"]) for one in data["findings"] if one["severity"] != "info"}


@pytest.fixture(scope="module")
def taken(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    """A practice deployment and one backup of it. The environment is put back for each test."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("verify")
        secret, recipient = create_identity()
        (folder / "offline.txt").write_text(f"# kept in a safe\n{secret}\n", encoding="utf-8")
        changes = {
            "keys": {"offline_recipients": [recipient]},
            "repository": {"volume_bytes": 1 << 20},  # so that a volume has several parts
        }
        made = practise(lab, Redirected(), folder, patch, **changes)
        backup = made.backup("--label", "ticket=X-1", "--note", "before the upgrade")
    return made, backup


@pytest.fixture
def copied(taken: Taken, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Copied:
    practice, backup = taken
    repository = tmp_path / "copy"
    shutil.copytree(practice.repository, repository, symlinks=True)
    environment = {
        **practice.environment,
        "AETERNA_REPOSITORY__URL": str(repository),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Copied(practice, repository, backup["backup"])


def processes_about(folder: Path) -> list[str]:
    """Command lines of running processes that name ``folder``; not our own."""
    lines = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(folder) in words:
                lines.append(words)
    return lines
