"""The network of a highly-available lab: ``python -m aeterna_cli.lab.ha.network CONFIGURATION``.

One process listens on every node's advertised ports and forwards to the ports on which the nodes
are bound. It knows who is at both ends, so that a node can be cut off, partitioned, slowed down,
refused or cut short while everything runs (``network_rules``). A new connection into a cut is
taken by the kernel and then hears nothing: a real network would not even take it. Rules are changed
over a socket (``network_control``) and kept over a restart.
"""

import asyncio
import contextlib
import json
import resource
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aeterna_cli.errors import AeternaError, ExitCode, FailedError
from aeterna_cli.lab.ha import network_control
from aeterna_cli.lab.ha.network_clients import Clients
from aeterna_cli.lab.ha.network_connection import Connection, Network
from aeterna_cli.lab.ha.network_rules import Rules
from aeterna_cli.lab.ports import LOOPBACK

BACKLOG = 1024
FULL_SECONDS = 0.1  # before the next try when no descriptor is left


@dataclass(frozen=True)
class Forward:
    """What arrives at the port ``listen`` goes to the port ``target`` of ``node``."""

    listen: int
    target: int
    node: str


@dataclass(frozen=True)
class Configuration:
    """Where the lab is and what is forwarded. ``rules`` and ``control`` are paths in its folder."""

    lab_id: str
    folder: Path
    rules: Path
    control: Path
    forwards: tuple[Forward, ...]

    def written(self) -> str:
        return json.dumps(
            {
                "lab_id": self.lab_id,
                "folder": str(self.folder),
                "rules": str(self.rules),
                "control": str(self.control),
                "forwards": [[one.listen, one.target, one.node] for one in self.forwards],
            }
        )

    @classmethod
    def read(cls, path: Path) -> "Configuration":
        """``FailedError('network_configuration')`` when it is none."""
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            forwards = tuple(Forward(int(a), int(b), str(node)) for a, b, node in tree["forwards"])
            folder, rules, control = (Path(tree[key]) for key in ("folder", "rules", "control"))
            return cls(str(tree["lab_id"]), folder, rules, control, forwards)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise FailedError(
                "network_configuration", f"{path} is no configuration of the lab's network"
            ) from error


class Proxy:
    """All listeners and connections of one process."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        nodes = frozenset(one.node for one in configuration.forwards)
        self.network = Network(Rules(configuration.rules, nodes))
        self._clients = Clients(configuration.folder, configuration.lab_id, nodes)
        self._connections: dict[asyncio.Task[None], Connection] = {}

    async def serve(self, stop: asyncio.Event) -> None:
        """Until ``stop``; then every connection is closed."""
        listeners = [(one, _listen(one.listen)) for one in self._configuration.forwards]
        control = await network_control.serve(
            self._configuration.control, self.network, self.connections
        )
        accepting = [asyncio.ensure_future(self._accept(*one)) for one in listeners]
        ended = asyncio.ensure_future(stop.wait())
        try:
            done, _ = await asyncio.wait([ended, *accepting], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            control.close()
            self._configuration.control.unlink(missing_ok=True)
            tasks = [ended, *accepting, *self._connections]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for _, listener in listeners:
                listener.close()
            self._clients.close()

    def connections(self) -> list[dict[str, Any]]:
        """The open ones, by who talks to whom. ``source`` is None while nobody had to know."""
        table: dict[tuple[str | None, str], dict[str, Any]] = {}
        for one in self._connections.values():
            row = table.setdefault(
                (one.source, one.server),
                {"source": one.source, "server": one.server, "count": 0, "bytes": 0},
            )
            row["count"] += 1
            row["bytes"] += sum(one.bytes.values())
        return list(table.values())

    async def _accept(self, forward: Forward, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, address = await loop.sock_accept(listener)
            except OSError:
                # No descriptor is left, or the client was gone: neither ends the listener.
                await asyncio.sleep(FULL_SECONDS)
                continue
            connection = Connection(
                self.network,
                client,
                (LOOPBACK, forward.target),
                forward.node,
                self._clients.node_of(address, client.getsockname()),
            )
            task = loop.create_task(connection.run())
            self._connections[task] = connection
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._connections[task]
        if not task.cancelled() and task.exception() is not None:
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a connection failed", "exception": task.exception(), "task": task}
            )


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        raise FailedError("lab_port_taken", f"port {port} of the lab's network is taken") from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


async def _run(configuration: Configuration) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await Proxy(configuration).serve(stop)


def main() -> int:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        asyncio.run(_run(Configuration.read(Path(sys.argv[1]))))
    except AeternaError as error:
        print(f"{error.code}: {error.message}", file=sys.stderr)  # noqa: T201 - its only channel
        return int(error.exit_code)
    return int(ExitCode.DONE)


if __name__ == "__main__":
    sys.exit(main())
