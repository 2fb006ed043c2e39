"""One listener for each of several peers, in one process and one event loop.

A peer that is killed gives its address up and breaks its connections, so clients are refused as by
a machine whose server has died.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette

from aeterna_cli.lab.qdrant.node import Node
from aeterna_cli.lab.qdrant.peers import Peer


class _Server(uvicorn.Server):
    """Signals are those of the whole process, not of one listener."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listener:
    def __init__(self, peer: Peer, application: Starlette, host: str, grace: int) -> None:
        self.peer = peer
        self._grace = grace
        self._config = uvicorn.Config(
            application,
            host=host,
            port=peer.port,
            log_level="warning",
            lifespan="off",
            timeout_graceful_shutdown=grace,
            timeout_keep_alive=60,
        )
        self._server: _Server | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def open(self) -> bool:
        return self._task is not None

    def start(self) -> None:
        self._server = _Server(self._config)
        self._task = asyncio.create_task(self._server.serve())

    async def stop(self, *, at_once: bool = False) -> None:
        """The address is free; with ``at_once`` no request is answered any more."""
        if self._server is None or self._task is None:
            return
        if at_once:
            for server in self._server.servers:
                server.close()
            for connection in list(self._server.server_state.connections):
                if connection.transport is not None:
                    connection.transport.abort()
            self._server.force_exit = True
        self._server.should_exit = True
        with contextlib.suppress(SystemExit):
            await self._task
        self._server = self._task = None


async def serve(
    node: Node, application_of: Callable[[Peer], Starlette], host: str, grace: int
) -> None:
    """Until SIGTERM or SIGINT; everything acknowledged is flushed when this returns.

    ``SystemExit`` where an address is taken, as for a single listener.
    """
    over, changed = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        over.set()
        changed.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    node.peers.changed = changed.set
    await node.start()
    listeners = [
        Listener(peer, application_of(peer), host, grace) for peer in node.peers.members.values()
    ]
    try:
        while not over.is_set():
            changed.clear()
            for one in listeners:
                await _follow(one)
            await changed.wait()
    finally:
        for one in listeners:
            one.peer.thawed.set()
        await asyncio.gather(*(one.stop() for one in listeners), return_exceptions=True)
        await node.stop()


async def _follow(listener: Listener) -> None:
    if listener.peer.runs and not listener.open:
        listener.start()
    elif not listener.peer.runs and listener.open:
        await listener.stop(at_once=True)
