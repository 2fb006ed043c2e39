"""Objects in the application's own buckets: which prefix is whose.

As with keys, a tenant in a name is looked up, never cut out of it; what fits no rule is
*unclassified*, and what can be read as two tenants' is *ambiguous*.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from aeterna_cli.datamap.entries import Fields, by_name
from aeterna_cli.datamap.known import KnownTenants, each_once, encoded
from aeterna_cli.datamap.patterns import Pattern
from aeterna_cli.datamap.rules import Rules
from aeterna_cli.stores.base.tenants import TenantIdentity

Holder = Literal["tenant", "nobody", "unknown", "ambiguous", "unclassified"]
ROLES = ("authoritative", "export", "backup", "staging")
SEPARATOR = "/"


@dataclass(frozen=True)
class ObjectRule:
    """One shape of name below the prefix of a bucket. ``stores``: shell patterns of the names that
    the profile gives its buckets."""

    name: str
    pattern: Pattern
    stores: tuple[str, ...]
    role: str
    rebuildable: bool
    note: str

    def prefixes(self, tenant: TenantIdentity) -> tuple[str, ...]:
        """Below what this tenant's objects lie: for listing, the names still have to be
        classified (``tenant-1`` begins as ``tenant-11`` does, unless a slash follows)."""
        before, _, after = self.pattern.text.partition("{tenant}")
        return tuple(before + value + after.split("{")[0] for value in tenant.values)


@dataclass(frozen=True)
class ObjectClass:
    """What one object is; ``tenants`` are ids."""

    rule: ObjectRule | None
    holder: Holder
    tenants: tuple[str, ...] = ()

    @property
    def rule_name(self) -> str:
        return self.rule.name if self.rule is not None else ""


def parse(rules: Rules) -> tuple[ObjectRule, ...]:
    """The rules of objects; ``UsageError('rules_invalid')`` for one that is malformed."""
    return tuple(_rule(Fields("object", entry)) for entry in by_name(rules, "object"))


def _rule(fields: Fields) -> ObjectRule:
    rule = ObjectRule(
        name=fields.name,
        pattern=fields.pattern("pattern", SEPARATOR),
        stores=fields.texts("stores") or ("*",),
        role=fields.one_of("role", ROLES),
        rebuildable=fields.yes("rebuildable"),
        note=fields.text("note", ""),
    )
    fields.done()
    return rule


class ObjectMap:
    """The rules and the tenants, ready to classify the names of one or several buckets."""

    def __init__(self, rules: Iterable[ObjectRule], known: KnownTenants) -> None:
        self.rules = tuple(sorted(rules, key=lambda rule: -rule.pattern.weight))
        self._known = known

    @classmethod
    def of(cls, rules: Rules, tenants: Iterable[TenantIdentity]) -> "ObjectMap":
        return cls(parse(rules), KnownTenants.of(tenants))

    def classify(self, name: str, store: str) -> ObjectClass:
        """What an object is; ``name`` is below the prefix of the bucket that the profile calls
        ``store``. A rule that begins with text of its own goes before those that begin with a
        tenant, as with keys."""
        key = encoded(name)
        mine = [rule for rule in self.rules if any(fnmatchcase(store, p) for p in rule.stores)]
        texts = self._judge(key, [rule for rule in mine if rule.pattern.head])
        if texts is not None and texts.holder != "unknown":
            return texts
        first = self._judge(key, [rule for rule in mine if not rule.pattern.head])
        if texts is None:
            return first or ObjectClass(None, "unclassified")
        if first is not None and first.tenants:
            return ObjectClass(texts.rule, "ambiguous", first.tenants)
        return texts

    def _judge(self, key: bytes, rules: Iterable[ObjectRule]) -> ObjectClass | None:
        fits = [(rule, rule.pattern.fit(key, self._known)) for rule in rules]
        found = [(rule, fit) for rule, fit in fits if fit is not None]
        if not found:
            return None
        tenants = each_once(who for _, fit in found for who in fit.tenants)
        if tenants:
            best = next(rule for rule, fit in found if fit.tenants)
            return ObjectClass(best, "tenant" if len(tenants) == 1 else "ambiguous", tenants)
        best = found[0][0]
        return ObjectClass(best, "unknown" if best.pattern.has_tenant else "nobody")
