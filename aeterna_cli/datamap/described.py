"""The parts of the map beside the tables, as data for people and programs."""

from collections.abc import Iterator
from dataclasses import dataclass

from aeterna_cli.datamap.collections import CollectionClass, CollectionMap
from aeterna_cli.datamap.keys import KeyMap, KeyRule
from aeterna_cli.datamap.objects import ObjectMap, ObjectRule
from aeterna_cli.stores.base.tenants import TenantIdentity


@dataclass(frozen=True)
class DescribedCollection:
    """``server`` is "" for the profile's own. ``field`` (or ``json``, a field and a path in its
    text) has the tenant where ``kind`` is ``shared``. ``certain`` is False where a name is lossy or
    could be another tenant's, or nobody knows: nothing is deleted by it."""

    server: str
    collection: str
    kind: str
    rule: str
    tenants: tuple[str, ...]
    field: str
    json: str
    indexed: bool
    shard_keys: tuple[str, ...]
    certain: bool
    note: str


@dataclass(frozen=True)
class DescribedKey:
    """``what`` is ``key`` or ``channel``. ``holder`` says where the tenant stands: ``name``,
    ``value: PATHS``, ``nobody`` (the deployment's), ``ours``. ``patterns``: one, or one for each
    value of the tenant who was asked for. ``index``: the SET that is kept in step."""

    name: str
    what: str
    patterns: tuple[str, ...]
    holder: str
    type: str
    ttl: str
    role: str
    rebuildable: bool
    index: str
    note: str


@dataclass(frozen=True)
class DescribedObject:
    """``stores``: shell patterns of the profile's names of buckets. ``prefixes``: below what one
    tenant's lie, for each value of the tenant who was asked for."""

    name: str
    pattern: str
    prefixes: tuple[str, ...]
    stores: tuple[str, ...]
    holder: str
    role: str
    rebuildable: bool
    note: str


def collections(
    server: str, map_: CollectionMap, tenant: TenantIdentity | None = None
) -> Iterator[DescribedCollection]:
    """Every collection; of a ``tenant`` those in which points of this one may lie."""
    for one in map_.classes:
        if tenant is None or one.kind == "shared" or tenant.id in one.tenants:
            yield _collection(server, one)


def _collection(server: str, one: CollectionClass) -> DescribedCollection:
    return DescribedCollection(
        server=server,
        collection=one.collection,
        kind=one.kind,
        rule=one.rule.name if one.rule is not None else "",
        tenants=one.tenants,
        field=one.field,
        json=f"{one.json_field}.{one.json_path}" if one.json_field else "",
        indexed=one.indexed,
        shard_keys=tuple(str(key) for key in one.shard_keys if key is not None),
        certain=not one.ambiguous and one.kind not in ("codesearch", "unknown", "unclassified"),
        note=one.rule.note if one.rule is not None else "",
    )


def keys(map_: KeyMap, tenant: TenantIdentity | None = None) -> Iterator[DescribedKey]:
    """Every rule; of a ``tenant`` those that may have keys of this one."""
    for rule in map_.rules:
        holder = _holder(rule)
        if tenant is None or holder not in ("nobody", "ours"):
            yield DescribedKey(
                name=rule.name,
                what="channel" if rule.channel else "key",
                patterns=_filled(rule.pattern.generic(), tenant),
                holder=holder,
                type=rule.type,
                ttl=rule.ttl,
                role=rule.role,
                rebuildable=rule.rebuildable,
                index=rule.index or "",
                note=rule.note,
            )


def objects(map_: ObjectMap, tenant: TenantIdentity | None = None) -> Iterator[DescribedObject]:
    """As ``keys``."""
    for rule in map_.rules:
        if tenant is None or rule.pattern.has_tenant:
            yield DescribedObject(
                name=rule.name,
                pattern=rule.pattern.generic(),
                prefixes=_prefixes(rule, tenant),
                stores=rule.stores,
                holder="name" if rule.pattern.has_tenant else "nobody",
                role=rule.role,
                rebuildable=rule.rebuildable,
                note=rule.note,
            )


def _prefixes(rule: ObjectRule, tenant: TenantIdentity | None) -> tuple[str, ...]:
    if tenant is not None:
        return rule.prefixes(tenant)
    before, named, after = rule.pattern.text.partition("{tenant}")
    return (before + named + after.split("{")[0],) if named else (before.split("{")[0],)


def _holder(rule: KeyRule) -> str:
    if rule.role == "ours":
        return "ours"
    if rule.paths:
        return "value: " + ", ".join(rule.paths)
    return "name" if rule.pattern.has_tenant else "nobody"


def _filled(pattern: str, tenant: TenantIdentity | None) -> tuple[str, ...]:
    if tenant is None or "{tenant}" not in pattern:
        return (pattern,)
    return tuple(pattern.replace("{tenant}", value) for value in tenant.values)
