"""Reading and writing points of one place over REST, by code that no mover uses."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from aeterna_cli.errors import AeternaError, TransientError
from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores.base.placement import PointsPlace

if TYPE_CHECKING:
    from aeterna_cli.stores.qdrant_http import QdrantHttp

PAGE = 500
#: The server that a place's shard lies on.
Locate = Callable[[PointsPlace], QdrantSettings]


def of_tenant(tenant: str) -> dict[str, Any]:
    """The filter that selects one tenant's points."""
    return {"must": [{"key": "tenant_id", "match": {"value": tenant}}]}


def selector(place: PointsPlace) -> dict[str, Any]:
    """The part of a request's body that names the shard key; empty where there is none."""
    if place.shard_key is None:
        return {}
    if place.fallback_key is None:
        return {"shard_key": place.shard_key}
    return {"shard_key": {"target": place.shard_key, "fallback": place.fallback_key}}


class Servers:
    """One thread's connections; each server is connected once, on first use."""

    def __init__(self, locate: Locate) -> None:
        self._locate = locate
        self._open: dict[str, QdrantHttp] = {}

    def at(self, place: PointsPlace) -> "QdrantHttp":
        from aeterna_cli.stores.qdrant_http import QdrantHttp

        settings = self._locate(place)
        found = self._open.get(settings.url)
        if found is None:
            found = self._open[settings.url] = QdrantHttp(settings)
        return found

    def call(self, place: PointsPlace, method: str, path: str, body: Any = None) -> Any:
        """One call below the place's collection; typed errors as of ``QdrantHttp.call``. Vectors
        may be float32 arrays: their text is half as long as that of the same floats in a list."""
        import orjson

        from aeterna_cli.stores.qdrant_http import part

        content = headers = None
        if body is not None:
            content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY)
            headers = {"content-type": "application/json"}
        url = f"/collections/{part(place.collection)}{path}"
        return self.at(place).call(method, url, content=content, headers=headers)

    def change(self, place: PointsPlace, method: str, path: str, body: Any) -> None:
        """A write that is applied when this returns.

        ``TransientError('qdrant_not_applied')`` where the server only took note of it.
        """
        answer = self.call(place, method, f"{path}?wait=true", body)
        for one in answer if isinstance(answer, list) else [answer]:
            if one["status"] != "completed":
                raise TransientError(
                    "qdrant_not_applied", f"the write is {one['status']}, not yet applied"
                )

    def close(self) -> None:
        for one in self._open.values():
            one.close()

    def scan(
        self, place: PointsPlace, condition: dict[str, Any], *, vectors: bool = True
    ) -> Iterator[list[dict[str, Any]]]:
        """Pages of points in the order of their ids; without ``vectors`` only ids."""
        offset = None
        while True:
            body = {
                "filter": condition,
                "limit": PAGE if vectors else PAGE * 10,
                "offset": offset,
                "with_payload": vectors,
                "with_vector": vectors,
            }
            answer = self.call(place, "POST", "/points/scroll", {**body, **selector(place)})
            yield answer["points"]
            offset = answer["next_page_offset"]
            if offset is None:
                return

    def retrieve(
        self, place: PointsPlace, ids: Sequence[str], *, vectors: bool = False
    ) -> list[dict[str, Any]]:
        body = {"ids": list(ids), "with_payload": True, "with_vector": vectors}
        found: list[dict[str, Any]] = self.call(
            place, "POST", "/points", {**body, **selector(place)}
        )
        return found

    def count(self, place: PointsPlace, condition: dict[str, Any]) -> int:
        """Exact; 0 where the collection is gone."""
        body = {"filter": condition, "exact": True, **selector(place)}
        try:
            return int(self.call(place, "POST", "/points/count", body)["count"])
        except AeternaError as error:
            if error.code == "qdrant_not_found":
                return 0
            raise

    def shard_keys(self, place: PointsPlace) -> list[str]:
        """Every shard key of the collection, those of other peers too; none in most collections."""
        answer = self.call(place, "GET", "/cluster")
        shards = [*answer["local_shards"], *answer.get("remote_shards", [])]
        return sorted({str(one["shard_key"]) for one in shards if one.get("shard_key")})
