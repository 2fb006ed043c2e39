"""The seed in S3: what the platform keeps in buckets of its own, under every prefix that it uses.

The names are the platform's; the bytes are not: each object is one line of JSON that says what
would be there (an archive, a Parquet file, a git bundle).
"""

import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aeterna_cli.errors import TransientError
from aeterna_cli.lab import profile
from aeterna_cli.lab.part import NotReady, Place
from aeterna_cli.lab.seed.tenants import CROWD, EPOCH, Tenant, identifier

_STAMP = EPOCH.strftime("%Y%m%d_%H%M%S")
_SECOND = int(EPOCH.timestamp())
_AT_ONCE = 4


@dataclass(frozen=True)
class SeedObject:
    """One object and the slug of the tenant whose it is; None for the deployment's."""

    key: str
    body: bytes
    tenant: str | None


def seed_objects(seed: int, everyone: Sequence[Tenant]) -> Iterator[SeedObject]:
    """Every object, once each. A tenant of the crowd has an export alone."""
    for tenant in everyone:
        if tenant.vacant:
            continue
        key, mine = _called(seed, tenant), tenant.slug
        name = f"{key}/exports/{_STAMP}-tenant-{identifier(seed, mine, 'export').hex[:8]}.tar.gz"
        yield _object(name, "export archive", mine)
        if tenant.collection == CROWD:
            continue
        yield _object(f"graph/{key}/full_{_SECOND}.parquet", "graph", mine)
        delta = f"graph/{key}/delta_{_SECOND}_{_SECOND + 3600}.parquet"
        yield _object(delta, "graph, changes", mine)
        yield _object(f"graph/{key}/.staging/full_{_SECOND + 7200}.parquet", "graph, staged", mine)
        snapshot = identifier(seed, mine, "graph snapshot")
        yield _object(f"backups/{key}/{_STAMP}/snapshot_{snapshot}.parquet", "graph backup", mine)
        yield _object(f"{key}/{identifier(seed, mine, 'repository')}.bundle", "git bundle", mine)


def _called(seed: int, tenant: Tenant) -> str:
    """The lab's S3 turns a backslash in a name into a slash: such a tenant goes by its id here."""
    key = tenant.key(seed)
    return str(tenant.id(seed)) if "\\" in key else key


def _object(key: str, what: str, tenant: str | None) -> SeedObject:
    line = {"lab": "stands for what the platform keeps here", "what": what, "tenant": tenant}
    return SeedObject(key, json.dumps(line, ensure_ascii=False).encode() + b"\n", tenant)


def write(place: Place, seed: int, everyone: Sequence[Tenant]) -> int:
    """Every object; how many were written. Objects that are there are replaced.

    ``NotReady`` where the lab's S3 does not answer.
    """
    from aeterna_cli.stores.application_objects import ApplicationObjects
    from aeterna_cli.stores.backoff import Backoff

    settings = profile.build(place).object_stores[profile.APPLICATION]
    store = ApplicationObjects(settings, profile.APPLICATION, backoff=Backoff(attempts=2))

    def put(found: SeedObject) -> int:
        return store.write(found.key, io.BytesIO(found.body), replace=True)

    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return sum(1 for _ in pool.map(put, seed_objects(seed, everyone)))
    except TransientError as error:
        raise NotReady(error.message) from error
    finally:
        store.close()
