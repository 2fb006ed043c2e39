"""What one server of the lab must be able to do, and where it lives."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import Protocol

from aeterna_cli.lab import processes
from aeterna_cli.lab.names import Topology
from aeterna_cli.lab.ports import LOOPBACK
from aeterna_cli.lab.processes import Command
from aeterna_cli.lab.secret_files import SecretFiles


class NotReady(Exception):
    """The server does not answer as it should yet. The text says what it did instead."""


@dataclass(frozen=True)
class Place:
    """Where one lab's servers live. A part's name is the name of its folder."""

    directory: Path
    lab_id: str
    sockets: Path
    ports: Mapping[str, int]
    secrets: SecretFiles
    topology: Topology = "single"

    def folder(self, part: str) -> Path:
        return self.directory / part

    def data(self, part: str) -> Path:
        return self.folder(part) / "data"

    def log(self, part: str) -> Path:
        return self.directory / "logs" / f"{part}.log"

    def url(self, port: str) -> str:
        return f"http://{LOOPBACK}:{self.ports[port]}"

    def environment(self, part: str) -> dict[str, str]:
        """What a server sees of the environment: nothing of ours but where programs are.

        HOME is the part's folder, so no configuration of the caller's is read.
        """
        inherited = {
            name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ
        }
        own = {"HOME": str(self.folder(part)), "LANG": "C.UTF-8", "TZ": "UTC"}
        return {**inherited, **own, **processes.mark(self.lab_id, part)}


class Part(Protocol):
    """One server. No method starts or stops it: that is the lab's work."""

    name: str
    stop_signal: Signals

    def prepare(self, place: Place) -> None:
        """Everything that must be on disk before the start. Safe to repeat; nothing is lost."""

    def command(self, place: Place) -> Command:
        """What to run."""

    def settle(self, place: Place) -> None:
        """Bring the running server into its usable state. Safe to repeat; ``NotReady`` while it
        does not answer yet. When it returns, ``check`` passes."""

    def check(self, place: Place) -> None:
        """One real request, as a client would make it; ``NotReady`` when it fails."""
