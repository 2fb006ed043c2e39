"""Filters: JSON to the engine's types. An unknown condition is refused, never ignored."""

from collections.abc import Callable, Iterator
from typing import Any

import qdrant_edge as engine

from aeterna_cli.lab.qdrant.points import point_id
from aeterna_cli.lab.qdrant.refusals import bad_format
from aeterna_cli.lab.qdrant.versions import Version

_CLAUSES = ("must", "should", "must_not", "min_should")
_MATCHES: dict[str, Callable[[Any], Any]] = {
    "value": engine.MatchValue,
    "any": engine.MatchAny,
    "except": engine.MatchExcept,
    "text": engine.MatchText,
    "phrase": engine.MatchPhrase,
    "text_any": engine.MatchTextAny,
}
_BOUNDS = ("gt", "gte", "lt", "lte")


def filter_of(document: Any, version: Version) -> engine.Filter | None:
    """None stays None. ``Refusal`` 400 for what the imitated version would not understand."""
    if document is None:
        return None
    if not isinstance(document, dict) or document.keys() - set(_CLAUSES):
        raise bad_format("data did not match any variant of Filter")
    least = document.get("min_should")
    return engine.Filter(
        must=_conditions(document.get("must"), version),
        should=_conditions(document.get("should"), version),
        must_not=_conditions(document.get("must_not"), version),
        min_should=None
        if least is None
        else engine.MinShould(_conditions(least["conditions"], version) or [], least["min_count"]),
    )


def filter_keys(document: Any) -> Iterator[str]:
    """The payload fields that a filter looks at, for strict mode."""
    for clause in _CLAUSES:
        found = (document or {}).get(clause) or []
        if clause == "min_should":
            found = document[clause]["conditions"] if found else []
        for condition in found if isinstance(found, list) else [found]:
            if condition.keys() & set(_CLAUSES):
                yield from filter_keys(condition)
            elif "key" in condition:
                yield condition["key"]


def _conditions(found: Any, version: Version) -> list[Any] | None:
    if found is None:
        return None
    return [_condition(one, version) for one in (found if isinstance(found, list) else [found])]


def _condition(found: Any, version: Version) -> Any:
    if not isinstance(found, dict):
        raise bad_format("data did not match any variant of untagged enum Condition")
    if "key" in found:
        return _field(found)
    if "is_empty" in found:
        return engine.IsEmptyCondition(found["is_empty"]["key"])
    if "is_null" in found:
        return engine.IsNullCondition(found["is_null"]["key"])
    if "has_id" in found:
        return engine.HasIdCondition({point_id(one) for one in found["has_id"]})
    if "has_vector" in found:
        return engine.HasVectorCondition(found["has_vector"])
    if "nested" in found:
        inner = filter_of(found["nested"]["filter"], version) or engine.Filter()
        return engine.NestedCondition(found["nested"]["key"], inner)
    if "slice" in found and version.has("slice_filter"):
        return engine.SliceCondition(  # type: ignore[attr-defined]  # not in the stubs of 0.9
            total=found["slice"]["total"], index=found["slice"]["index"]
        )
    if found.keys() & set(_CLAUSES):
        return filter_of(found, version)
    raise bad_format("data did not match any variant of untagged enum Condition")


def _field(found: dict[str, Any]) -> Any:
    key = found["key"]
    match = found.get("match")
    if match is not None:
        for name, kind in _MATCHES.items():
            if name in match:
                return engine.FieldCondition(key=key, match=kind(match[name]))
    bounds = found.get("range")
    if bounds is not None:
        known = {name: bounds[name] for name in _BOUNDS if bounds.get(name) is not None}
        dates = any(isinstance(value, str) for value in known.values())
        kind = engine.RangeDateTime if dates else engine.RangeFloat
        return engine.FieldCondition(key=key, range=kind(**known))
    if found.get("values_count") is not None:
        return engine.FieldCondition(
            key=key, values_count=engine.ValuesCount(**found["values_count"])
        )
    if found.get("is_empty") is not None or found.get("is_null") is not None:
        raise bad_format("the lab knows is_empty and is_null only as conditions of their own")
    raise bad_format("data did not match any variant of untagged enum Condition")
