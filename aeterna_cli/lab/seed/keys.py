"""The seed in Redis: every shape of key that the platform writes."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from aeterna_cli.lab.part import Place
from aeterna_cli.lab.seed.key_shapes import SeedKey, seed_keys, stream_id
from aeterna_cli.lab.seed.tenants import Tenant
from aeterna_cli.lab.valkey import client

if TYPE_CHECKING:
    from redis.client import Pipeline

_BATCH = 2000


def write(place: Place, seed: int, everyone: Sequence[Tenant]) -> int:
    """Every key of every tenant; how many keys there are then. Keys that are there are replaced."""
    with client(place) as server:
        for batch in _batches(seed_keys(seed, everyone)):
            pipe = server.pipeline(transaction=False)
            for key in batch:
                _write(pipe, key)
            pipe.execute()
        return int(server.dbsize())


def _batches(keys: Iterator[SeedKey]) -> Iterator[list[SeedKey]]:
    batch: list[SeedKey] = []
    for key in keys:
        batch.append(key)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


def _write(pipe: "Pipeline", key: SeedKey) -> None:
    if isinstance(key.value, tuple):
        pipe.delete(key.name)
        for number, event in enumerate(key.value):
            pipe.xadd(key.name, {"event": event}, id=stream_id(number))
        return
    pipe.set(key.name, key.value, ex=key.seconds)
    if key.index is not None:
        pipe.sadd(key.index, key.name.rsplit(":", 1)[1])
