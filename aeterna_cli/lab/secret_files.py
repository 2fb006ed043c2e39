"""The lab's passwords and tokens: random, one file each, mode 0600, never on a command line."""

import secrets
import threading
from pathlib import Path

from aeterna_cli.lab.state import write_file

FOLDER = "secrets"
_MAKING = threading.Lock()  # processes are kept apart by the lab's lock


class SecretFiles:
    """The folder ``secrets`` of one lab."""

    def __init__(self, directory: Path) -> None:
        self.folder = directory / FOLDER

    def path(self, name: str) -> Path:
        return self.folder / name

    def ensure(self, name: str) -> str:
        """The secret of this name; made at the first call. URL-safe, 32 random bytes.

        Servers that start together want the same ones: all of them get what the first one made.
        """
        path = self.path(name)
        with _MAKING:
            if not path.exists():
                self.put(name, secrets.token_urlsafe(32))
        return path.read_text(encoding="ascii")

    def put(self, name: str, value: str | bytes) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        write_file(self.path(name), value)

    def read(self, name: str) -> str | None:
        """The secret, or None where it was never made."""
        try:
            return self.path(name).read_text(encoding="ascii")
        except FileNotFoundError:
            return None
