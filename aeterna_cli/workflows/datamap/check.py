"""``datamap check``: can the map be trusted? Every finding says what mends it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from aeterna_cli.context import Context
from aeterna_cli.datamap import privileges
from aeterna_cli.errors import FindingsError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.workflows.datamap.build import build

_RANK = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Checked:
    """``scopes``: how many tables there are of each. Only errors and warnings end with exit 8."""

    profile: str
    database: str
    role: str
    scopes: Mapping[str, int]
    errors: int
    warnings: int
    findings: tuple[Finding, ...]


def run(ctx: Context) -> Result:
    """Reads catalogues, never data. The result is printed first, then findings end with exit 8."""
    map_ = build(ctx.deployment)
    found = sorted(
        (*map_.findings, *privileges.findings(map_)), key=lambda one: _RANK[one.severity]
    )
    counts = Counter(one.severity for one in found)
    checked = Checked(
        ctx.deployment.name,
        map_.database,
        map_.role.name,
        dict(sorted(Counter(one.scope for one in map_.tables.values()).items())),
        counts["error"],
        counts["warning"],
        tuple(found),
    )
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
    scopes = ", ".join(f"{number} {scope}" for scope, number in checked.scopes.items())
    return Table(
        ["severity", "subject", "what", "mend"],
        [[one.severity, one.subject, one.message, one.mend] for one in checked.findings],
        title=f"profile {checked.profile}, database {checked.database}, role {checked.role}",
        footer=f"tables: {scopes}; {checked.errors} errors, {checked.warnings} warnings",
    )
