"""Everything in the lab as digests, one tenant's apart: what a restore of it must not touch."""

from contextlib import closing
from dataclasses import dataclass
from typing import Any

from aeterna_cli.deployment import Deployment
from aeterna_cli.stores.base.qdrant import OPS_COLLECTION
from aeterna_cli.stores.base.redis import Digest
from aeterna_cli.stores.postgres_copy import digest_of
from aeterna_cli.stores.postgres_snapshot import current_snapshot
from aeterna_cli.stores.qdrant_slice import QdrantSlice
from aeterna_cli.stores.redis_slice import RedisSlice
from aeterna_cli.workflows.backup.tenant_objects import of_tenant, sha256_of
from aeterna_cli.workflows.tenant.rows import row_slice
from aeterna_cli.workflows.tenant.whereabouts import Whereabouts, find
from tests.integration.deployment import Practice

Found = dict[str, Any]
_INDEXES = ("refresh_tokens", "git_provider_connections", "dead_letter", "export_jobs")


@dataclass(frozen=True)
class Everything:
    """Plain mappings: equal where nothing differs. ``indexes`` are the SETs that name records."""

    mine: Found
    others: Found
    indexes: Found


def look(practice: Practice, tenant: str) -> Everything:
    with closing(practice.open()) as place:
        where = find(place, tenant)
        mine: Found = {}
        others: Found = {}
        _rows(place, where, mine, others)
        _points(place, where, mine, others)
        _keys(place, where, mine, others)
        _objects(place, where, mine, others)
        connection = place.redis.connection
        indexes = {
            name: sorted(connection.call("SMEMBERS", f"aeterna:{name}:__index"))
            for name in _INDEXES
        }
    return Everything(mine, others, indexes)


def _rows(place: Deployment, where: Whereabouts, mine: Found, others: Found) -> None:
    from psycopg import sql

    with current_snapshot(place.profile.postgres) as snapshot, snapshot.reading() as connection:
        for table in where.map.tables.values():
            names = [one.name for one in table.columns]
            source = sql.Identifier(table.schema, table.name)
            if table.selection is None:
                others[table.label] = digest_of(connection, source, names, sql.SQL("true"))
                continue
            rows = row_slice(connection, table, where.tenant)
            mine[table.label] = digest_of(connection, source, names, rows.where, rows.parameters)
            rest = sql.SQL("({}) IS NOT TRUE").format(rows.where)
            others[table.label] = digest_of(connection, source, names, rest, rows.parameters)


def _points(place: Deployment, where: Whereabouts, mine: Found, others: Found) -> None:
    described = place.qdrant.describe()
    selections = {one.collection: one for one in where.selections(described).mine}
    with QdrantSlice(place.profile.qdrant) as server:
        for one in described:
            if one.name == OPS_COLLECTION:
                continue
            total = place.qdrant.live_digests(one.name).total
            points, digest = 0, 0
            if one.name in selections:
                own = server.digest(selections[one.name])
                points, digest = own.points, int(own.digest, 16)
                mine[one.name] = own
            others[one.name] = (
                total.points - points,
                (int(total.digest, 16) - digest) % (1 << 256),
            )


def _keys(place: Deployment, where: Whereabouts, mine: Found, others: Found) -> None:
    """Keys that go by themselves are counted with those that stay: the lab's live for a day."""
    with RedisSlice(place.profile.redis, where.keys, where.tenant.id) as keys:
        own = keys.digests()
    total = place.redis.digests()
    for kind in ("persistent", "volatile"):
        ours, everybody = getattr(own, kind), getattr(total, kind)
        mine[kind] = ours
        others[kind] = _without(everybody, ours)


def _objects(place: Deployment, where: Whereabouts, mine: Found, others: Found) -> None:
    own = {(store.name, found.key) for store, found, _rule in of_tenant(place, where)}
    for store in place.application_objects():
        for found in store.objects():
            name = (store.name, found.key)
            with store.read(found.key) as stream:
                (mine if name in own else others)[f"{name}"] = sha256_of(stream)


def _without(total: Digest, part: Digest) -> tuple[int, int]:
    rest = (int(total.digest, 16) - int(part.digest, 16)) % (1 << 256)
    return total.items - part.items, rest
