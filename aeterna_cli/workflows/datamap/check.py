"""``datamap check``: can the map be trusted? Every finding says what mends it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aeterna_cli.context import Context
from aeterna_cli.datamap import privileges
from aeterna_cli.datamap.model import DataMap
from aeterna_cli.errors import FindingsError, UsageError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.workflows.datamap.build import begin, build, some_stores
from aeterna_cli.workflows.datamap.judge import (
    FAULTS,
    Judge,
    StoreChecked,
    Verdict,
    not_checked,
)

_RANK = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Checked:
    """``scopes``: how many tables there are of each. ``stores`` says what was looked at, and what
    was not. Only errors and warnings end with exit 8."""

    profile: str
    database: str
    role: str
    scopes: Mapping[str, int]
    stores: tuple[StoreChecked, ...]
    errors: int
    warnings: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Asked:
    """``sample``: so many keys and objects; None for all of them."""

    stores: tuple[str, ...]
    sample: int | None
    names: bool


def asked(store: str | None, sample: int | None, names: bool) -> Asked:
    if sample is not None and sample < 1:
        raise UsageError("sample_invalid", "--sample is a number of keys or objects, from 1")
    return Asked(some_stores(store), sample, names)


def run(ctx: Context, wanted: Asked) -> Result:
    """Reads PostgreSQL's and Qdrant's catalogues, every key's name and every object's, and values
    where only they tell a key's tenant; keeps nothing.

    The result is printed first, then findings end with exit 8; a store that could not be looked at
    is one (``store_not_checked``). PostgreSQL's own errors end the command: without the tenants
    nothing can be judged.
    """
    map_ = build(ctx.deployment)
    verdicts = list(_verdicts(ctx, map_, wanted))
    found = [finding for one in verdicts for finding in one.findings]
    found.sort(key=lambda one: _RANK[one.severity])
    counts = Counter(one.severity for one in found)
    tables = map_.tables.values() if "postgres" in wanted.stores else ()
    checked = Checked(
        ctx.deployment.name,
        map_.database,
        map_.role.name,
        dict(sorted(Counter(one.scope for one in tables).items())),
        tuple(one.store for one in verdicts),
        counts["error"],
        counts["warning"],
        tuple(found),
    )
    return _ended(ctx, checked)


def _verdicts(ctx: Context, map_: DataMap, wanted: Asked) -> Sequence[Verdict]:
    made = [_tables(map_)] if "postgres" in wanted.stores else []
    others = [store for store in wanted.stores if store != "postgres"]
    try:
        begun = begin(ctx.deployment, map_) if others else None
    except FAULTS as error:
        mend = "; ".join(error.next_steps) or error.hint
        return made + [not_checked(store, "", error, mend) for store in others]
    if begun is not None:
        judge = Judge(ctx, begun, wanted.sample, wanted.names)
        made += [one for store in others for one in judge.verdicts(store)]
    return made


def _tables(map_: DataMap) -> Verdict:
    seen, unknown = len(map_.tables), len(map_.unclassified)
    store = StoreChecked("postgres", "", "all", seen, seen - unknown)
    return Verdict(store, (*map_.findings, *privileges.findings(map_)))


def _ended(ctx: Context, checked: Checked) -> Result:
    result = Result("aeterna.datamap.check/1", checked, lambda: _view(checked))
    if checked.errors or checked.warnings:
        ctx.out.result(result)
        raise FindingsError(
            "datamap_findings",
            f"{checked.errors} errors and {checked.warnings} warnings",
            hint="each line above says what mends it",
        )
    return result


def _view(checked: Checked) -> Table:
    lines = [_line(one) for one in checked.stores]
    if checked.scopes:
        scopes = ", ".join(f"{number} {scope}" for scope, number in checked.scopes.items())
        lines.append(f"tables: {scopes}")
    lines.append(f"{checked.errors} errors, {checked.warnings} warnings")
    return Table(
        ["severity", "subject", "what", "mend"],
        [[one.severity, one.subject, one.message, one.mend] for one in checked.findings],
        title=f"profile {checked.profile}, database {checked.database}, role {checked.role}",
        footer="\n".join(lines),
    )


def _line(one: StoreChecked) -> str:
    place = f"{one.store} {one.name}".strip()
    if one.judged == "no":
        return f"{place}: not judged"
    things = {"postgres": "tables", "qdrant": "collections", "redis": "keys"}
    what = things.get(one.store, "objects")
    part = ", a sample" if one.judged == "sample" else ""
    return f"{place}: {one.classified:,} of {one.seen:,} {what} known{part}"
