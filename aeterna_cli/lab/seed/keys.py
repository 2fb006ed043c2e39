"""The seed in Redis: every shape of key that the platform writes."""

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from aeterna_cli.lab.part import Place
from aeterna_cli.lab.seed.tenants import EPOCH, LAYERS, Tenant, identifier, memories
from aeterna_cli.lab.valkey import client

if TYPE_CHECKING:
    from redis.client import Pipeline

DAY = 86_400


def write(place: Place, seed: int, everyone: Sequence[Tenant]) -> int:
    """Every key of every tenant; how many keys there are then. Keys that are there are replaced."""
    with client(place) as server:
        pipe = server.pipeline(transaction=False)
        pipe.set("aeterna:server:version", "0.8.0-rc.12")
        for tenant in everyone:
            _write_tenant(pipe, seed, tenant)
        pipe.execute()
        return int(server.dbsize())


def _write_tenant(pipe: "Pipeline", seed: int, tenant: Tenant) -> None:
    key = str(tenant.id(seed))
    _records(pipe, seed, tenant, key)
    _caches(pipe, seed, tenant, key)
    for stream in ("events", "dlq"):
        name = f"governance:{stream}:{key}"
        pipe.delete(name)
        for number in range(3):
            event = json.dumps({"tenant": tenant.slug, "number": number})
            moment = int(EPOCH.timestamp() * 1000) + number
            pipe.xadd(name, {"event": event}, id=f"{moment}-0")
    pipe.set(f"sync_lock:{key}:nightly", "worker-1", ex=DAY)
    pipe.set(f"aeterna:graph:lock:{key}", "worker-2", ex=DAY)
    pipe.set(f"job_checkpoint:import:{key}", json.dumps({"offset": 42}), ex=DAY)
    pipe.set(f"revocation:agent:{identifier(seed, tenant.slug, 'agent')}", "1", ex=DAY)
    pipe.set(f"{key}:settings", b"\x00\x01binary\xff" + tenant.slug.encode())


def _records(pipe: "Pipeline", seed: int, tenant: Tenant, key: str) -> None:
    """JSON records with an index set; the tenant stands inside the value."""
    shapes: tuple[tuple[str, dict[str, Any], int | None], ...] = (
        ("refresh_tokens", {"tenant_id": key, "user": tenant.slug}, 30 * DAY),
        ("git_provider_connections", {"allowed_tenant_ids": [key]}, None),
        ("export_jobs", {"tenant_id": key, "state": "done"}, DAY),
        ("dead_letter", {"tenant_id": key, "error": "timeout"}, None),
    )
    for kind, value, seconds in shapes:
        record = str(identifier(seed, tenant.slug, kind))
        pipe.set(f"aeterna:{kind}:{record}", json.dumps(value), ex=seconds)
        pipe.sadd(f"aeterna:{kind}:__index", record)


def _caches(pipe: "Pipeline", seed: int, tenant: Tenant, key: str) -> None:
    for number, memory in enumerate(memories(seed, tenant)):
        if number >= 20:
            return
        digest = hashlib.sha256(memory.content.encode()).hexdigest()[:16]
        vector = json.dumps([number / 10, 1.0])
        pipe.set(f"emb:{key}:all-minilm:{digest}", vector, ex=DAY)
        pipe.set(f"{key}:emb:vec:{digest}", vector, ex=DAY)
        pipe.set(f"reasoning:{key}:{digest}", json.dumps({"answer": memory.content}), ex=DAY)
        pipe.set(f"summary:{key}:{LAYERS[0]}:{memory.id}:short", json.dumps({"text": "…"}))
        pipe.set(f"extension:{key}:session-{number}:planner", json.dumps({"step": number}), ex=DAY)
