"""Qdrant collections: whose points each of them holds, and how a tenant's are selected.

What a collection is follows from its name, and where no rule knows the name from a payload index on
a tenant field. A collection of code search is named by a lossy form of the tenant (``acme-corp``
and ``acme_corp`` are the same there, and ``acme`` is the beginning of both): it names every tenant
that it may mean, and a name alone never allows to delete it.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from aeterna_cli.datamap.entries import Fields, by_name
from aeterna_cli.datamap.known import KnownTenants, each_once, encoded
from aeterna_cli.datamap.patterns import Pattern
from aeterna_cli.datamap.rules import Rules
from aeterna_cli.stores.base.qdrant import CollectionDescription, ShardKey
from aeterna_cli.stores.base.tenant_counts import PointsQuestion
from aeterna_cli.stores.base.tenants import TenantIdentity

#: ``shared``: several tenants, told apart by payload. ``tenant``: one tenant's, as a whole.
#: ``codesearch``: one tenant's by a lossy name. ``unknown``: fits a rule, but names nobody known.
Kind = Literal[
    "shared", "tenant", "codesearch", "ours", "infrastructure", "unknown", "unclassified"
]
KINDS = ("shared", "tenant", "codesearch", "ours", "infrastructure")
_INDEXED = ("keyword", "uuid")
#: replica states that answer reads (the server's replica_set_state)
_READABLE = frozenset({"Active", "ActiveRead", "ReshardingScaleDown"})
_LOSSY = "codesearch_"


@dataclass(frozen=True)
class CollectionRule:
    """One naming scheme.

    ``field`` is the payload field with the tenant; ``json_field`` and ``json_path`` where it stands
    inside JSON text for points without that field; ``created`` a payload field with epoch seconds.
    """

    name: str
    pattern: Pattern
    kind: str
    field: str
    json_field: str
    json_path: str
    created: str
    note: str


@dataclass(frozen=True)
class CollectionClass:
    """What one collection is. ``tenants``: whom it is or may be of, for ``shared`` nobody.

    ``indexed``: the tenant field has a payload index, so that a filter on it is cheap and strict
    mode allows it. ``shard_keys`` is ``(None,)`` without custom sharding; ``readable_keys`` leaves
    out those that are still being filled, or have no replica that answers.
    """

    collection: str
    kind: Kind
    rule: CollectionRule | None
    tenants: tuple[str, ...]
    field: str
    json_field: str
    json_path: str
    created: str
    indexed: bool
    created_indexed: bool
    shard_keys: tuple[ShardKey | None, ...]
    readable_keys: tuple[ShardKey | None, ...]
    vector_bytes: int
    most_asked: int

    @property
    def ambiguous(self) -> bool:
        """Of one tenant alone, but nobody can tell of which by the name."""
        return self.kind in ("tenant", "codesearch") and len(self.tenants) > 1


@dataclass(frozen=True)
class PointSelection:
    """A tenant's points in one collection.

    ``whole``: all of them, without a filter. Otherwise those whose ``field`` is one of ``values``,
    and, where ``json_field`` is named, those without the field whose JSON text says so: they are
    found only by scrolling (``unfiltered``) and parsing. ``certain`` is False where the name is
    lossy or could be another tenant's: look, count and report, but never delete by it.
    """

    collection: str
    tenant: str
    whole: bool
    certain: bool
    field: str
    values: tuple[str, ...]
    json_field: str
    json_path: str
    shard_keys: tuple[ShardKey | None, ...]

    def condition(self) -> dict[str, Any] | None:
        """Qdrant's filter; None for the whole collection."""
        if self.whole:
            return None
        return {"must": [{"key": self.field, "match": {"any": list(self.values)}}]}

    def unfiltered(self) -> dict[str, Any] | None:
        """The filter of the points that must be scrolled and parsed; None where there are none."""
        if self.whole or not self.json_field:
            return None
        return {"must": [{"is_empty": {"key": self.field}}]}


def lossy(tenant: str) -> str:
    """A tenant in the name of a code search collection, exactly as the platform writes it."""
    return tenant.lower().replace("-", "_").replace(" ", "_")


def parse(rules: Rules) -> tuple[CollectionRule, ...]:
    """The rules of collections; ``UsageError('rules_invalid')`` for one that is malformed."""
    return tuple(_rule(Fields("collection", entry)) for entry in by_name(rules, "collection"))


def _rule(fields: Fields) -> CollectionRule:
    kind = fields.one_of("kind", KINDS)
    text_field, _, path = fields.text("json", "").partition(".")
    rule = CollectionRule(
        name=fields.name,
        pattern=fields.pattern("pattern", ""),
        kind=kind,
        field=fields.text("field", "tenant_id" if kind == "shared" else ""),
        json_field=text_field,
        json_path=path,
        created=fields.text("created", ""),
        note=fields.text("note", ""),
    )
    if rule.pattern.has_tenant != (kind == "tenant"):
        raise fields.wrong("{tenant} stands in the pattern of kind 'tenant', and of no other")
    if bool(text_field) != bool(path):
        raise fields.wrong("json is a payload field and a path, such as 'metadata.tenant_id'")
    fields.done()
    return rule


def classify_all(
    descriptions: Iterable[CollectionDescription],
    rules: Rules,
    tenants: Iterable[TenantIdentity],
    registered: Container[str] = (),
) -> "CollectionMap":
    """What every collection is. Asks nobody. ``registered`` are those that shards lie in: whatever
    they are called, tenants' points may be there, told apart by payload."""
    parsed, known = parse(rules), KnownTenants.of(tenants)
    classes = (_classify(one, parsed, known, registered) for one in descriptions)
    return CollectionMap(tuple(classes), known)


@dataclass(frozen=True)
class CollectionMap:
    """Every collection of a server, in the order of their descriptions."""

    classes: tuple[CollectionClass, ...]
    known: KnownTenants

    def __getitem__(self, collection: str) -> CollectionClass:
        return next(found for found in self.classes if found.collection == collection)

    def unclassified(self) -> tuple[CollectionClass, ...]:
        """What fits no rule, or a rule with nobody known in it: to be looked at by somebody."""
        return tuple(one for one in self.classes if one.kind in ("unclassified", "unknown"))

    def selections(self, tenant: TenantIdentity) -> tuple[PointSelection, ...]:
        """Where this tenant's points may lie; shared collections are always among them."""
        return tuple(
            _selection(one, tenant)
            for one in self.classes
            if one.kind == "shared" or tenant.id in one.tenants
        )

    def questions(self) -> tuple[PointsQuestion, ...]:
        """What ``stores.qdrant_tenants`` has to count, our own collection left out. The owner of a
        collection that is certainly one tenant's is its id; of any other that is no shared one
        it is ``""``."""
        return tuple(_question(one) for one in self.classes if one.kind != "ours")


def _question(found: CollectionClass) -> PointsQuestion:
    owner = found.tenants[0] if found.kind == "tenant" and not found.ambiguous else ""
    return PointsQuestion(
        collection=found.collection,
        owner=None if found.kind == "shared" else owner,
        field=found.field,
        json_field=found.json_field,
        json_path=found.json_path,
        created=found.created,
        indexed=found.indexed,
        created_indexed=found.created_indexed,
        shard_keys=found.readable_keys,
        vector_bytes=found.vector_bytes,
        most_asked=found.most_asked,
    )


def _selection(found: CollectionClass, tenant: TenantIdentity) -> PointSelection:
    whole = found.kind != "shared"
    return PointSelection(
        collection=found.collection,
        tenant=tenant.id,
        whole=whole,
        certain=found.kind != "codesearch" and not found.ambiguous,
        field="" if whole else found.field,
        values=tenant.values,
        json_field="" if whole else found.json_field,
        json_path="" if whole else found.json_path,
        shard_keys=found.shard_keys,
    )


def _classify(
    described: CollectionDescription,
    rules: Sequence[CollectionRule],
    known: KnownTenants,
    registered: Container[str],
) -> CollectionClass:
    name = encoded(described.name)
    fits = [(rule, rule.pattern.fit(name, known)) for rule in rules]
    found = [(rule, fit.tenants) for rule, fit in fits if fit is not None]
    fixed = next((rule for rule, _ in found if rule.kind not in ("tenant", "codesearch")), None)
    if fixed is not None:  # the platform's own collection, whatever a tenant may be called
        return _class(described, fixed.kind, fixed, ())
    coded = next((rule for rule, _ in found if rule.kind == "codesearch"), None)
    if coded is not None:
        return _class(described, "codesearch", coded, _meant(described.name, known))
    named = [(rule, tenants) for rule, tenants in found if tenants]
    if named:
        everyone = each_once(who for _, tenants in named for who in tenants)
        return _class(described, "tenant", named[0][0], everyone)
    if "tenant_id" in described.payload_schema or described.name in registered:
        return _class(described, "shared", None, ())
    if found:
        return _class(described, "unknown", found[0][0], ())
    return _class(described, "unclassified", None, ())


def _meant(collection: str, known: KnownTenants) -> tuple[str, ...]:
    """Every tenant whose code search collections may be called so."""
    return each_once(
        who
        for value, owners in known.values()
        if collection.startswith(f"{_LOSSY}{lossy(value.decode('utf-8', 'surrogatepass'))}_")
        for who in owners
    )


def _class(
    described: CollectionDescription,
    kind: Any,
    rule: CollectionRule | None,
    tenants: tuple[str, ...],
) -> CollectionClass:
    field = rule.field if rule is not None else "tenant_id" if kind == "shared" else ""
    created = rule.created if rule is not None else "created_at" if kind == "shared" else ""
    schema = described.payload_schema
    return CollectionClass(
        collection=described.name,
        kind=kind,
        rule=rule,
        tenants=tenants,
        field=field,
        json_field=rule.json_field if rule is not None else "",
        json_path=rule.json_path if rule is not None else "",
        created=created,
        indexed=_type(schema, field) in _INDEXED,
        created_indexed=_type(schema, created) == "integer",
        shard_keys=described.shard_keys(),
        readable_keys=_readable(described),
        vector_bytes=vector_bytes(described.config),
        most_asked=_most_asked(described.config),
    )


def _type(schema: Mapping[str, Any], field: str) -> str:
    return str((schema.get(field) or {}).get("data_type", ""))


def _readable(described: CollectionDescription) -> tuple[ShardKey | None, ...]:
    silent = {
        shard.key
        for shard in described.shards
        if shard.key is not None and not {one.state for one in shard.replicas} & _READABLE
    }
    return tuple(key for key in described.shard_keys() if key not in silent)


def _most_asked(config: Mapping[str, Any]) -> int:
    """What strict mode lets one request ask for; 0 without a limit."""
    strict = config.get("strict_mode_config") or {}
    return int(strict.get("max_query_limit") or 0) if strict.get("enabled") else 0


def vector_bytes(config: Mapping[str, Any]) -> int:
    """Bytes of one point's dense vectors as float32: dimensions x 4, all names together."""
    vectors = (config.get("params") or {}).get("vectors") or {}
    entries = [vectors] if "size" in vectors else list(vectors.values())
    return sum(4 * int(entry.get("size", 0)) for entry in entries)
