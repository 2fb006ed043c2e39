"""Drills for people on a terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeterna_cli.output.tables import human_seconds
from aeterna_cli.workflows.dr_drill.escaping import number, plain
from aeterna_cli.workflows.dr_drill.scenario import Action, Pause
from aeterna_cli.workflows.dr_drill.verdict import headline

if TYPE_CHECKING:
    from aeterna_cli.workflows.dr_drill.run import Planned


def one(drill: Mapping[str, Any], folder: Path | None) -> str:
    """A drill's result: the verdict, what was measured, what did not hold."""
    lines = [f"drill {headline(drill)}, in {human_seconds(drill['outcome']['seconds'])}"]
    wanted = {target["store"]: target for target in drill["targets"]}
    for measured in drill["outcome"]["measured"]:
        lines += _measured(measured, wanted[measured["store"]])
    for check in drill["checks"]:
        if not check["passed"]:
            words = f"wanted {check['wanted']}, found {check['found']}"
            lines.append(f"  DOES NOT HOLD: {plain(check['name'])}: {plain(words)}")
    for load in drill["outcome"]["load"]:
        rate, p99 = load["rate"], load["p99"]
        lines.append(f"  load       {plain(load['title'])}: {rate} a second, p99 {p99} ms")
    lines += [f"  note: {plain(note)}" for note in drill["outcome"]["notes"]]
    if drill["emulated"]:
        lines.append(f"  not real here: {plain(drill['emulated'])}")
    lines.append(f"  next due   {drill['next_due']}")
    if folder is not None:
        lines.append(f"  evidence   drills/{drill['id']}/ in the repository, and {folder}")
    lines.append(f"  next: aeterna-cli dr-drill report {drill['id']} --format html --to DIR")
    return "\n".join(lines)


def _measured(one: Mapping[str, Any], target: Mapping[str, Any]) -> list[str]:
    rto = number(one["rto"]) if one["recovered"] else "not recovered"
    parts = [
        f"{name} {number(one[name])}"
        for name in ("detection", "decision", "action", "verification")
        if one[name] is not None
    ]
    return [
        f"  {one['store']:10} RTO {rto} (at most {target['rto']:g} s),"
        f" RPO {number(one['rpo'])} (at most {target['rpo']:g} s);"
        f" {one['acknowledged']} acknowledged, {one['lost']} lost, {one['in_doubt']} in doubt",
        *([f"  {'':10} {', '.join(parts)}"] if parts else []),
    ]


def step_words(step: Action | Pause) -> str:
    """A step of a scenario in one line."""
    if isinstance(step, Pause):
        return f"pause {step.pause:g} s: {plain(step.why)}"
    arguments = ", ".join(f"{key}={plain(value)}" for key, value in step.arguments.items())
    return f"{plain(step.title)}: {step.action}({arguments})"


def planned(would: "Planned") -> str:
    return "\n".join(
        [
            f"would run the drill {would.scenario} with seed {would.seed}: {plain(would.title)}",
            *(f"  {line}" for line in would.targets),
            *(f"  {number}. {line}" for number, line in enumerate(would.steps, 1)),
            *(f"  always: {line}" for line in would.rollbacks),
        ]
    )
