"""Collections, aliases and payload indexes."""

from typing import Any

import qdrant_edge as engine

from aeterna_cli.lab.qdrant.calls import Call, Entry
from aeterna_cli.lab.qdrant.collection import Collection
from aeterna_cli.lab.qdrant.refusals import bad_format
from aeterna_cli.lab.qdrant.schemas import engine_index, index_schema, update_config

_ONE = "/collections/{name}"


async def list_collections(call: Call) -> dict[str, Any]:
    memory = call.node.peers.asked.memory
    known = call.node.collections if memory is None else memory
    return {"collections": [{"name": name} for name in known]}


async def exists(call: Call) -> dict[str, bool]:
    name = call.path("name")
    return {"exists": call.node.aliases.get(name, name) in call.node.collections}


async def create(call: Call) -> bool:
    call.node.create_collection(call.path("name"), await call.body())
    return True


async def update(call: Call) -> bool:
    collection = call.collection
    update_config(collection.config, await call.body(), call.version)
    collection.save()
    return True


async def delete(call: Call) -> bool:
    return await call.node.delete_collection(call.path("name"))


async def info(call: Call) -> dict[str, Any]:
    collection = call.collection
    infos = [shard.edge.info() for shard in collection.shards.values()]
    document: dict[str, Any] = {
        "status": "green",
        "optimizer_status": "ok",
        "indexed_vectors_count": sum(one.indexed_vectors_count for one in infos),
        "points_count": sum(one.points_count for one in infos),
        "segments_count": sum(one.segments_count for one in infos),
        "config": collection.config,
        "payload_schema": {
            field: {**schema, "points": _indexed_points(infos, field)}
            for field, schema in collection.payload_schema.items()
        },
    }
    if call.version.has("update_queue"):
        document["update_queue"] = {"length": collection.waiting}
    return document


def _indexed_points(infos: list[Any], field: str) -> int:
    return sum(one.payload_schema[field].points for one in infos if field in one.payload_schema)


async def change_aliases(call: Call) -> bool:
    actions = (await call.body())["actions"]
    known = {"create_alias", "delete_alias", "rename_alias"}
    if not all(isinstance(one, dict) and len(one.keys() & known) == 1 for one in actions):
        raise bad_format("data did not match any variant of untagged enum AliasOperations")
    call.node.change_aliases(actions)
    return True


def _aliases(call: Call, collection: Collection | None) -> dict[str, Any]:
    return {
        "aliases": [
            {"alias_name": alias, "collection_name": name}
            for alias, name in call.node.aliases.items()
            if collection is None or name == collection.name
        ]
    }


async def all_aliases(call: Call) -> dict[str, Any]:
    return _aliases(call, None)


async def collection_aliases(call: Call) -> dict[str, Any]:
    return _aliases(call, call.collection)


async def create_index(call: Call) -> dict[str, Any]:
    body = await call.body()
    collection = call.collection
    field = body["field_name"]
    schema = index_schema(body.get("field_schema"))
    for shard in collection.shards.values():
        async with shard.lock:
            shard.apply(engine.UpdateOperation.create_field_index(field, engine_index(schema)))
            shard.flush()
    collection.payload_schema[field] = schema
    collection.save()
    return collection.next_result(completed=call.wait(False))


async def delete_index(call: Call) -> dict[str, Any]:
    collection, field = call.collection, call.path("field")
    for shard in collection.shards.values():
        async with shard.lock:
            shard.apply(engine.UpdateOperation.delete_field_index(field))
            shard.flush()
    collection.payload_schema.pop(field, None)
    collection.save()
    return collection.next_result(completed=call.wait(False))


ENTRIES = [
    Entry("GET", "/collections", list_collections),
    Entry("POST", "/collections/aliases", change_aliases, consensus=True),
    Entry("GET", "/aliases", all_aliases),
    Entry("GET", f"{_ONE}/aliases", collection_aliases),
    Entry("GET", f"{_ONE}/exists", exists),
    Entry("PUT", _ONE, create, consensus=True),
    Entry("PATCH", _ONE, update, consensus=True),
    Entry("DELETE", _ONE, delete, consensus=True),
    Entry("GET", _ONE, info),
    Entry("PUT", f"{_ONE}/index", create_index, consensus=True),
    Entry("DELETE", f"{_ONE}/index/{{field}}", delete_index, consensus=True),
]
