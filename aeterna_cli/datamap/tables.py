"""The PostgreSQL part of the map: every table gets a scope, a selection and its findings."""

import re
from collections.abc import Iterator, Mapping

from aeterna_cli.datamap.closure import Arrow, Order, order
from aeterna_cli.datamap.model import DataMap, MappedTable
from aeterna_cli.datamap.selection import ROOT, TENANT_COLUMNS, Paths, paths, tenant_columns
from aeterna_cli.datamap.table_rules import Scope, TableRule
from aeterna_cli.stores.base.catalogue import Catalogue, CatalogueTable, TenantTable
from aeterna_cli.stores.base.findings import Finding

_BY_COLUMN: Mapping[str, Scope] = dict(
    zip(TENANT_COLUMNS, ("direct", "audit", "person"), strict=True)
)
_RANK = {"error": 0, "warning": 1, "info": 2}
#: columns that look as if they named a person; whether they do is for a rule to say
_PERSONAL = re.compile(
    r"(^|_)(e?mail|phone|ip|ip_address|user_agent|user_id|actor_id|first_name|last_name"
    r"|full_name|display_name|avatar_url|birth(day|date)?|address)$"
)


def map_tables(catalogue: Catalogue, rules: Mapping[str, TableRule]) -> DataMap:
    """Pure: the same catalogue and rules give the same map."""
    found = paths(catalogue, rules)
    tables = {
        table.label: _mapped(catalogue, table, rules.get(table.label), found)
        for table in catalogue.tables
    }
    arrows = [
        Arrow(table.label, key.target, f"{table.label}.{key.name}")
        for table in catalogue.tables
        for key in table.foreign_keys
    ]
    reads = {label: found.reads(label) for label in tables}
    ordered = order(tables, arrows, reads, first=ROOT)
    root = _root(catalogue)
    findings = sorted(
        _findings(catalogue, tables, rules, ordered, root),
        key=lambda one: (_RANK[one.severity], one.subject, one.code),
    )
    return DataMap(catalogue.database, catalogue.role, root, tables, ordered, tuple(findings))


def _mapped(
    catalogue: Catalogue, table: CatalogueTable, rule: TableRule | None, found: Paths
) -> MappedTable:
    selection = found.selection(catalogue, table.label)
    scope = _scope(table, rule, found)
    if selection is None and scope not in ("infrastructure", "derived"):
        scope = "unclassified"
    shared, reads = table.label in found.shared, found.reads(table.label)
    return MappedTable(table, scope, selection, shared, reads, rule or TableRule(table.label))


def _scope(table: CatalogueTable, rule: TableRule | None, found: Paths) -> Scope:
    if rule is not None and rule.scope is not None:
        return rule.scope
    if table.label == ROOT:
        return "root"
    columns = tuple(tenant_columns(table, rule))
    if columns:
        return _BY_COLUMN.get(columns[0].column, "direct")
    if rule is not None and rule.references:
        return "soft"
    steps = found.steps.get(table.label, ())
    if any(step.columns[0] == TENANT_COLUMNS[0] for step in steps):
        return "direct"  # its own column, though the values are another table's
    if steps:
        return "person" if table.label in found.through_people else "chain"
    return "infrastructure" if table.extension else "unclassified"


def _root(catalogue: Catalogue) -> TenantTable | None:
    table = catalogue.by_label.get(ROOT)
    if table is None or "id" not in table.by_name:
        return None
    slug, title, status, created_at = (
        name if name in table.by_name else None for name in ("slug", "name", "status", "created_at")
    )
    return TenantTable(table.schema, table.name, "id", slug, title, status, created_at)


# -- what speaks against the map


def _findings(
    catalogue: Catalogue,
    tables: Mapping[str, MappedTable],
    rules: Mapping[str, TableRule],
    ordered: Order,
    root: TenantTable | None,
) -> Iterator[Finding]:
    if root is None:
        message = "there is no table of tenants: nobody's rows can be selected"
        mend = "check postgres.database in the profile"
        yield Finding("root_missing", "error", catalogue.database, message, mend)
    for table in tables.values():
        yield from _of_table(table)
        if table.label in rules:
            yield from _of_rule(catalogue, table.table, table.rule)
    for cycle in ordered.cycles:
        if cycle.how == "constraints_after":
            message = f"refer to each other: {', '.join(cycle.foreign_keys)}"
            mend = "nothing; their constraints are checked after the rows are there"
            yield Finding("foreign_key_ring", "info", ", ".join(cycle.tables), message, mend)


def _of_table(mapped: MappedTable) -> Iterator[Finding]:
    table = mapped.table
    if mapped.scope == "unclassified":
        yield Finding(
            "table_unclassified",
            "error",
            table.label,
            "nothing tells whose rows these are",
            add_rule(table.label),
        )
    if not table.primary_key:
        message = "no primary key: its rows cannot be compared or found again"
        mend = f"ALTER TABLE {table.label} ADD PRIMARY KEY (...)"
        yield Finding("primary_key_missing", "warning", table.label, message, mend)
    if table.inherits:
        message = "it inherits from another table: its rows are counted there as well"
        yield Finding("table_inherits", "warning", table.label, message, "ALTER TABLE NO INHERIT")
    if mapped.scope == "infrastructure":
        return
    known = {one.column for one in mapped.subjects}
    for column in table.columns:
        if _PERSONAL.search(column.name) and column.name not in known:
            yield Finding(
                "subject_unmapped",
                "warning",
                f"{table.label}.{column.name}",
                "it looks like a person's data, and no rule says what an erasure does to it",
                f"add a subject to [[table]] {table.label!r} in a file of datamap.rules",
            )


def add_rule(label: str) -> str:
    """What makes an unclassified table a classified one."""
    return (
        f"add [[table]] with name = {label!r} and tenant_columns, references or"
        ' scope = "infrastructure" to a file of datamap.rules'
    )


def _of_rule(catalogue: Catalogue, table: CatalogueTable, rule: TableRule) -> Iterator[Finding]:
    """A rule for a table that is not there is fine; one for a column that is not there is not."""
    named = [*rule.tenant_columns, *(one.column for one in rule.references)]
    guards = [one.when_null for one in rule.references if one.when_null is not None]
    named += [one for one in guards if one not in TENANT_COLUMNS]
    named += [one.column for one in rule.subjects]
    missing = [f"{table.label}.{name}" for name in named if name not in table.by_name]
    for reference in rule.references:
        for target in reference.to:
            parent = catalogue.by_label.get(target.table)
            if parent is not None and target.column not in parent.by_name:
                missing.append(f"{target.table}.{target.column}")
    for name in dict.fromkeys(missing):
        message = f"the rule for {table.label} names this column, and it does not exist"
        mend = f"correct [[table]] {table.label!r} in a file of datamap.rules"
        yield Finding("rule_column_missing", "error", name, message, mend)
