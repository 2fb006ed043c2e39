"""From which node of a lab a connection comes: the owner of the connecting socket.

The socket's inode stands in /proc/net/tcp, its owner has it among /proc/<pid>/fd, and the owner is
a node's when it carries the lab's mark or is a server program that works below the node's folder.
Nodes in pid namespaces of their own share our network, so they are found as well. Source: proc(5).
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aeterna_cli.lab import processes
from aeterna_cli.lab.ha.network_rules import OUTSIDE

Address = tuple[str, int]
Pair = tuple[Address, Address]  # the client's end and ours


class Clients:
    """Knows the processes of the nodes in a lab's folder.

    One look at all processes costs some milliseconds, so it is done in a thread, beside the
    forwarding, and once for all connections that came while the look before it ran.
    """

    def __init__(self, folder: Path, lab_id: str, nodes: frozenset[str]) -> None:
        self._folder = folder.resolve()
        self._lab_id = lab_id
        self._nodes = nodes
        self._thread = ThreadPoolExecutor(1)
        self._asked: list[tuple[Pair, asyncio.Future[str]]] = []
        self._looking: asyncio.Task[None] | None = None

    async def node_of(self, client: Address, server: Address) -> str:
        """The node whose process has the client's end of this connection, else ``OUTSIDE``: so it
        is for one that ended meanwhile."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked.append(((client, server), future))
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        return await future

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while self._asked:
            batch, self._asked = self._asked, []
            pairs = [pair for pair, _ in batch]
            nodes = await loop.run_in_executor(self._thread, self.look, pairs)
            for (_, future), node in zip(batch, nodes, strict=True):
                if not future.done():
                    future.set_result(node)

    def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
        self._thread.shutdown(cancel_futures=True)

    def look(self, pairs: Sequence[Pair]) -> list[str]:
        """The same for several connections at once, in their order."""
        inodes = _inodes(pairs)
        owners: dict[str, str] = {}
        for found in processes.of_lab(self._folder, self._lab_id) if inodes else ():
            node = self._node(found)
            if node is not None:
                owners.update(dict.fromkeys(_files(found.process.pid), node))
        return [owners.get(f"socket:[{inodes.get(pair)}]", OUTSIDE) for pair in pairs]

    def _node(self, found: processes.Found) -> str | None:
        if found.part in self._nodes:
            return found.part
        if not found.directory.is_relative_to(self._folder):
            return None
        below = found.directory.relative_to(self._folder).parts
        return below[0] if below and below[0] in self._nodes else None


def _inodes(pairs: Sequence[Pair]) -> dict[Pair, int]:
    """The inodes of the clients' ends; without those that nobody has any more."""
    wanted = {tuple(f"{_written(end)}".encode() for end in pair): pair for pair in pairs}
    found = {}
    try:
        lines = Path("/proc/net/tcp").read_bytes().splitlines()
    except OSError:
        return {}
    for line in lines:
        fields = line.split(None, 10)
        pair = wanted.get((fields[1], fields[2]))
        if pair is not None and fields[9] != b"0":
            found[pair] = int(fields[9])
    return found


def _written(address: Address) -> str:
    """As /proc/net/tcp writes it: the address in the machine's byte order, the port as a number."""
    (number,) = struct.unpack("=I", socket.inet_aton(address[0]))
    return f"{number:08X}:{address[1]:04X}"


def _files(pid: int) -> list[str]:
    """What a process has open; nothing where it ended, or may not be looked at."""
    targets = []
    with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                targets.append(os.readlink(entry.path))  # noqa: PTH115 - one of thousands
    return targets
