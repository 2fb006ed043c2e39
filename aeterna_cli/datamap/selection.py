"""Which columns and references lead from each table to its tenant: the selections of the map.

A table with a tenant column starts a path; others reach one by foreign keys (the shortest path, and
further ones while a column on it may be NULL) or by the soft references that rules tell. A path
never runs in a circle: a reference that would close one is dropped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from aeterna_cli.datamap.table_rules import SoftReference, TableRule
from aeterna_cli.stores.base.catalogue import Catalogue, CatalogueTable
from aeterna_cli.stores.base.selection import (
    AnyOf,
    Match,
    Parent,
    Reference,
    Selection,
    TenantColumn,
)

ROOT = "tenants"
#: what the platform calls a tenant's column, the telling name first
TENANT_COLUMNS = ("tenant_id", "acting_as_tenant_id", "default_tenant_id")
_NOBODYS = ("infrastructure", "derived")
_TEXTS = ("text", "character varying", "character", "citext")


@dataclass(frozen=True)
class Step:
    """From a table to the parent that decides; ``certain``: a foreign key that is never NULL;
    ``by_rule``: a rule told it."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    match: Match
    unique: bool
    certain: bool
    when_null: str | None = None
    by_rule: bool = False


@dataclass
class Paths:
    """What leads to the tenant, by table. ``through_people``: only through persons' tables;
    ``shared``: a step at least leads to one."""

    columns: dict[str, tuple[TenantColumn, ...]] = field(default_factory=dict)
    steps: dict[str, list[Step]] = field(default_factory=dict)
    through_people: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    _made: dict[str, Selection | None] = field(default_factory=dict)

    def reads(self, label: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(step.parent for step in self.steps.get(label, ())))

    def selection(self, catalogue: Catalogue, label: str) -> Selection | None:
        """None: the table has no way to a tenant."""
        if label not in self._made:
            found: list[Selection] = list(self.columns.get(label, ()))
            found += self._references(catalogue, label)
            several = AnyOf(tuple(found)) if len(found) > 1 else None
            self._made[label] = several or (found[0] if found else None)
        return self._made[label]

    def _references(self, catalogue: Catalogue, label: str) -> Iterator[Reference]:
        for step in self.steps.get(label, ()):
            selection = self.selection(catalogue, step.parent)
            if selection is not None:
                table = catalogue.by_label[step.parent]
                parent = Parent(table.schema, table.name, selection)
                yield Reference(
                    step.columns,
                    parent,
                    step.parent_columns,
                    step.match,
                    step.unique,
                    step.when_null,
                )


def paths(catalogue: Catalogue, rules: Mapping[str, TableRule]) -> Paths:
    """Every table's way to its tenant, for this catalogue and these rules."""
    made = Paths()
    wanted: dict[str, list[Step]] = {}
    people: set[str] = set()
    for table in catalogue.tables:
        rule = rules.get(table.label)
        if rule is not None and rule.scope in _NOBODYS:
            continue
        columns = tuple(tenant_columns(table, rule))
        if columns:
            made.columns[table.label] = columns
        if _of_people(columns, rule):
            people.add(table.label)
        wanted[table.label] = list(_candidates(catalogue, table, rule, bool(columns)))
    levels = _levels(made, wanted, people)
    ordered = sorted(levels, key=lambda one: (levels[one], one))
    for label in ordered:  # first what each table needs to have a way at all
        made.steps[label] = [
            step
            for step in wanted[label]
            if levels.get(step.parent, levels[label]) < levels[label]
            and (step.by_rule or step.parent not in people or label in people)
        ]
    for label in ordered:
        made.steps[label] = _chosen(made, wanted[label], levels, people, label)
        if label in people or people.intersection(made.reads(label)):
            made.shared.add(label)
    return made


def _of_people(columns: Sequence[TenantColumn], rule: TableRule | None) -> bool:
    if rule is not None and rule.scope is not None:
        return rule.scope == "person"
    return bool(columns) and columns[0].column == TENANT_COLUMNS[2]


def tenant_columns(table: CatalogueTable, rule: TableRule | None) -> Iterator[TenantColumn]:
    """The columns that hold a tenant's value themselves, the telling one first.

    Not a column that is tied to another table than the tenants by a foreign key: its values are
    that table's (``decomposition_*.tenant_id`` has ids of organizational units).
    """
    if table.label == ROOT:
        yield from (TenantColumn(c.name, c.type) for c in table.columns if c.name == "id")
        return
    tied = {key.columns[0]: key for key in table.foreign_keys if len(key.columns) == 1}
    named = (*(rule.tenant_columns if rule else ()), *TENANT_COLUMNS)
    to_root = sorted(name for name, key in tied.items() if key.target == ROOT)
    for name in dict.fromkeys((*named, *to_root)):
        column = table.by_name.get(name)
        if column is not None and (name not in tied or tied[name].target == ROOT):
            yield TenantColumn(name, column.type)


def _candidates(
    catalogue: Catalogue, table: CatalogueTable, rule: TableRule | None, has_column: bool
) -> Iterator[Step]:
    if rule is not None and rule.references:
        yield from _soft(catalogue, table, rule.references)
    elif not has_column:
        keys = list(_hard(catalogue, table))
        telling = [step for step in keys if step.columns[0] in TENANT_COLUMNS]
        yield from telling or keys


def _soft(
    catalogue: Catalogue, table: CatalogueTable, references: Sequence[SoftReference]
) -> Iterator[Step]:
    """Targets that are not there are left out: schemas are partial."""
    for reference in references:
        column = table.by_name.get(reference.column)
        for target in reference.to:
            parent = catalogue.by_label.get(target.table)
            theirs = parent.by_name.get(target.column) if parent else None
            if column is None or parent is None or theirs is None:
                continue
            match: Match = "uuid5" if target.derived else _match(column.type, theirs.type)
            unique = parent.identifies([target.column])
            when = reference.when_null
            if when in TENANT_COLUMNS and when not in table.by_name:
                when = None  # an older version of the platform, where no row names its tenant
            if when is None or when in table.by_name:
                own, other = (column.name,), (theirs.name,)
                yield Step(own, parent.label, other, match, unique, False, when, by_rule=True)


def _match(own: str, theirs: str) -> Match:
    if own == theirs or (own.startswith(_TEXTS) and theirs.startswith(_TEXTS)):
        return "same"
    return "uuid" if own == "uuid" and theirs.startswith(_TEXTS) else "text"


def _hard(catalogue: Catalogue, table: CatalogueTable) -> Iterator[Step]:
    for key in table.foreign_keys:
        if key.target != table.label and key.target in catalogue.by_label:
            certain = all(not table.by_name[name].nullable for name in key.columns)
            yield Step(key.columns, key.target, key.target_columns, "same", True, certain)


def _levels(made: Paths, wanted: Mapping[str, Sequence[Step]], people: set[str]) -> dict[str, int]:
    """How many steps away a tenant column is; through people only where there is no other way."""
    levels = dict.fromkeys(made.columns, 0)
    through_people = False
    while True:
        level = max(levels.values(), default=0) + 1
        found = [
            label
            for label, steps in wanted.items()
            if label not in levels
            and any(
                s.parent in levels and (through_people or s.parent not in people) for s in steps
            )
        ]
        if found and through_people:
            made.through_people.update(found)
            people.update(found)
        if not found and through_people:
            return levels
        through_people = not found
        levels.update(dict.fromkeys(found, level))


def _chosen(
    made: Paths,
    steps: Sequence[Step],
    levels: Mapping[str, int],
    people: set[str],
    label: str,
) -> list[Step]:
    """The steps that count, in their order, none of which leads back to this table."""
    usable = [one for one in steps if one.parent in levels]
    if not any(one.by_rule for one in usable):  # foreign keys: the nearest first, people last
        usable.sort(key=lambda one: (levels[one.parent], not one.certain, one.columns))
        usable = [one for one in usable if one.parent not in people] or usable
    kept: list[Step] = []
    for step in usable:
        if not _leads_to(made, step.parent, label) and step not in kept:
            kept.append(step)
            if step.certain:
                break
    return kept


def _leads_to(made: Paths, start: str, wanted: str) -> bool:
    seen, todo = {start}, [start]
    while todo:
        label = todo.pop()
        if label == wanted:
            return True
        for parent in made.reads(label):
            if parent not in seen:
                seen.add(parent)
                todo.append(parent)
    return False
