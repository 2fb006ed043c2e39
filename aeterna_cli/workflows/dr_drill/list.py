"""``dr-drill list``: which drills there are, what each needs, when it last passed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from aeterna_cli.context import Context
from aeterna_cli.errors import AeternaError
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table
from aeterna_cli.workflows.dr_drill import library, needs, past, state
from aeterna_cli.workflows.dr_drill.escaping import plain
from aeterna_cli.workflows.dr_drill.judgement import targets

State = Literal["ready", "not possible here", "invalid"]


@dataclass(frozen=True)
class Listed:
    """One scenario file. ``reasons`` say why it cannot run here, or what is wrong with it."""

    name: str
    origin: str
    state: State
    title: str
    scope: str
    stores: tuple[str, ...]
    objectives: tuple[str, ...]
    reasons: tuple[str, ...]
    last_run: datetime | None
    last_result: str
    due: datetime | None


def run(ctx: Context) -> Result:
    """By name. Without the repository nothing is known of past drills, and that is said."""
    state.offer(ctx)
    try:
        before = past.everything(ctx)
    except AeternaError as error:
        ctx.out.warn(f"nothing is known of past drills: {error.message}")
        before = []
    found = [_listed(ctx, one, before) for one in library.everything(ctx.profile)]
    return Result("aeterna.dr_drill.list/1", found, lambda: _view(found))


def _listed(ctx: Context, one: library.Found, before: list[past.Past]) -> Listed:
    runs = [run for run in before if run.scenario == one.name]
    last = runs[-1] if runs else None
    moment = last.started if last else None
    result = last.state if last else ""
    if one.loaded is None:
        why = one.fault.message if one.fault else "it cannot be read"
        return Listed(one.name, one.origin, "invalid", "", "", (), (), (why,), moment, result, None)
    scenario = one.loaded.scenario
    reasons = needs.reasons(scenario, ctx.profile)
    return Listed(
        name=one.name,
        origin=one.origin,
        state="not possible here" if reasons else "ready",
        title=scenario.title,
        scope=scenario.scope,
        stores=tuple(scenario.writers.stores),
        objectives=tuple(
            f"{target.store} RTO {target.rto:g} s, RPO {target.rpo:g} s"
            for target in targets(scenario, ctx.profile.targets)
        ),
        reasons=reasons,
        last_run=moment,
        last_result=result,
        due=past.due(before, one.name, ctx.profile.drills.every_days),
    )


def _view(found: list[Listed]) -> Table:
    rows = []
    for one in found:
        last = f"{one.last_result} {one.last_run:%Y-%m-%d}" if one.last_run else "never"
        rows.append([one.name, plain(one.title), one.state, "; ".join(one.objectives), last,
                     plain("; ".join(one.reasons))])  # fmt: skip
    columns = ["drill", "what it proves", "state", "objectives", "last run", "why not"]
    return Table(columns, rows, footer="run one: aeterna-cli dr-drill run NAME --dry-run")
