"""The HTTP application: authorisation, the answer's envelope, errors, faults."""

import hmac
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from aeterna_cli.lab.qdrant import (
    collection_routes,
    peer_routes,
    point_routes,
    service_routes,
    shard_routes,
    snapshot_routes,
    wire,
)
from aeterna_cli.lab.qdrant.calls import Call, Entry
from aeterna_cli.lab.qdrant.node import Node
from aeterna_cli.lab.qdrant.peers import ASKED, Peer
from aeterna_cli.lab.qdrant.refusals import Refusal, from_engine

LAB_HEADER = {"x-aeterna-lab": "qdrant-edge"}
_OPEN = ("/", "/healthz", "/livez", "/readyz")
_READING_POSTS = (
    "/points",
    "/points/scroll",
    "/points/count",
    "/points/query",
    "/points/search",
    "/facet",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, repr=False)
class Keys:
    """The API keys. Without a full key everybody may do everything."""

    full: str | None = None
    read_only: str | None = None

    def refusal(self, request: Request) -> Response | None:
        """401 without a right key, 403 when the key may only read; None when all is well."""
        if self.full is None or request.url.path in _OPEN:
            return None
        given = request.headers.get("api-key")
        if given is None:
            scheme, _, token = request.headers.get("authorization", "").partition(" ")
            given = token if scheme.lower() == "bearer" else None
        if given is None:
            text = "Must provide an API key or an Authorization bearer token"
            return PlainTextResponse(text, 401, LAB_HEADER)
        if hmac.compare_digest(given.encode(), self.full.encode()):
            return None
        if self.read_only is None or not hmac.compare_digest(
            given.encode(), self.read_only.encode()
        ):
            return PlainTextResponse("Invalid API key or JWT", 401, LAB_HEADER)
        return None if _reads(request) else _error(Refusal(403, "Forbidden: write access required"))


def _reads(request: Request) -> bool:
    """The streamed snapshot is a GET, yet it needs write access, as does making one."""
    path = request.url.path
    if request.method == "GET":
        return not path.endswith("/snapshot")
    return request.method == "POST" and path.endswith(_READING_POSTS)


def _json(document: Any, status: int = 200) -> Response:
    return Response(wire.dumps(document), status, LAB_HEADER, "application/json")


def _error(refusal: Refusal) -> Response:
    answer = _json({"status": {"error": refusal.message}, "time": 0.0}, refusal.status)
    if refusal.status == 429:
        answer.headers["retry-after"] = "1"
    return answer


async def _answer(call: Call, entry: Entry) -> Response:
    started = time.perf_counter()
    try:
        if entry.consensus and call.node.peers.several:
            await call.node.peers.agree(call.node.peers.asked, call.patience)
        result = await entry.handler(call)
    except Refusal as refusal:
        return _error(refusal)
    except Exception as error:
        blamed = from_engine(error)
        if blamed.status == 500:
            log.exception("%s %s", entry.method, entry.path)
        return _error(blamed)
    if isinstance(result, Response):
        result.headers.update(LAB_HEADER)
        return result
    return _json({"result": result, "status": "ok", "time": time.perf_counter() - started})


def _endpoint(
    node: Node, entry: Entry, keys: Keys, peer: Peer
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        ASKED.set(peer)
        if peer.fault == "frozen" and not entry.path.startswith("/lab/"):
            await peer.thawed.wait()
        refused = keys.refusal(request)
        if refused is not None:
            return refused
        call = Call(node, request)
        if node.faults is not None:
            try:
                call.fault = await node.faults.before(request.method, request.url.path)
            except Refusal as refusal:
                return _error(refusal)
        answer = await _answer(call, entry)
        return _lost() if call.fault == "lost" else answer

    return endpoint


def _lost() -> Response:
    """A body that is promised and never sent: the connection breaks."""
    return StreamingResponse(iter(()), headers={"content-length": "100"})


async def _unknown_path(_request: Request, _error: Exception) -> Response:
    """Also for a known path with another method, as the real server's router does."""
    return Response(status_code=404, headers=LAB_HEADER)


def application(node: Node, keys: Keys, peer: Peer | None = None) -> Starlette:
    """All routes that the imitated version has, as ``peer`` answers them.

    Without a peer there is one, and the data directory is open while it serves.
    """
    entries = [
        *service_routes.ENTRIES,
        *collection_routes.ENTRIES,
        *point_routes.ENTRIES,
        *shard_routes.ENTRIES,
        *snapshot_routes.ENTRIES,
    ]
    if node.faults is not None:
        entries += service_routes.FAULT_ENTRIES
    if node.peers.several:
        entries += peer_routes.ENTRIES
        entries += peer_routes.FAULT_ENTRIES if node.faults is not None else []
    asked = peer or node.peers.first
    routes = [
        Route(entry.path, _endpoint(node, entry, keys, asked), methods=[entry.method])
        for entry in entries
        if entry.feature is None or node.version.has(entry.feature)
    ]

    @asynccontextmanager
    async def lifespan(_application: Starlette) -> AsyncIterator[None]:
        await node.start()
        yield
        await node.stop()

    return Starlette(
        routes=routes,
        lifespan=lifespan if peer is None else None,
        exception_handlers={404: _unknown_path, 405: _unknown_path},
    )
