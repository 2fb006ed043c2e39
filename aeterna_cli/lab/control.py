"""What a restore, a drill or the demo does to one server of the lab: stop, start, kill, exchange.

Data directories are renamed with the time, never deleted, except by ``wipe``, whose purpose it is.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path

from aeterna_cli.errors import RefusedError
from aeterna_cli.lab import names
from aeterna_cli.lab.deployment import Lab, never
from aeterna_cli.lab.events import Events, ignore
from aeterna_cli.lab.ports import free
from aeterna_cli.lab.servers import Servers, StopReport
from aeterna_cli.lab.state import sync_folder


class LabControl:
    """Control over single servers of a lab. Every call is alone with the lab (its lock)."""

    def __init__(self, lab: Lab, events: Events = ignore) -> None:
        self._lab = lab
        self._events = events

    def data_dir(self, part: str) -> Path:
        """Where the part keeps its data; a directory to take its place must lie on the same file
        system, best beside it."""
        return self._lab.place().data(names.canonical(part))

    def stop(self, part: str) -> StopReport:
        """The server has ended when this returns: cleanly, or killed after a deadline."""
        with self._lab.servers(self._events) as servers:
            return servers.stop(names.canonical(part))

    def start(self, part: str) -> None:
        """The server answers when this returns; one that runs is left as it is.

        ``RefusedError('lab_port_taken')`` when somebody else has its port meanwhile.
        """
        name = names.canonical(part)
        with self._lab.servers(self._events) as servers:
            if servers.adoptable(name) is None:
                servers.clear_leftovers([name])
                _refuse_taken_ports(servers, name)
            servers.bring_up(name, never)

    def kill(self, part: str) -> StopReport:
        """A power cut for one server and all its children: SIGKILL, nothing is written any more."""
        with self._lab.servers(self._events) as servers:
            return servers.kill(names.canonical(part))

    def wipe(self, part: str) -> None:
        """Delete a stopped part's data for good; its next start is an empty one.

        It is renamed first, so that an interrupted wipe never leaves half of it in place.
        ``RefusedError('lab_part_running')`` while it runs.
        """
        name = names.canonical(part)
        with self._lab.servers(self._events) as servers:
            data = _of_stopped(servers, name)
            if data.exists():
                shutil.rmtree(_set_aside(data, "wiped"))

    def replace_data_dir(self, part: str, new: Path) -> Path | None:
        """``new`` becomes the stopped part's data directory; the old one is kept under the name
        that is returned (None where there was none).

        ``RefusedError`` while the part runs, when ``new`` is no directory, or when it lies on
        another file system; nothing has changed then.
        """
        name = names.canonical(part)
        with self._lab.servers(self._events) as servers:
            data = _of_stopped(servers, name)
            _refuse_unusable(new, data)
            old = _set_aside(data, "replaced") if data.exists() else None
            new.rename(data)
            data.chmod(0o700)
            sync_folder(data.parent)
            if new.parent.exists():
                sync_folder(new.parent)
            return old


def _of_stopped(servers: Servers, part: str) -> Path:
    if servers.running(part) is not None:
        raise RefusedError(
            "lab_part_running",
            f"the lab's {names.TITLES[part]} runs; its data directory is in use",
            next_steps=["stop it first"],
        )
    servers.clear_leftovers([part])
    return servers.place.data(part)


def _refuse_unusable(new: Path, data: Path) -> None:
    if new.is_symlink() or not new.is_dir():
        raise RefusedError("data_dir_missing", f"{new} is not a directory")
    if new.stat().st_dev != data.parent.stat().st_dev:
        raise RefusedError(
            "data_dir_elsewhere",
            f"{new} lies on another file system than {data.parent}",
            hint="a copy could be cut off half way, so only a rename is done",
            next_steps=[f"prepare the directory below {data.parent}"],
        )


def _refuse_taken_ports(servers: Servers, part: str) -> None:
    for port in names.PORTS[part]:
        if not free(servers.place.ports[port]):
            raise RefusedError(
                "lab_port_taken",
                f"port {servers.place.ports[port]} of the lab's {names.TITLES[part]} is taken",
                hint="another program listens there",
                next_steps=["aeterna-cli lab up  # chooses another port"],
            )


def _set_aside(data: Path, why: str) -> Path:
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = data.with_name(f"{data.name}.{why}-{moment}")
    data.rename(aside)
    sync_folder(data.parent)
    return aside
