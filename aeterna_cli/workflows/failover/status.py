"""``failover status``: who serves, who could, and what would be lost now."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from time import monotonic, sleep

from aeterna_cli.context import Context
from aeterna_cli.errors import AeternaError, AuthenticationError, FindingsError, RefusedError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table, human_bytes
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.workflows.failover.component import ComponentStatus, Node
from aeterna_cli.workflows.failover.components import chosen, opened

_SCHEMA = "aeterna.failover.status/1"
_BETWEEN = 2.0  # seconds between two looks of --watch


@dataclass(frozen=True)
class FailoverStatus:
    """``left_out`` are components of which the profile describes no cluster, and why."""

    profile: str
    at: datetime
    components: tuple[ComponentStatus, ...]
    left_out: tuple[str, ...]
    errors: int
    warnings: int


def run(ctx: Context, component: str, *, exit_code: bool, watch: bool) -> Result:
    """Reads only. With ``exit_code`` errors end the command with 8, after the result is printed;
    with ``watch`` it looks again and again until a signal."""
    while watch and not _stopped(ctx):
        ctx.out.result(_result(look(ctx, component)))
        _wait(ctx)
    ctx.stop.check()
    found = look(ctx, component)
    if exit_code and found.errors:
        ctx.out.result(_result(found))
        raise FindingsError("failover_findings", f"{found.errors} errors")
    return _result(found)


def _result(found: FailoverStatus) -> Result:
    return Result(_SCHEMA, found, lambda: _view(found))


def _stopped(ctx: Context) -> bool:
    return ctx.stop.requested


def _wait(ctx: Context) -> None:
    """Between two looks; a signal ends it at once."""
    until = monotonic() + _BETWEEN
    while monotonic() < until and not _stopped(ctx):
        sleep(0.1)


def look(ctx: Context, component: str = "all") -> FailoverStatus:
    """One look at every component; ``RefusedError`` where one was asked for that is not there."""
    statuses: list[ComponentStatus] = []
    left_out = []
    names = chosen(component)
    for name in names:
        try:
            made = opened(ctx.deployment, name)
        except RefusedError as error:
            if len(names) == 1:
                raise
            left_out.append(f"{name}: {error.message}")
            continue
        try:
            statuses.append(made.status())
        except AuthenticationError:
            raise
        except AeternaError as error:
            silent = Finding(error.code, "error", name, error.message, error.hint)
            statuses.append(ComponentStatus(name, (), None, (silent,)))
        finally:
            made.close()
    severities = [one.severity for status in statuses for one in status.findings]
    return FailoverStatus(
        profile=ctx.profile_name,
        at=ctx.clock(),
        components=tuple(statuses),
        left_out=tuple(left_out),
        errors=severities.count("error"),
        warnings=severities.count("warning"),
    )


def _view(found: FailoverStatus) -> Table:
    rows = [_row(status, node) for status in found.components for node in status.nodes]
    return Table(
        ["component", "node", "role", "state", "lag", "behind", "timeline", "zone"],
        rows,
        right=frozenset({"lag", "behind", "timeline"}),
        footer="\n".join(_notes(found)),
    )


def _row(status: ComponentStatus, node: Node) -> list[str]:
    mark = "" if node.healthy else "  <- not well"
    return [
        status.component,
        node.name,
        node.role,
        f"{node.state}{mark}",
        "" if node.lag_bytes is None else human_bytes(node.lag_bytes),
        "" if node.lag_seconds is None else f"{node.lag_seconds:.1f} s",
        "" if node.timeline is None else str(node.timeline),
        node.zone or "",
    ]


def _notes(found: FailoverStatus) -> Iterator[str]:
    for status in found.components:
        if status.loss is not None:
            lost = status.loss.message
            who = "a peer" if status.component == "qdrant" else "the primary"
            yield f"{status.component}: if {who} died now, lost would be {lost}"
        if status.emulated:
            yield f"{status.component}: {status.emulated}"
    for status in found.components:
        for one in status.findings:
            mend = f" -> {one.mend}" if one.mend else ""
            yield f"{one.severity}: {status.component}, {one.subject}: {one.message}{mend}"
    yield from (f"left out: {one}" for one in found.left_out)
    yield f"{found.errors} errors, {found.warnings} warnings"
