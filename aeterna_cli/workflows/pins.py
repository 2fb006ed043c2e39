"""The right-cluster guard: a profile remembers which servers it met first.

``pins.json`` in the state folder of a profile holds the PostgreSQL system identifier, who Qdrant
and Redis are and the uuid of the repository. Another server under the same address is refused
before anything is changed.
"""

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from aeterna_cli.errors import FailedError, RefusedError

FILE = "pins.json"


class Pins:
    """What one profile is pinned to. Reads and writes one small file."""

    def __init__(self, state_directory: Path) -> None:
        self.path = state_directory / FILE

    def read(self) -> dict[str, str]:
        try:
            found = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise FailedError(
                "pins_unreadable",
                f"cannot read {self.path}",
                hint="it says which servers this profile may change",
            ) from error
        return {str(name): str(value) for name, value in found.items()}

    def check(self, found: Mapping[str, str | None], *, lost_is_fine: bool = False) -> None:
        """``RefusedError('another_cluster')`` where a server is not the pinned one.

        None means that the server does not know who it is (empty, or never pinned): fine for one
        that was never pinned, and with ``lost_is_fine`` (a restore brings the identity back).
        """
        pinned = self.read()
        for name, value in found.items():
            expected = pinned.get(name)
            if expected is None or expected == value or (value is None and lost_is_fine):
                continue
            raise RefusedError(
                "another_cluster",
                f"{name} is {value or 'without identity'}, this profile is pinned to {expected}",
                hint="the address leads to another or to an emptied server",
                next_steps=[
                    "check the addresses: aeterna-cli config show --origin",
                    f"or accept the new one: aeterna-cli config pin --forget {name}",
                ],
                details={"store": name, "found": value, "pinned": expected},
            )

    def record(self, found: Mapping[str, str | None]) -> None:
        """Pin what is known and not pinned yet; durable when it returns."""
        pinned = self.read()
        fresh = {name: value for name, value in found.items() if value and name not in pinned}
        if fresh:
            self._write({**pinned, **fresh})

    def forget(self, name: str) -> bool:
        """Whether there was such a pin; it is gone now."""
        pinned = self.read()
        if pinned.pop(name, None) is None:
            return False
        self._write(pinned)
        return True

    def _write(self, pinned: Mapping[str, str]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, fresh = tempfile.mkstemp(dir=self.path.parent, prefix=f".{FILE}.")
        with os.fdopen(number, "w", encoding="utf-8") as file:
            json.dump(pinned, file, indent=2, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        Path(fresh).replace(self.path)
