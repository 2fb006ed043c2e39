"""A place filled with a tenant's first points, fast."""

import time
from collections.abc import Iterator
from typing import Any

from aeterna_cli.errors import AeternaError
from aeterna_cli.lab.workload.log import Log
from aeterna_cli.lab.workload.model import INDEXES, Operation, Universe
from aeterna_cli.lab.workload.points import Servers, selector
from aeterna_cli.stores.base.placement import PointsPlace

BATCH = 1000


def make_place(servers: Servers, place: PointsPlace, dimensions: int) -> None:
    """The collection, its payload indexes and its shard key are there; what was there stays."""
    try:
        servers.call(place, "GET", "")
    except AeternaError as error:
        if error.code != "qdrant_not_found":
            raise
        body: dict[str, Any] = {"vectors": {"size": dimensions, "distance": "Cosine"}}
        custom = {"sharding_method": "custom", "shard_number": 1}
        servers.call(place, "PUT", "", {**body, **(custom if place.shard_key else {})})
    for name, schema in INDEXES.items():
        index = {"field_name": name, "field_schema": schema}
        servers.call(place, "PUT", "/index?wait=true", index)
    if place.shard_key is not None and place.shard_key not in servers.shard_keys(place):
        servers.call(place, "PUT", "/shards", {"shard_key": place.shard_key})


def insert(
    servers: Servers, place: PointsPlace, universe: Universe, log: Log, *, first: int, count: int
) -> None:
    """Points ``first`` and following at version 1, each batch logged before and after."""
    for start, size in _batches(first, count):
        stamp = time.time_ns() // 1_000_000
        log.batch_intent(start, size, stamp)
        numbers = list(range(start, start + size))
        vectors = universe.vectors(numbers, [1] * size)
        points = [
            {
                "id": universe.id(number),
                "vector": vector,
                "payload": universe.payload(Operation(number, 1, "insert", 1, stamp)),
            }
            for number, vector in zip(numbers, vectors, strict=True)
        ]
        servers.change(place, "PUT", "/points", {"points": points, **selector(place)})
        log.batch_acknowledged(start, size)


def _batches(first: int, count: int) -> Iterator[tuple[int, int]]:
    for start in range(first, first + count, BATCH):
        yield start, min(BATCH, first + count - start)
