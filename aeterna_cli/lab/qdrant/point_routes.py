"""Points: updates, reads, and reads of one local shard."""

from typing import Any

from aeterna_cli.lab.qdrant import reads, updates
from aeterna_cli.lab.qdrant.calls import Call, Entry, Handler
from aeterna_cli.lab.qdrant.points import point_id
from aeterna_cli.lab.qdrant.refusals import bad_format, not_found

_POINTS = "/collections/{name}/points"
_SHARD = "/collections/{name}/shards/{shard:int}/points"


def _update(name: str) -> Handler:
    build = updates.BY_NAME[name]

    async def handler(call: Call) -> Any:
        body = await call.body()
        collection = call.collection
        changes = build(collection, body, call.version)
        return await collection.update(changes, wait=call.wait(False), ordering=call.ordering)

    return handler


async def batch(call: Call) -> list[Any]:
    """Operation by operation; a fault stops there and what was done before it stays."""
    operations = (await call.body())["operations"]
    collection = call.collection
    results = []
    for operation in operations:
        ((name, body),) = operation.items()
        if name not in updates.BY_NAME:
            raise bad_format("data did not match any variant of untagged enum UpdateOperation")
        changes = updates.BY_NAME[name](collection, body, call.version)
        results.append(
            await collection.update(changes, wait=call.wait(False), ordering=call.ordering)
        )
    return results


async def scroll(call: Call) -> dict[str, Any]:
    body, collection = await call.body(), call.collection
    shards = reads.chosen(collection, body, call.version)
    return reads.scroll(collection, shards, body, call.version)


async def count(call: Call) -> dict[str, int]:
    body, collection = await call.body(), call.collection
    shards = reads.chosen(collection, body, call.version)
    return reads.count(collection, shards, body, call.version)


async def retrieve(call: Call) -> list[dict[str, Any]]:
    body, collection = await call.body(), call.collection
    return reads.retrieve(reads.chosen(collection, body, call.version), body)


async def retrieve_one(call: Call) -> dict[str, Any]:
    text = call.path("point")
    wanted = point_id(int(text) if text.isdigit() else text)
    body = {"ids": [wanted], "with_vector": True}
    found = reads.retrieve(reads.chosen(call.collection, body, call.version), body)
    if not found:
        raise not_found(f"Point with id {text} does not exists!")
    return found[0]


async def query(call: Call) -> dict[str, Any]:
    body, collection = await call.body(), call.collection
    shards = reads.chosen(collection, body, call.version)
    return {"points": reads.query(collection, shards, body, call.version)}


async def search(call: Call) -> list[dict[str, Any]]:
    """The older form of a query, gone from the newest versions."""
    body, collection = await call.body(), call.collection
    wanted = body["vector"]
    if isinstance(wanted, dict):
        body = {**body, "using": wanted["name"], "query": wanted["vector"]}
    else:
        body = {**body, "query": wanted}
    shards = reads.chosen(collection, body, call.version)
    return reads.query(collection, shards, body, call.version)


async def facet(call: Call) -> dict[str, Any]:
    body, collection = await call.body(), call.collection
    return reads.facet(reads.chosen(collection, body, call.version), body, call.version)


async def shard_scroll(call: Call) -> dict[str, Any]:
    return reads.scroll(call.collection, [call.shard], await call.body(), call.version)


async def shard_count(call: Call) -> dict[str, int]:
    """Of this peer's shard, whatever its state."""
    found = reads.count(call.collection, [call.shard], await call.body(), call.version)
    lost = call.shard.replicas.lost.get(call.node.peer_id, 0)
    return {"count": max(0, found["count"] - lost)}


ENTRIES = [
    Entry("PUT", _POINTS, _update("upsert")),
    Entry("POST", f"{_POINTS}/delete", _update("delete")),
    Entry("POST", f"{_POINTS}/payload", _update("set_payload")),
    Entry("PUT", f"{_POINTS}/payload", _update("overwrite_payload")),
    Entry("POST", f"{_POINTS}/payload/delete", _update("delete_payload")),
    Entry("POST", f"{_POINTS}/payload/clear", _update("clear_payload")),
    Entry("POST", f"{_POINTS}/batch", batch),
    Entry("POST", f"{_POINTS}/scroll", scroll),
    Entry("POST", f"{_POINTS}/count", count),
    Entry("POST", f"{_POINTS}/query", query),
    Entry("POST", f"{_POINTS}/search", search, "point_search"),
    Entry("POST", _POINTS, retrieve),
    Entry("GET", f"{_POINTS}/{{point}}", retrieve_one),
    Entry("POST", "/collections/{name}/facet", facet),
    Entry("POST", f"{_SHARD}/scroll", shard_scroll),
    Entry("POST", f"{_SHARD}/count", shard_count),
]
