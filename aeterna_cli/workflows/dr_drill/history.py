"""``dr-drill history``: what was drilled, whether it gets better or worse, and what is overdue."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aeterna_cli.context import Context
from aeterna_cli.errors import FindingsError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table
from aeterna_cli.workflows.dr_drill import past, state
from aeterna_cli.workflows.dr_drill.escaping import plain
from aeterna_cli.workflows.dr_drill.past import Past

_NOTEWORTHY = 0.1  # seconds: less is the machine's mood


@dataclass(frozen=True)
class StoreFigures:
    """Seconds; ``rto_change`` and ``rpo_change`` are against the last drill of this scenario."""

    store: str
    rto: float | None
    rpo: float | None
    rto_change: float | None
    rpo_change: float | None


@dataclass(frozen=True)
class PastDrill:
    """One drill. ``state``: passed, failed, or damaged (its evidence is not what was signed)."""

    id: str
    state: past.State
    scenario: str
    started: datetime | None
    ran_by: str
    approved_by: str
    stores: tuple[StoreFigures, ...]
    fault: str


@dataclass(frozen=True)
class Due:
    """A scenario that was run here or is to be. ``due`` is None where it never passed."""

    scenario: str
    due: datetime | None
    overdue: bool


@dataclass(frozen=True)
class History:
    """``every_days`` is the profile's; a scenario is due that long after it last passed."""

    drills: tuple[PastDrill, ...]
    due: tuple[Due, ...]
    every_days: int
    overdue: bool


def run(ctx: Context, overdue: bool) -> Result:
    """Oldest first. With ``overdue`` exit 8 where something is, or where nothing ever passed."""
    state.offer(ctx)
    found = past.everything(ctx)
    every = ctx.profile.drills.every_days
    dues = _dues(found, ctx.profile.drills.allowed, every, ctx.clock())
    late = any(one.overdue for one in dues) or not any(one.state == "passed" for one in found)
    history = History(tuple(_drills(found)), dues, every, late)
    result = Result("aeterna.dr_drill.history/1", history, lambda: _view(history))
    if overdue and late:
        ctx.out.result(result)
        names = [one.scenario for one in dues if one.overdue]
        raise FindingsError(
            "drills_overdue",
            f"drills are overdue: {', '.join(names)}" if names else "no drill has ever passed here",
            hint=f"each is to pass every {every} days",
            next_steps=[f"aeterna-cli dr-drill run {names[0]}" if names
                        else "aeterna-cli dr-drill list"],
        )  # fmt: skip
    return result


def _dues(
    found: Sequence[Past], allowed: Sequence[str], every: int, now: datetime
) -> tuple[Due, ...]:
    names = sorted({one.scenario for one in found if one.scenario} | set(allowed))
    dues = []
    for name in names:
        moment = past.due(found, name, every)
        dues.append(Due(name, moment, moment is None or moment < now))
    return tuple(dues)


def _drills(found: Sequence[Past]) -> list[PastDrill]:
    last: dict[str, Past] = {}
    drills = []
    for one in found:
        before = last.get(one.scenario)
        stores = [] if one.data is None else one.data["outcome"]["measured"]
        figures = tuple(_figures(one, before, str(measured["store"])) for measured in stores)
        data: Mapping[str, str] = one.data or {}
        drills.append(
            PastDrill(
                one.id, one.state, one.scenario, one.started, data.get("ran_by", ""),
                data.get("approved_by", ""), figures, one.fault,
            )
        )  # fmt: skip
        if one.data is not None:
            last[one.scenario] = one
    return drills


def _figures(one: Past, before: Past | None, store: str) -> StoreFigures:
    values, changes = [], []
    for name in ("rto", "rpo"):
        now = one.seconds(store, name)
        then = before.seconds(store, name) if before else None
        values.append(now)
        changes.append(None if now is None or then is None else round(now - then, 4))
    return StoreFigures(store, values[0], values[1], changes[0], changes[1])


def _view(history: History) -> Table:
    rows = []
    for one in history.drills:
        when = one.started.isoformat(timespec="minutes") if one.started else ""
        figures = "; ".join(_words(figure) for figure in one.stores) or plain(one.fault)
        rows.append([one.id, when, plain(one.scenario), one.state.upper(), figures,
                     plain(one.ran_by)])  # fmt: skip
    lines = [
        f"{plain(due.scenario)}: "
        + ("never passed" if due.due is None else f"due {due.due.isoformat(timespec='minutes')}")
        + (" OVERDUE" if due.overdue else "")
        for due in history.due
    ]
    if not rows:
        lines.insert(0, "no drill was run here yet")
    columns = ["drill", "started", "scenario", "result", "measured (change)", "ran by"]
    return Table(columns, rows, footer="\n".join(lines))


def _words(one: StoreFigures) -> str:
    rto, rpo = _value(one.rto, one.rto_change), _value(one.rpo, one.rpo_change)
    return f"{one.store} RTO {rto}, RPO {rpo}"


def _value(value: float | None, change: float | None) -> str:
    if value is None:
        return "not measured"
    if change is None or abs(change) < _NOTEWORTHY:
        return f"{value:.2f} s"
    return f"{value:.2f} s ({change:+.2f})"
