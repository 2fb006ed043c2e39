"""Redis keys: what each key is, whose it is, and what must be kept in step with it.

A key's tenant stands in its name (first, second or last) or only inside its JSON value. A tenant in
a name is found by looking known values up; see ``patterns``. A key that fits no rule is
*unclassified*; one that fits a rule with somebody in it whom nobody knows is *unknown* (what a
removed tenant left); one that can be read as two tenants' is *ambiguous*. None of the three is ever
taken for a tenant's data.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from aeterna_cli.datamap.entries import Fields, by_name
from aeterna_cli.datamap.known import KnownTenants, each_once
from aeterna_cli.datamap.patterns import Pattern
from aeterna_cli.datamap.rules import Rules
from aeterna_cli.stores.base.tenants import TenantIdentity

#: ``tenant``: one tenant's. ``several``: of more than one, or of one and somebody unknown.
#: ``value``: only its value tells. ``index``: a set of the ids of other keys. ``nobody``: the
#: deployment's. ``ours``: this tool's. The rest: see the module.
Holder = Literal[
    "tenant",
    "several",
    "value",
    "index",
    "nobody",
    "ours",
    "unknown",
    "ambiguous",
    "unreadable",
    "unclassified",
]
ROLES = ("cache", "authoritative", "lock", "job", "event", "state", "ours")
TYPES = ("string", "set", "stream", "hash", "list", "zset")
SEPARATOR = ":"


@dataclass(frozen=True)
class KeyRule:
    """One shape of key (or, with ``channel``, of message).

    ``ttl``: ``none``, ``optional``, ``set`` (some), or its length such as ``24h``. ``paths``: where
    the tenant stands in the JSON value. ``index``: the SET that holds the last part of the key's
    name, and must lose and gain it with the key.
    """

    name: str
    pattern: Pattern
    channel: bool
    type: str
    ttl: str
    role: str
    rebuildable: bool
    paths: tuple[str, ...]
    index: str | None
    note: str

    def member(self, key: bytes) -> bytes | None:
        """What the index set calls this key; None where there is no index."""
        return key.removeprefix(self.pattern.head) if self.index is not None else None


@dataclass(frozen=True)
class KeyClass:
    """What one key is. ``tenants`` are ids; ``strangers`` texts that stand where a tenant should
    and name nobody."""

    rule: KeyRule | None
    holder: Holder
    tenants: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()

    @property
    def rule_name(self) -> str:
        return self.rule.name if self.rule is not None else ""

    @property
    def reads_value(self) -> bool:
        """Whether ``KeyMap.in_value`` must be asked."""
        return self.holder == "value"


def parse(rules: Rules) -> tuple[KeyRule, ...]:
    """The rules of keys and channels; ``UsageError('rules_invalid')`` for one that is malformed."""
    return tuple(_rule(Fields("key", entry)) for entry in by_name(rules, "key"))


def _rule(fields: Fields) -> KeyRule:
    channel = fields.has("channel")
    rule = KeyRule(
        name=fields.name,
        pattern=fields.pattern("channel" if channel else "pattern", SEPARATOR),
        channel=channel,
        type="message" if channel else fields.one_of("type", TYPES),
        ttl="none" if channel else fields.text("ttl"),
        role=fields.one_of("role", ROLES),
        rebuildable=fields.yes("rebuildable"),
        paths=fields.texts("paths"),
        index=fields.text("index", "") or None,
        note=fields.text("note", ""),
    )
    if rule.pattern.has_tenant and rule.paths:
        raise fields.wrong("the tenant is in the name or in the value, not in both")
    fields.done()
    return rule


class KeyMap:
    """The rules and the tenants, ready to classify any number of keys."""

    def __init__(self, rules: Iterable[KeyRule], known: KnownTenants) -> None:
        self.rules = tuple(rules)
        self._known = known
        keys = [rule for rule in self.rules if not rule.channel]
        self._indexes = {rule.index.encode(): rule for rule in keys if rule.index is not None}
        ordered = sorted(keys, key=lambda rule: -rule.pattern.weight)
        self._anywhere = [rule for rule in ordered if not rule.pattern.head]
        self._by_head: dict[bytes, list[KeyRule]] = {}
        for rule in ordered:
            if rule.pattern.head:
                head = rule.pattern.head.split(b":", 1)[0]
                self._by_head.setdefault(head, []).append(rule)

    @classmethod
    def of(cls, rules: Rules, tenants: Iterable[TenantIdentity]) -> "KeyMap":
        return cls(parse(rules), KnownTenants.of(tenants))

    def classify(self, key: bytes) -> KeyClass:
        """What the key's name tells.

        A rule that begins with text of its own goes before those that begin with a tenant: were a
        tenant called ``emb``, every cached embedding would be its own otherwise.
        """
        index = self._indexes.get(key)
        if index is not None:
            return KeyClass(index, "index")
        texts = self._by_head.get(key.split(b":", 1)[0], ())
        named = self._judge(key, texts)
        if named is not None and named.holder != "unknown":
            return named
        first = self._judge(key, self._anywhere)
        if named is None or (first is not None and first.holder == "ambiguous"):
            return first or KeyClass(None, "unclassified")
        if first is not None and first.tenants:
            return KeyClass(named.rule, "ambiguous", first.tenants)
        return named

    def _judge(self, key: bytes, rules: Iterable[KeyRule]) -> KeyClass | None:
        """The best rule, and every tenant whom any of these rules sees in the key."""
        best: KeyRule | None = None
        orphan: KeyRule | None = None
        tenants: set[str] = set()
        for rule in rules:
            fit = rule.pattern.fit(key, self._known)
            if fit is None:
                continue
            if rule.pattern.has_tenant and not fit.tenants:
                orphan = orphan or rule
                continue
            if not rule.pattern.has_tenant and best is None:
                return KeyClass(rule, _without_tenant(rule))
            best = best or rule
            tenants.update(fit.tenants)
        if best is None:
            return KeyClass(orphan, "unknown") if orphan is not None else None
        found = each_once(tenants)
        return KeyClass(best, "tenant" if len(found) == 1 else "ambiguous", found)

    def in_value(self, found: KeyClass, value: bytes | None) -> KeyClass:
        """What the value tells of a key of ``holder`` ``value``; None: it is no string, or gone."""
        assert found.rule is not None  # noqa: S101 - a key without a rule has no paths
        try:
            document = json.loads(value or b"")
        except (ValueError, RecursionError):
            return replace(found, holder="unreadable")
        texts = each_once(text for path in found.rule.paths for text in texts_at(document, path))
        owners = {text: self._known.named(text) for text in texts}
        tenants = each_once(who for ids in owners.values() for who in ids)
        strangers = tuple(text for text, ids in owners.items() if not ids)
        return KeyClass(found.rule, _holder(owners, tenants, strangers), tenants, strangers)

    def channels(self) -> Iterator[KeyRule]:
        yield from (rule for rule in self.rules if rule.channel)


def _without_tenant(rule: KeyRule) -> Holder:
    if rule.role == "ours":
        return "ours"
    return "value" if rule.paths else "nobody"


def _holder(
    owners: Mapping[str, tuple[str, ...]], tenants: tuple[str, ...], strangers: tuple[str, ...]
) -> Holder:
    if any(len(ids) > 1 for ids in owners.values()):
        return "ambiguous"
    if not tenants:
        return "unknown" if strangers else "nobody"
    return "tenant" if len(tenants) == 1 and not strangers else "several"


def texts_at(document: Any, path: str) -> Iterator[str]:
    """The texts at a path: ``scope.tenant_id``, ``allowed_tenant_ids[]`` for each of an array."""
    name, _, rest = path.partition(".")
    inside = document.get(name.removesuffix("[]")) if isinstance(document, dict) else None
    for found in inside if name.endswith("[]") and isinstance(inside, list) else [inside]:
        if rest:
            yield from texts_at(found, rest)
        elif isinstance(found, str) and found:
            yield found
