"""The lab as a deployment that a test backs up and restores: profile and repository of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli import profiles
from aeterna_cli.deployment import Deployment
from aeterna_cli.lab import profile as lab_profile
from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.part import NotReady
from aeterna_cli.lab.postgres import DATABASE, superuser
from aeterna_cli.operations.kill_points import VARIABLE
from tests.command_line import CommandLine

NAME = "practice"


@dataclass(frozen=True)
class Practice:
    """A running lab, a command line that means it, and a repository in a directory."""

    lab: Lab
    cli: CommandLine
    repository: Path
    environment: Mapping[str, str]

    def open(self) -> Deployment:
        """The deployment as the command line sees it now."""
        loaded = profiles.load(None)
        return Deployment(loaded.name, loaded.values)

    @contextmanager
    def sql(self) -> Iterator[Any]:
        """A superuser's connection to the application's database."""
        with superuser(self.lab.place(), DATABASE) as connection:
            yield connection

    def backup(self, *words: str) -> dict[str, Any]:
        """A new backup, as ``backup create`` describes it."""
        data: dict[str, Any] = self.cli.ok("backup", "create", *words).data
        return data

    def destroy(self, *parts: str) -> None:
        """A power cut and an empty disk for these servers."""
        for part in parts:
            LabControl(self.lab).kill(part)
            LabControl(self.lab).wipe(part)

    def killed_at(self, point: str, *words: str) -> bool:
        """Run a command in a process of its own that dies at this point; whether it got there."""
        done = subprocess.run(
            [sys.executable, "-m", "aeterna_cli", *words],
            env={**os.environ, **self.environment, VARIABLE: point},
            capture_output=True,
            check=False,
        )
        assert done.returncode in (0, -9), done.stderr.decode()
        return done.returncode == -9

    def operations(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.cli.ok("operation", "list", *words).data
        return found


def forget_strangers(lab: Lab) -> None:
    """Tables that another test left in the session's database are gone: no rule knows them, and a
    tenant's backup beside them is a degraded one. Does nothing where PostgreSQL does not answer."""
    from psycopg import sql

    listed = (Path(__file__).parents[1] / "data" / "aeterna-tables.tsv").read_text(encoding="utf-8")
    known = [line.split("\t")[0] for line in listed.splitlines()[1:]]
    with suppress(NotReady), superuser(lab.place(), DATABASE) as connection:
        found = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL (%s)",
            (known,),
        )
        for (name,) in found.fetchall():
            table = sql.Identifier("public", str(name))
            connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(table))


def practise(
    lab: Lab,
    cli: CommandLine,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    **changes: Mapping[str, Any],
) -> Practice:
    """A profile on the lab with an initialised directory repository; state lies in ``folder``."""
    tree = lab_profile.tree(lab.place())
    tree["repository"] = {"url": str(folder / "repository")}
    for section, values in changes.items():
        tree[section] = {**tree.get(section, {}), **values}
    config = folder / "config.toml"
    lines = [f'default_profile = "{NAME}"', *lab_profile.table(f"profiles.{NAME}", tree)]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    environment = {
        "AETERNA_CONFIG": str(config),
        "AETERNA_LAB_DIR": str(lab.directory),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    made = Practice(lab, cli, folder / "repository", environment)
    made.cli.ok("repository", "init")
    return made
