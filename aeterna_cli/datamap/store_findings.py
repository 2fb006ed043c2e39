"""What speaks against trusting the map of Qdrant, Redis and the buckets, as findings.

Errors: nothing tells whose it is, so it is left behind. Warnings: somebody has to look. Remarks
(info): as it should be known, and nothing to do.
"""

import json
from collections.abc import Iterator, Mapping

from aeterna_cli.datamap.collections import CollectionClass, CollectionMap
from aeterna_cli.datamap.keys import KeyRule
from aeterna_cli.datamap.objects import ObjectRule
from aeterna_cli.datamap.survey import OTHER, Seen, Survey, hidden
from aeterna_cli.stores.base.findings import Finding

_FILE = "to a file of datamap.rules"
#: holder -> what it means
_WHYS = {
    "unknown": "name nobody who is a tenant now",
    "ambiguous": "can be read as two tenants'",
    "unreadable": "have values that cannot be read: their tenant stands there",
}


def add_collection(name: str) -> str:
    """What makes an unclassified collection a classified one."""
    return (
        f'add [[collection]] with pattern = {_literal(name)} and kind = "shared" and its field,'
        f' or kind = "infrastructure", {_FILE}; or register it with shard add'
    )


def _literal(name: str) -> str:
    """A name as a pattern in TOML, which writes strings as JSON does; a brace begins the open part,
    because a pattern has no other way to say one."""
    head, brace, _ = name.replace("}", "{").partition("{")
    return json.dumps(f"{head or '...'}{{rest*}}" if brace else name, ensure_ascii=False)


def of_collections(server: str, map_: CollectionMap) -> Iterator[Finding]:
    for one in map_.classes:
        subject = f"{server}: {one.collection}" if server else one.collection
        found = _of_collection(one)
        if found is not None:
            code, severity, message, mend = found
            yield Finding(code, severity, subject, message, mend)


def _of_collection(one: CollectionClass) -> tuple[str, str, str, str] | None:
    several = ", ".join(one.tenants)
    if one.kind == "unclassified":
        message = "nothing tells whose points these are"
        return "collection_unclassified", "error", message, add_collection(one.collection)
    if one.kind == "unknown":
        message = f"it fits the rule {_rule(one)!r}, and names nobody who is a tenant now"
        mend = f"remove it when it is a removed tenant's; or {add_collection(one.collection)}"
        return "collection_of_nobody", "warning", message, mend
    if one.kind == "tenant" and one.ambiguous:
        message = f"its name can mean several tenants: {several}; it is counted, never deleted"
        return "collection_ambiguous", "warning", message, "rename it, or one tenant's slug"
    if one.kind == "codesearch" and len(one.tenants) > 1:
        message = f"its lossy name can mean several tenants: {several}; it is never deleted by it"
        return "collection_name_lossy", "info", message, ""
    if one.kind == "shared" and not one.indexed:
        message = f"no payload index on {one.field}: one tenant's points are found by a scan"
        mend = f"PUT /collections/.../index with field {one.field}, schema keyword"
        return "tenant_field_unindexed", "info", message, mend
    return None


def field_missing(server: str, one: CollectionClass) -> Finding:
    """A shared collection whose points do not say whose they are where the rule looks."""
    place = f"{one.field} nor {one.json_field}.{one.json_path}" if one.json_field else one.field
    return Finding(
        "collection_field_missing",
        "error",
        f"{server}: {one.collection}" if server else one.collection,
        f"none of the points that were looked at has {place}",
        f"correct field of [[collection]] {_rule(one)!r} in a file of datamap.rules",
    )


def _rule(one: CollectionClass) -> str:
    return one.rule.name if one.rule is not None else one.collection


def of_keys(
    survey: Survey, rules: Mapping[str, KeyRule], *, names: bool = False
) -> Iterator[Finding]:
    """``names``: with one real name of each form, which may tell about a person."""
    for form, seen in survey.unclassified.items():
        yield _unclassified("key", (form, form), seen, _add_key(form), names)
    for (holder, name), seen in survey.doubtful.items():
        rule = rules[name]
        passing = rule.rebuildable or rule.ttl not in ("none", "optional")
        yield _doubtful("key", rule.pattern.generic(), holder, seen, passing)
    for (name, found), seen in survey.misfits.items():
        rule = rules[name]
        yield Finding(
            "key_type_differs",
            "warning",
            rule.pattern.generic(),
            f"{seen.count:,} keys are of type {found}, the rule {name!r} says {rule.type}",
            f"correct [[key]] {name!r} in a file of datamap.rules",
            {"count": seen.count},
        )


def of_objects(
    bucket: str, survey: Survey, rules: Mapping[str, ObjectRule], *, names: bool = False
) -> Iterator[Finding]:
    """As ``of_keys``; ``bucket`` is what the profile calls it."""
    for form, seen in survey.unclassified.items():
        subject, mend = f"{bucket}: {form}", _add_object(form, bucket)
        yield _unclassified("object", (subject, form), seen, mend, names)
    for (holder, name), seen in survey.doubtful.items():
        rule = rules[name]
        subject = f"{bucket}: {rule.pattern.generic()}"
        yield _doubtful("object", subject, holder, seen, rule.rebuildable)


def _unclassified(kind: str, place: tuple[str, str], seen: Seen, mend: str, names: bool) -> Finding:
    """``place``: the subject, and the form in it."""
    subject, form = place
    sample = seen.example if names else hidden(form, seen.example)
    message = f"{seen.count:,} {kind}s: nothing tells whose they are"
    if form != OTHER or names:
        message = f"{message} (such as {sample})"
    details = {"count": seen.count, "sample": sample}
    return Finding(f"{kind}_unclassified", "error", subject, message, mend, details)


def _doubtful(kind: str, subject: str, holder: str, seen: Seen, passing: bool) -> Finding:
    """``passing``: they go by themselves, or are made again."""
    left = "what a removed tenant left"
    mends = {
        "unknown": f"nothing: {left} goes by itself" if passing else f"remove {left}",
        "ambiguous": "rename one of the slugs, or give a rule with more text of its own",
        "unreadable": f"correct the type or paths of the rule for {subject!r}",
    }
    return Finding(
        f"{kind}_of_nobody" if holder == "unknown" else f"{kind}_{holder}",
        "info" if holder == "unknown" and passing else "warning",
        subject,
        f"{seen.count:,} {kind}s {_WHYS[holder]}",
        mends[holder],
        {"count": seen.count},
    )


def _add_key(form: str) -> str:
    pattern = json.dumps(_open(form, ":"), ensure_ascii=False)
    return f"add [[key]] with pattern = {pattern}, type, ttl and role {_FILE}"


def _add_object(form: str, bucket: str) -> str:
    pattern, store = (json.dumps(one, ensure_ascii=False) for one in (_open(form, "/"), bucket))
    return f"add [[object]] with pattern = {pattern}, stores = [{store}] and role {_FILE}"


def _open(form: str, separator: str) -> str:
    """A pattern that fits this form and what begins as it does: its text, then anything."""
    if form == OTHER:
        return "..."
    head, found, _ = form.partition("{")
    first = head if found else form
    if not first:
        return f"...{separator}{{rest*}}"
    return first if not found else f"{first}{{rest*}}"
