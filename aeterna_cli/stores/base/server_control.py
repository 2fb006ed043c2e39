"""Stopping and starting a store's server, and putting a data directory in its place."""

from pathlib import Path
from typing import Literal, Protocol

StoreName = Literal["postgres", "qdrant", "redis"]
STORES: tuple[StoreName, ...] = ("postgres", "qdrant", "redis")


class ServerControl(Protocol):
    """How this deployment's servers are stopped and started. All calls may be repeated."""

    @property
    def description(self) -> str: ...

    def can_hand_over(self, store: StoreName) -> bool:
        """Whether a data directory can be put in place here; else it is left with next steps."""

    def stop(self, store: StoreName) -> None:
        """The server is down when this returns; no error where it was down already."""

    def start(self, store: StoreName) -> None:
        """The server answers when this returns."""

    def data_directory(self, store: StoreName) -> Path:
        """Where the server's data lie; ``RefusedError('no_server_control')`` where unknown."""

    def replace_data(self, store: StoreName, prepared: Path) -> Path | None:
        """Put ``prepared`` in place of the stopped server's data directory.

        The old directory is renamed, never deleted; its new path is returned, None where there was
        none. Both must lie on one file system. Repeating it after a crash finishes it.
        """
