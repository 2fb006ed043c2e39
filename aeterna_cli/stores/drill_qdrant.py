"""A drill's markers in Qdrant: points of our own collection, written to any peer that answers."""

from typing import Any
from uuid import UUID, uuid5

import httpx

from aeterna_cli.errors import AeternaError, TransientError
from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores.base.drill import NotSentError, Written
from aeterna_cli.stores.base.qdrant import OPS_COLLECTION
from aeterna_cli.stores.qdrant_http import QdrantHttp
from aeterna_cli.stores.qdrant_marker import VECTOR

_PAGE = 1000


def point_id(drill: str, number: int) -> str:
    """The id of a marker's point: the same wherever it is asked."""
    return str(uuid5(UUID(drill), str(number)))


class QdrantMarkers:
    """Points with ``{"drill": id, "number": n}``. A peer that fails is left for the next one; the
    answer of an upsert with ``wait`` is what an application takes for written."""

    def __init__(self, settings: QdrantSettings, drill: str, timeout: float) -> None:
        urls = settings.peers or (settings.url,)
        self._peers = [
            QdrantHttp(settings.model_copy(update={"url": url, "timeout": timeout})) for url in urls
        ]
        self._many = len(urls) > 1
        self._drill = drill

    def close(self) -> None:
        for peer in self._peers:
            peer.close()

    def prepare(self) -> None:
        """Our own collection is there; on a cluster with two replicas."""
        found = self._call("GET", f"/collections/{OPS_COLLECTION}/exists", None)
        if not found["exists"]:
            body: dict[str, Any] = {"vectors": {"size": 1, "distance": "Dot"}, "shard_number": 1}
            if self._many:
                body["replication_factor"] = 2
            self._call("PUT", f"/collections/{OPS_COLLECTION}", body)

    def write(self, number: int) -> Written:
        """One attempt at one peer; the next attempt asks the next peer after a failure."""
        peer = self._peers[0]
        payload = {"drill": self._drill, "number": number}
        point = {"id": point_id(self._drill, number), "vector": VECTOR, "payload": payload}
        try:
            peer.upsert(OPS_COLLECTION, {"points": [point]})
        except AeternaError as error:
            self._next(peer)
            if isinstance(error.__cause__, httpx.ConnectError | httpx.ConnectTimeout):
                raise NotSentError(error.code, error.message) from error
            raise
        return Written(peer.description)

    def read(self) -> set[int]:
        numbers: set[int] = set()
        body: dict[str, Any] = {"filter": self._ours(), "limit": _PAGE, "with_payload": True}
        while True:
            page = self._call("POST", f"/collections/{OPS_COLLECTION}/points/scroll", body)
            for point in page["points"]:
                number = (point.get("payload") or {}).get("number")
                if isinstance(number, int):
                    numbers.add(number)
            if page.get("next_page_offset") is None:
                return numbers
            body["offset"] = page["next_page_offset"]

    def clear(self) -> None:
        path = f"/collections/{OPS_COLLECTION}/points/delete"
        self._call("POST", path, {"filter": self._ours()}, params={"wait": "true"})

    def _ours(self) -> dict[str, Any]:
        return {"must": [{"key": "drill", "match": {"value": self._drill}}]}

    def _call(self, method: str, path: str, body: Any, params: dict[str, str] | None = None) -> Any:
        """The answer of the first peer that gives one."""
        last: TransientError | None = None
        for peer in list(self._peers):
            try:
                return peer.call(method, path, body, params=params)
            except TransientError as error:
                last = error
                self._next(peer)
        raise last or TransientError("qdrant_unreachable", "no Qdrant peer is known")

    def _next(self, peer: QdrantHttp) -> None:
        peer.close()
        self._peers.append(self._peers.pop(self._peers.index(peer)))
