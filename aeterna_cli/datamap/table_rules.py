"""``[[table]]`` of the rules files: what PostgreSQL's catalogue does not tell about a table.

[[table]]
name = "users"                       # as ``datamap show`` prints it
scope = "person"                     # only where columns and keys say it wrong
tenant_columns = ["owner"]           # further columns that hold a tenant's uuid or slug
references = [                       # soft references: values that no foreign key ties
  { column = "id", to = ["memberships.user_id", "organizational_units.id as uuid5"] },
  { column = "owner", to = ["users.id"], when_null = "tenant_id" },
]
subjects = [                         # what is about a person, and what an erasure does to it
  { column = "email", kind = "email", erase = "delete_row" },
  { column = "settings", path = "$.phone", kind = "phone", erase = "null" },
  { column = "actor", kind = "user_id", erase = "keep", ground = "accountability" },
]
rebuildable = "made again on the next read"
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from aeterna_cli.datamap.rules import Entry, invalid
from aeterna_cli.errors import UsageError

#: root: the tenants; direct: has a tenant column; chain: reaches one by foreign keys; soft: by
#: references that only rules tell; person: people, who may belong to several tenants; audit: names
#: a tenant where there was one; infrastructure: the instance's own; derived: made from other tables
Scope = Literal[
    "root", "direct", "chain", "soft", "person", "audit", "infrastructure", "derived",
    "unclassified",
]  # fmt: skip
SubjectKind = Literal[
    "user_id", "email", "name", "ip", "user_agent", "device", "url", "identity", "contact", "phone",
    "person_or_agent_id", "free_text", "row_copy",
]  # fmt: skip
Erasure = Literal["delete_row", "null", "anonymise", "keep"]

_KEYS = {"name", "scope", "tenant_columns", "references", "subjects", "rebuildable", "note"}


@dataclass(frozen=True)
class SoftTarget:
    """``derived``: not the column's value but its uuid v5 (DNS namespace) is referred to."""

    table: str
    column: str
    derived: bool = False


@dataclass(frozen=True)
class SoftReference:
    """``when_null``: it counts only for rows in which that column is NULL."""

    column: str
    to: tuple[SoftTarget, ...]
    when_null: str | None = None


@dataclass(frozen=True)
class Subject:
    """A column (with ``path``: a place in its JSON, ``$`` for all of it) that is about a person.

    ``erase`` is what an erasure of that person does: delete the row, set NULL, put something in its
    place that leads nowhere, or keep it, on the ``ground`` that must then be given.
    """

    column: str
    kind: SubjectKind
    erase: Erasure
    path: str = ""
    ground: str = ""


@dataclass(frozen=True)
class TableRule:
    """``rebuildable`` says how the rows come back by themselves; "" where they do not."""

    name: str
    scope: Scope | None = None
    tenant_columns: tuple[str, ...] = ()
    references: tuple[SoftReference, ...] = ()
    subjects: tuple[Subject, ...] = ()
    rebuildable: str = ""
    note: str = ""


def parse(entries: Sequence[Entry]) -> Mapping[str, TableRule]:
    """Rules by the table's label; ``UsageError('rules_invalid')`` names the entry and its fault."""
    return {str(entry["name"]): _rule(entry) for entry in entries}


def _rule(entry: Entry) -> TableRule:
    name = str(entry["name"])
    unknown = sorted(entry.keys() - _KEYS)
    if unknown:
        raise _wrong(name, f"has {unknown[0]!r}; known are {', '.join(sorted(_KEYS))}")
    scope = entry.get("scope")
    if scope is not None:
        scope = _one_of(name, "scope", scope, get_args(Scope)[:-1])
    return TableRule(
        name,
        scope,
        tuple(_texts(name, "tenant_columns", entry.get("tenant_columns", []))),
        tuple(_reference(name, one) for one in _tables(name, entry, "references")),
        tuple(_subject(name, one) for one in _tables(name, entry, "subjects")),
        _text(name, "rebuildable", entry.get("rebuildable", "")),
        _text(name, "note", entry.get("note", "")),
    )


def _reference(name: str, entry: Entry) -> SoftReference:
    targets = _texts(name, "to", entry.get("to", []))
    if not targets or "column" not in entry or entry.keys() - {"column", "to", "when_null"}:
        raise _wrong(name, "has a reference that is not { column, to = [...][, when_null] }")
    column = _text(name, "column", entry["column"])
    when = _text(name, "when_null", entry["when_null"]) if "when_null" in entry else None
    return SoftReference(column, tuple(_target(name, one) for one in targets), when)


def _target(name: str, text: str) -> SoftTarget:
    place, derived, kind = text.partition(" as ")
    table, dot, column = place.rpartition(".")
    if not dot or not table or not column or (derived and kind.strip() != "uuid5"):
        raise _wrong(
            name, f"refers to {text!r}, which is not table.column or table.column as uuid5"
        )
    return SoftTarget(table.strip(), column.strip(), bool(derived))


def _subject(name: str, entry: Entry) -> Subject:
    unknown = sorted(entry.keys() - {"column", "kind", "erase", "path", "ground"})
    if unknown or not {"column", "kind", "erase"} <= entry.keys():
        raise _wrong(name, "has a subject that is not { column, kind, erase[, path, ground] }")
    erase = _one_of(name, "erase", entry["erase"], get_args(Erasure))
    ground = _text(name, "ground", entry.get("ground", ""))
    if erase == "keep" and not ground:
        raise _wrong(name, f"keeps {entry['column']!r} and gives no ground for it")
    kind = _one_of(name, "kind", entry["kind"], get_args(SubjectKind))
    column, path = (_text(name, key, entry.get(key, "")) for key in ("column", "path"))
    return Subject(column, kind, erase, path, ground)


def _tables(name: str, entry: Entry, key: str) -> Sequence[Entry]:
    found = entry.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise _wrong(name, f"has {key} that is no array of tables")
    return found


def _texts(name: str, key: str, found: Any) -> Sequence[str]:
    if not isinstance(found, list):
        raise _wrong(name, f"has {key} that is no array of texts")
    return [_text(name, key, one) for one in found]


def _text(name: str, key: str, found: Any) -> str:
    if not isinstance(found, str):
        raise _wrong(name, f"has {key} = {found!r}, which is no text")
    return found


def _one_of(name: str, key: str, found: Any, known: Sequence[str]) -> Any:
    if found not in known:
        raise _wrong(name, f"has {key} = {found!r}; known are {', '.join(known)}")
    return found


def _wrong(name: str, what: str) -> UsageError:
    return invalid(f"entry [[table]] {name!r}", what)
