"""Server control over a lab: what a restore asks, answered by the lab's own processes."""

from pathlib import Path

from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.stores.base.server_control import StoreName


class LabServerControl:
    """A ``ServerControl``. Redis and Qdrant are restored while they run; only PostgreSQL's data
    directory is handed over."""

    def __init__(self, directory: Path) -> None:
        self._control = LabControl(Lab(directory))
        self.description = f"the lab in {directory}"

    def can_hand_over(self, store: StoreName) -> bool:
        return store == "postgres"

    def stop(self, store: StoreName) -> None:
        self._control.stop(store)

    def start(self, store: StoreName) -> None:
        self._control.start(store)

    def data_directory(self, store: StoreName) -> Path:
        return self._control.data_dir(store)

    def replace_data(self, store: StoreName, prepared: Path) -> Path | None:
        if not prepared.exists() and self.data_directory(store).exists():
            return None  # done before a crash
        return self._control.replace_data_dir(store, prepared)
