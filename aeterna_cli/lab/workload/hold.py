"""The programs behind ``application.hold``, ``switch`` and ``release`` for a running workload.

``python -m aeterna_cli.lab.workload.hold hold FOLDER`` (or ``release``, ``switch``), where FOLDER
is the workload's. What is moved comes in the environment, as the mover gives it to every hook:
``AETERNA_MOVE_TENANT`` (the id), and for ``switch`` ``AETERNA_MOVE_COLLECTION``,
``AETERNA_MOVE_SHARD_KEY`` ("" for none) and ``AETERNA_MOVE_SHARD``. Exit 0: it is so.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from aeterna_cli.errors import AeternaError, UsageError
from aeterna_cli.lab.workload.folder import gate_of
from aeterna_cli.stores.base.placement import PointsPlace

ACTIONS = ("hold", "switch", "release")


def act(action: str, folder: Path, environment: Mapping[str, str]) -> None:
    """``UsageError`` for an unknown action, a missing variable, another folder or tenant."""
    if action not in ACTIONS:
        raise UsageError("hook_unknown", f"{action!r} is none of {', '.join(ACTIONS)}")
    gate = gate_of(folder, _wanted(environment, "AETERNA_MOVE_TENANT"))
    if action == "hold":
        gate.hold()
    elif action == "release":
        gate.release()
    else:
        collection = _wanted(environment, "AETERNA_MOVE_COLLECTION")
        shard = environment.get("AETERNA_MOVE_SHARD", "")
        gate.switch(
            PointsPlace(shard, collection, environment.get("AETERNA_MOVE_SHARD_KEY") or None)
        )


def _wanted(environment: Mapping[str, str], name: str) -> str:
    found = environment.get(name)
    if not found:
        raise UsageError("hook_variable_missing", f"{name} is not set")
    return found


def main(words: Sequence[str]) -> int:
    try:
        if len(words) != 2:
            raise UsageError("usage", f"usage: hold {'|'.join(ACTIONS)} FOLDER")
        act(words[0], Path(words[1]), os.environ)
    except AeternaError as error:
        sys.stderr.write(f"{error.message}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
