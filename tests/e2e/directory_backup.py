"""A backup into a repository that is a directory, taken by the command line as a user takes it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from aeterna_cli.lab.deployment import Lab


def back_up(lab: Lab, root: Path, recipient: str, stores: Sequence[str] = ()) -> str:
    """The id of a backup of ``lab`` in the new repository ``root/repository``.

    ``recipient`` is its offline recipient; without ``stores`` it holds all of them.
    """
    environment = {n: v for n, v in os.environ.items() if not n.startswith("AETERNA_")} | {
        "AETERNA_ACTOR": "a test",
        "AETERNA_LAB_DIR": str(lab.directory),
        "AETERNA_REPOSITORY__URL": str(root / "repository"),
        "AETERNA_KEYS__OFFLINE_RECIPIENTS": json.dumps([recipient]),
        **{f"XDG_{kind}_HOME": str(root / "xdg" / kind) for kind in ("CONFIG", "STATE", "CACHE")},
    }
    chosen = [word for store in stores for word in ("--store", store)]
    _run(["repository", "init", "--yes"], environment)
    answer = _run(["backup", "create", *chosen, "-o", "json"], environment)
    return str(json.loads(answer)["data"]["backup"])


def _run(words: Sequence[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "aeterna_cli", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
