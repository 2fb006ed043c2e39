"""``lab env``: other programs find the lab, and no secret is printed."""

import os
import subprocess
from pathlib import Path

import pytest

from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.postgres import programs
from tests.command_line import CommandLine
from tests.integration.workflows.lab.test_up import without

pytestmark = pytest.mark.integration


def test_psql_reaches_the_lab_with_what_is_printed(cli: CommandLine, folder: Path) -> None:
    cli.ok("lab", "up", *without("postgres"))
    ran = cli.ok("lab", "env", "-o", "table")
    secrets = [path.read_text() for path in (folder / "secrets").iterdir() if path.name != "pgpass"]
    assert not [secret for secret in secrets if secret.strip() and secret.strip() in ran.out]
    script = f"{ran.out}\n{programs()}/psql -XAtc 'SELECT current_user'"
    done = subprocess.run(
        ["sh", "-c", script],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "aeterna_app", done.stderr


def test_without_a_lab_it_refuses(cli: CommandLine, folder: Path) -> None:
    ran = cli("lab", "env")
    assert (ran.code, ran.error["code"]) == (7, "lab_missing")
    assert Lab(folder).status() is None
