"""One forwarded connection: two directions, each with one chunk in hand at most.

The rules are asked before each chunk is handed on and again after each partial write, so that a cut
also holds what was read before it, and hands it on when the network is back: nothing is lost from
connections that stay open. What the receiving kernel had before the cut has arrived.
"""

import asyncio
import contextlib
import select
import socket
import struct
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field

from aeterna_cli.lab.ha.network_rules import Rules, Verdict

CHUNK = 1 << 16  # bytes
LOOK_AGAIN = 1.0  # seconds between looks whether somebody who waits in a cut is still there
DRAIN_SECONDS = 2.0
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST
_BODY = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate (fault of the lab).</Message></Error>"
)
_SLOW_DOWN = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


class Broken(Exception):
    """The network ends this connection, without an orderly end."""


class Ended(Exception):
    """The network ends this connection as if its end had been reached."""


@dataclass
class Network:
    """What all connections share. ``changed`` is set, and replaced, whenever a rule changes."""

    rules: Rules
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    busy_until: dict[str, float] = field(default_factory=dict)  # by rule, of shared bandwidth

    def tell(self) -> None:
        told, self.changed = self.changed, asyncio.Event()
        self.busy_until = {
            name: moment for name, moment in self.busy_until.items() if name in self.rules.active
        }
        told.set()

    async def change(self, seconds: float) -> None:
        """Returns at the next change, or after this time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.changed.wait()


class Connection:
    """From the accepted ``client`` to ``target``. ``run`` closes both ends, whatever happens."""

    def __init__(
        self,
        network: Network,
        client: socket.socket,
        target: tuple[str, int],
        server: str,
        identify: Coroutine[None, None, str],
    ) -> None:
        self.server = server
        self.source: str | None = None  # the client's node, once it is known
        self.bytes = {"upload": 0, "download": 0}
        self._network = network
        self._client = client
        self._target = target
        self._identify = asyncio.ensure_future(identify)
        self._upstream: socket.socket | None = None
        self._counted: dict[tuple[str, str], int] = {}

    async def run(self) -> None:
        try:
            await self._work()
        except Ended:
            pass
        except (Broken, OSError):
            for end in (self._client, self._upstream):
                _break(end)
        finally:
            self._identify.cancel()
            for end in (self._client, self._upstream):
                if end is not None:
                    end.close()

    async def _work(self) -> None:
        await self._open("upload", first=True)
        upstream = self._upstream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        for end in (self._client, upstream):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(upstream, self._target)
        pumps = [
            asyncio.ensure_future(self._pump("upload", self._client, upstream)),
            asyncio.ensure_future(self._pump("download", upstream, self._client)),
        ]
        watch = asyncio.ensure_future(self._watch())
        both = asyncio.gather(*pumps)
        try:
            await asyncio.wait((both, watch), return_when=asyncio.FIRST_COMPLETED)
            for task in (both, watch):
                if task.done():
                    await task
        finally:
            # Nobody may wait for a descriptor any more when it is closed: its number is used again.
            for one in (*pumps, watch):
                one.cancel()
            await asyncio.gather(*pumps, both, watch, return_exceptions=True)

    async def _watch(self) -> None:
        """Breaks idle connections too when a rule resets them."""
        while True:
            changed = self._network.changed
            if (await self._verdict()).reset:
                raise Broken
            await changed.wait()

    async def _pump(self, direction: str, source: socket.socket, sink: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while chunk := await loop.sock_recv(source, CHUNK):
            rest = memoryview(chunk)
            await self._delay(direction)
            while rest:
                verdict = await self._open(direction)
                allowed, last = self._allowed(verdict, direction, len(rest))
                sent = _some(sink, rest[:allowed])
                self._count(verdict, direction, sent)
                if last and sent == allowed:
                    raise Ended
                rest = rest[sent:]
                if sent == 0:
                    await _writable(sink)
                await self._pay(verdict, direction, sent)
        await self._open(direction)
        sink.shutdown(socket.SHUT_WR)

    async def _verdict(self) -> Verdict:
        rules = self._network.rules
        if rules.ask_clients and self.source is None:
            self.source = await asyncio.shield(self._identify)
        return rules.verdict(self.source or "", self.server)

    async def _open(self, direction: str, *, first: bool = False) -> Verdict:
        """Returns when bytes may pass. ``Broken`` and ``Ended`` when none ever will.

        A ``first`` client that gave up during the cut is let go: its request never left it.
        """
        while True:
            verdict = await self._verdict()
            if verdict.reset:
                raise Broken
            if not verdict.hang:
                break
            await self._network.change(LOOK_AGAIN)
            if first and _gone(self._client):
                raise Broken
        if verdict.refuse and direction == "upload":
            await self._slow_down(first)
            raise Ended
        return verdict

    async def _delay(self, direction: str) -> None:
        """Each chunk waits on its own, so a slow network carries one chunk per delay."""
        began = time.monotonic()
        while (left := began + (await self._open(direction)).delay - time.monotonic()) > 0:
            await self._network.change(left)

    async def _pay(self, verdict: Verdict, direction: str, sent: int) -> None:
        """Wait as long as a line of that many bytes a second, shared by all, is busy with them."""
        for rule, rate in verdict.slow:
            busy = self._network.busy_until
            moment = max(busy.get(rule, 0.0), time.monotonic()) + sent / rate
            busy[rule] = moment
            while (left := moment - time.monotonic()) > 0:
                await self._network.change(left)
                if rule not in self._network.rules.active:
                    break

    def _allowed(self, verdict: Verdict, direction: str, size: int) -> tuple[int, bool]:
        """How many bytes may go at once, and whether the connection ends after them."""
        last = False
        for _rule, rate in verdict.slow:
            size = min(size, max(1, rate // 20))
        for rule, limited, count in verdict.truncate:
            left = count - self._counted.get((rule, direction), 0)
            if limited == direction and left <= size:
                size, last = max(0, left), True
        return size, last

    def _count(self, verdict: Verdict, direction: str, sent: int) -> None:
        self.bytes[direction] += sent
        for rule, limited, _count in verdict.truncate:
            if limited == direction:
                key = (rule, direction)
                self._counted[key] = self._counted.get(key, 0) + sent

    async def _slow_down(self, first: bool) -> None:
        """Answer the request with 503, and let the client read that before the end."""
        loop = asyncio.get_running_loop()
        self._client.setblocking(False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                if not first or await loop.sock_recv(self._client, CHUNK):
                    await loop.sock_sendall(self._client, _SLOW_DOWN)
                    self._client.shutdown(socket.SHUT_WR)
                    while await loop.sock_recv(self._client, CHUNK):
                        pass


def _some(sink: socket.socket, data: memoryview) -> int:
    """How many bytes the kernel took at once; 0 when its buffer is full."""
    try:
        return sink.send(data) if data else 0
    except BlockingIOError:
        return 0


async def _writable(sink: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    descriptor = sink.fileno()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(descriptor, tell)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)


def _gone(client: socket.socket) -> bool:
    """Whether the other side ended its half, or is not there: seen behind bytes not yet read."""
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)
    return bool(poll.poll(0))


def _break(end: socket.socket | None) -> None:
    if end is not None:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
