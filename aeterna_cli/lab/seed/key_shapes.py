"""Every shape of key that the platform writes to Redis, as data: pure, the same for one seed.

Locks and caches live for a day here, whatever they do in the platform: a key that goes away while
somebody looks at a lab proves nothing.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aeterna_cli.lab.seed.tenants import EPOCH, LAYERS, Tenant, identifier, memories

DAY = 86_400
CACHED = 20  # memories of a tenant whose embeddings, answers and summaries are cached
_ZSTD = b"\x28\xb5\x2f\xfd"  # how a compressed extension state begins


@dataclass(frozen=True)
class SeedKey:
    """One key. A tuple as value makes a stream of events. ``tenants`` are the slugs of those whose
    it is: none for the deployment's own. With ``index`` its last part is in that set."""

    name: str
    value: str | bytes | tuple[str, ...]
    seconds: int | None
    tenants: tuple[str, ...] = ()
    index: str | None = None


def seed_keys(seed: int, everyone: Sequence[Tenant]) -> Iterator[SeedKey]:
    """Every key but the index sets, once each."""
    inhabited = [tenant for tenant in everyone if not tenant.vacant]
    yield from _deployment(seed)
    for tenant in inhabited:
        yield from _records(seed, tenant)
        yield from _work(seed, tenant)
        yield from _caches(seed, tenant)
    for one, other in zip(inhabited[:1], inhabited[2:3], strict=False):
        value = {"name": "shared", "allowed_tenant_ids": [one.key(seed), other.slug]}
        kind, owners = "git_provider_connections", (one.slug, other.slug)
        yield _record(seed, kind, "shared", value, seconds=None, tenants=owners)


def _deployment(seed: int) -> Iterator[SeedKey]:
    yield SeedKey("aeterna:server:version", "0.8.0-rc.12", None)
    yield SeedKey("aeterna:server:bootstrap:purge-lock", "pod-1", DAY)
    yield SeedKey("aeterna:lifecycle:decay", "pod-1", DAY)
    yield SeedKey("job_completed:nightly-decay", "1", DAY)
    yield SeedKey("job_lock:nightly-decay", "pod-1", DAY)
    state = identifier(seed, "oauth", "state").hex
    yield SeedKey(f"oauth:state:{state}", json.dumps({"provider": "github"}), DAY)
    full = {"scope": {"type": "full_instance"}, "state": "done"}
    yield _record(seed, "export_jobs", "deployment", full, seconds=DAY, tenants=())


def _record(
    seed: int,
    kind: str,
    owner: str,
    value: dict[str, Any],
    *,
    seconds: int | None,
    tenants: tuple[str, ...],
) -> SeedKey:
    """A JSON record with an index set; the tenant stands inside the value."""
    name = str(identifier(seed, owner, kind))
    index = f"aeterna:{kind}:__index"
    return SeedKey(f"aeterna:{kind}:{name}", json.dumps(value), seconds, tenants, index)


def _records(seed: int, tenant: Tenant) -> Iterator[SeedKey]:
    key = tenant.key(seed)
    scope = {"type": "tenant", "tenant_id": key}
    shapes: tuple[tuple[str, dict[str, Any], int | None], ...] = (
        ("refresh_tokens", {"tenant_id": key, "user": tenant.slug}, 30 * DAY),
        ("git_provider_connections", {"allowed_tenant_ids": [key]}, None),
        ("export_jobs", {"tenant_id": key, "state": "done"}, DAY),
        ("import_jobs", {"scope": scope, "state": "failed"}, DAY),
        ("dead_letter", {"tenantId": key, "error": "timeout"}, None),
        ("remediations", {"tenant_id": key, "status": "pending"}, None),
    )
    for kind, value, seconds in shapes:
        yield _record(seed, kind, tenant.slug, value, seconds=seconds, tenants=(tenant.slug,))


def _work(seed: int, tenant: Tenant) -> Iterator[SeedKey]:
    """Streams, locks and the keys of jobs."""
    key, mine = tenant.key(seed), (tenant.slug,)
    events = tuple(json.dumps({"tenant": tenant.slug, "number": number}) for number in range(3))
    yield SeedKey(f"governance:events:{key}", events, None, mine)
    yield SeedKey(f"governance:events:{key}:{key}", events[:1], None, mine)
    yield SeedKey(f"governance:dlq:{key}", events, None, mine)
    yield SeedKey(f"sync_lock:{key}:nightly", "worker-1", DAY, mine)
    yield SeedKey(f"aeterna:graph:lock:{key}", "worker-2", DAY, mine)
    yield SeedKey(f"job_checkpoint:import:{key}", json.dumps({"offset": 42}), DAY, mine)
    yield SeedKey(f"{key}:settings", b"\x00\x01binary\xff" + tenant.slug.encode(), None, mine)
    # Whose agent it is stands in PostgreSQL alone: to Redis this key is nobody's.
    yield SeedKey(f"revocation:agent:{identifier(seed, tenant.slug, 'agent')}", "1", DAY)


def _caches(seed: int, tenant: Tenant) -> Iterator[SeedKey]:
    key, mine = tenant.key(seed), (tenant.slug,)
    for number, memory in enumerate(memories(seed, tenant)):
        if number >= CACHED:
            return
        digest = hashlib.sha256(memory.content.encode()).hexdigest()[:16]
        vector = json.dumps([number / 10, 1.0])
        state: str | bytes = json.dumps({"step": number})
        if number % 2:
            state = _ZSTD + memory.id.encode()
        yield SeedKey(f"emb:{key}:all-minilm:{digest}", vector, DAY, mine)
        yield SeedKey(f"{key}:emb:vec:{digest}", vector, DAY, mine)
        answer = json.dumps({"answer": memory.content})
        yield SeedKey(f"reasoning:{key}:{digest}", answer, DAY, mine)
        summary = json.dumps({"text": "…"})
        yield SeedKey(f"summary:{key}:{LAYERS[0]}:{memory.id}:short", summary, None, mine)
        yield SeedKey(f"extension:{key}:session-{number}:planner", state, DAY, mine)


def stream_id(number: int) -> str:
    return f"{int(EPOCH.timestamp() * 1000) + number}-0"
