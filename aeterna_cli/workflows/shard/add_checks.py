"""What ``shard add`` looks at before anything changes: the server, the collection, the model."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError
from aeterna_cli.stores.base.qdrant import OPS_COLLECTION, CollectionDescription, ShardDescription
from aeterna_cli.stores.qdrant import QdrantServer


@dataclass(frozen=True)
class Seen:
    """``model`` is what the collection is made like, None where nothing is to be made."""

    url: str
    version: str
    there: bool
    vectors: Mapping[str, Any]
    model: CollectionDescription | None
    notes: tuple[str, ...]


def look(
    ctx: Context, server_name: str, collection: str, shard_key: str | None, like: str | None
) -> Seen:
    """Reads only. ``RefusedError``: ``collection_missing``, ``collection_is_alias``,
    ``own_collection``, ``model_missing``, ``collection_differs`` (from the model),
    ``shard_key_needed``, ``collection_without_shard_keys``; the driver's own for a server that does
    not answer or refuses us."""
    if collection == OPS_COLLECTION:
        raise RefusedError("own_collection", f"{collection} is this tool's own, never a shard")
    with ctx.deployment.qdrant_server(server_name) as server:
        version = server.identity().version
        found = server.collection(collection)
        if found is None and collection in server.aliases():
            raise RefusedError(
                "collection_is_alias",
                f"{collection} is an alias of {server.aliases()[collection]}",
                hint="a shard is a collection: an alias could be pointed elsewhere meanwhile",
            )
        url = server.description
    model = _model(ctx, server_name, collection, shard_key, like)
    wanted = found or model
    if wanted is None:
        raise _missing(collection, url)
    _refuse_key(wanted, shard_key)
    if found is not None and model is not None:
        _refuse_other(found, model)
    return Seen(url, version, found is not None, vectors(wanted), model,
                _notes(found, shard_key, model))  # fmt: skip


def vectors(description: CollectionDescription) -> Mapping[str, Any]:
    """What two collections must share for points to move between them."""
    parameters = description.config.get("params", {})
    return {
        "vectors": parameters.get("vectors", {}),
        "sparse_vectors": parameters.get("sparse_vectors") or {},
    }


def _model(
    ctx: Context, server_name: str, collection: str, shard_key: str | None, like: str | None
) -> CollectionDescription | None:
    """``like`` is a shard's name, wherever that lies, else a collection of the same server.

    Everything is taken over but aliases, points and other tenants' shard keys.
    """
    if like is None:
        return None
    store = ctx.deployment.placement
    shard = store.shard(like) if store.prepared() else None
    where, name = (shard.server, shard.collection) if shard else (server_name, like)
    with ctx.deployment.qdrant_server(where) as server:
        found = server.collection(name)
    if found is None:
        raise RefusedError(
            "model_missing",
            f"{like!r} is neither a shard nor a collection of this server",
            next_steps=["aeterna-cli shard list"],
        )
    config = dict(found.config)
    if found.custom_sharding and shard_key is None:  # a place of its own needs no keys
        config["params"] = {
            key: value for key, value in config["params"].items() if key != "sharding_method"
        }
    shards = (ShardDescription(0, shard_key, True, ()),) if shard_key is not None else ()
    return replace(found, name=collection, config=config, aliases=(), points=0, shards=shards)


def _refuse_key(description: CollectionDescription, shard_key: str | None) -> None:
    if description.custom_sharding and shard_key is None:
        raise RefusedError(
            "shard_key_needed",
            f"{description.name} has shard keys: a shard there is one of them",
            hint="give --shard-key; it may be one that does not exist yet",
        )
    if not description.custom_sharding and shard_key is not None:
        raise RefusedError(
            "collection_without_shard_keys",
            f"{description.name} has no shard keys (sharding_method is not custom)",
            hint="leave --shard-key out: the whole collection is the shard",
        )


def _refuse_other(found: CollectionDescription, model: CollectionDescription) -> None:
    if vectors(found) != vectors(model):
        raise RefusedError(
            "collection_differs",
            f"{found.name} exists and has other vectors than the model",
            hint=f"it has {vectors(found)}, the model {vectors(model)}; nothing was changed",
            next_steps=["leave --create-like out to take the collection as it is"],
        )


def _missing(collection: str, url: str) -> RefusedError:
    return RefusedError(
        "collection_missing",
        f"there is no collection {collection!r} at {url}",
        next_steps=["aeterna-cli shard add NAME --collection C --create-like SHARD_OR_COLLECTION"],
    )


def _notes(
    found: CollectionDescription | None, shard_key: str | None, model: CollectionDescription | None
) -> tuple[str, ...]:
    if found is None:
        return ("the collection is made, empty",)
    if shard_key is not None and shard_key not in found.shard_keys():
        return (f"the shard key {shard_key} does not exist yet; the move that needs it makes it",)
    if model is not None:
        missing = sorted(model.payload_schema.keys() - found.payload_schema.keys())
        return (f"payload indexes are added: {', '.join(missing)}",) if missing else ()
    return ()


def as_seen(server: QdrantServer, seen: Seen, collection: str) -> CollectionDescription:
    """The collection as it is now; ``RefusedError('collection_differs')`` where it is another than
    the one that was looked at."""
    found = server.collection(collection)
    if found is None:
        raise _missing(collection, server.description)
    if vectors(found) != seen.vectors:
        raise RefusedError(
            "collection_differs",
            f"{collection} has other vectors than when it was looked at",
            hint="the shard stays in status provisioning; look at the collection, then add again",
        )
    return found
