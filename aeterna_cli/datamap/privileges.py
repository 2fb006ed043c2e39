"""What must hold before the map is used: no row hidden, none forbidden, no table unclassified."""

from collections.abc import Iterable, Sequence

from aeterna_cli.datamap.model import DataMap, MappedTable
from aeterna_cli.datamap.store_findings import add_collection
from aeterna_cli.datamap.tables import add_rule
from aeterna_cli.errors import AuthenticationError, RefusedError
from aeterna_cli.stores.base.catalogue import quoted
from aeterna_cli.stores.base.findings import Finding

WRITES = ("INSERT", "UPDATE", "DELETE")
_SHOWN = 5


def require_readable(map_: DataMap, tables: Iterable[MappedTable] | None = None) -> None:
    """Our role sees every row of these tables (by default of all with tenants' rows).

    ``AuthenticationError``: ``rows_hidden`` where row security would silently leave rows out,
    ``missing_privilege`` where it may not read; ``next_steps`` are the SQL that mends it.
    """
    chosen = map_.of_tenants if tables is None else tuple(tables)
    hidden = [one for one in chosen if one.table.rows_hidden]
    if hidden:
        raise AuthenticationError(
            "rows_hidden",
            f"row security hides rows of {_counted(hidden)} from the role {map_.role.name}",
            hint="a part of the rows would look like all of them"
            + (
                "; FORCE counts for the owner too"
                if any(o.table.rls_forced for o in hidden)
                else ""
            ),
            next_steps=[bypass(map_)],
            details={"tables": [one.label for one in hidden]},
        )
    _require(map_, chosen, ("SELECT",), "read")


def require_writable(map_: DataMap, tables: Iterable[MappedTable] | None = None) -> None:
    """As ``require_readable``, and our role may insert, update and delete."""
    chosen = map_.of_tenants if tables is None else tuple(tables)
    require_readable(map_, chosen)
    _require(map_, chosen, WRITES, "change")


def require_classified(map_: DataMap) -> None:
    """Every table and collection of the map is classified: what an unclassified one holds would be
    left behind, or be somebody else's.

    ``RefusedError``: ``tables_unclassified``, ``collections_unclassified``, with the rule to add.
    Keys and objects are not asked for: there may be millions, and no work ever touches one that is
    not certainly the tenant's; ``datamap check`` names what nobody knows.
    """
    require_collections_classified(map_)
    if map_.unclassified:
        labels = [one.label for one in map_.unclassified]
        raise RefusedError(
            "tables_unclassified",
            f"nothing tells whose rows are in {_counted(map_.unclassified)}",
            hint=add_rule(labels[0]),
            next_steps=["aeterna-cli datamap check"],
            details={"tables": labels},
        )


def require_collections_classified(map_: DataMap) -> None:
    """As ``require_classified``, for work that touches no table."""
    if map_.unclassified_collections:
        names = [one.collection for one in map_.unclassified_collections]
        raise RefusedError(
            "collections_unclassified",
            f"nothing tells whose points are in {_few(names, 'collection')}",
            hint=add_collection(names[0]),
            next_steps=["aeterna-cli datamap check --store qdrant"],
            details={"collections": names},
        )


def findings(map_: DataMap) -> Sequence[Finding]:
    """The same as findings. That our role may not write is a remark: reading is enough for most."""
    everything = tuple(map_.tables.values())
    found = []
    hidden = [one.label for one in everything if one.table.rows_hidden]
    if hidden:
        message = f"row security hides rows from the role {map_.role.name}: {', '.join(hidden)}"
        found.append(Finding("rows_hidden", "error", "row security", message, bypass(map_)))
    for words, severity, code in (
        (("SELECT",), "error", "unreadable"),
        (WRITES, "info", "unwritable"),
    ):
        lacking = _lacking(everything, words)
        if lacking:
            message = f"the role {map_.role.name} lacks {', '.join(words)} on {_counted(lacking)}"
            mend = "; ".join(grants(map_, lacking, words))
            found.append(Finding(code, severity, "privileges", message, mend))
    return found


def bypass(map_: DataMap) -> str:
    return f"ALTER ROLE {quoted(map_.role.name)} BYPASSRLS"


def grants(map_: DataMap, tables: Sequence[MappedTable], words: Sequence[str]) -> list[str]:
    """The statements that give our role what it lacks."""
    role = quoted(map_.role.name)
    closed = dict.fromkeys(one.schema for one in tables if not one.table.schema_usage)
    made = [f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {role}" for schema in closed]
    lacking = [one for one in tables if not one.table.privileges >= set(words)]
    if lacking:
        names = ", ".join(quoted(one.schema, one.name) for one in lacking)
        made.append(f"GRANT {', '.join(words)} ON TABLE {names} TO {role}")
    return made


def _require(map_: DataMap, tables: Sequence[MappedTable], words: Sequence[str], verb: str) -> None:
    lacking = _lacking(tables, words)
    if lacking:
        raise AuthenticationError(
            "missing_privilege",
            f"the role {map_.role.name} may not {verb} {_counted(lacking)}",
            hint="it would end in the middle, or leave rows out",
            next_steps=grants(map_, lacking, words),
            details={"tables": [one.label for one in lacking]},
        )


def _lacking(tables: Iterable[MappedTable], words: Sequence[str]) -> list[MappedTable]:
    return [
        one
        for one in tables
        if not one.table.schema_usage or not one.table.privileges >= set(words)
    ]


def _counted(tables: Sequence[MappedTable]) -> str:
    return _few([one.label for one in tables], "table")


def _few(names: Sequence[str], what: str) -> str:
    shown = ", ".join(names[:_SHOWN])
    more = "" if len(names) <= _SHOWN else f" and {len(names) - _SHOWN} more"
    return f"{len(names)} {what}{'s' if len(names) > 1 else ''}: {shown}{more}"
