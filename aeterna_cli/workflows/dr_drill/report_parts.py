"""What every report shows, whatever it is written in: rows of words out of a result document."""

from collections.abc import Mapping, Sequence
from typing import Any

from aeterna_cli.workflows.dr_drill.escaping import number

Drill = Mapping[str, Any]
Rows = list[list[str]]
ANSWERS_TO = (
    ("Id", "id"),
    ("Scenario", "scenario"),
    ("Scope", "scope"),
    ("Kind of test", "test_type"),
    ("Profile", "profile"),
    ("Environment", "environment"),
    ("Deployment", "deployment"),
    ("Ran by", "ran_by"),
    ("Approved by", "approved_by"),
    ("Observed by", "observed_by"),
    ("Reason", "reason"),
    ("Change", "change"),
    ("Started", "started"),
    ("Finished", "finished"),
    ("Next drill due", "next_due"),
    ("Scenario file, SHA-256", "scenario_sha256"),
    ("Tool", "tool_version"),
)
MEASURED = ("store", "measured by", "RTO", "wanted", "RPO", "wanted", "detection", "decision",
            "action", "verification", "acknowledged", "lost", "in doubt (found)")  # fmt: skip
CHECKS = ("result", "what", "wanted", "found", "seconds")
FINDINGS = ("finding", "owner", "due")
STEPS = ("at", "part", "what", "by", "took", "result")


def facts(drill: Drill) -> Rows:
    rows = [[name, str(drill[key] or "–")] for name, key in ANSWERS_TO]
    rows.append(["Seed of the random choices", str(drill["outcome"]["seed"])])
    rows += [[f"Version of {name}", str(value)]
             for name, value in drill["outcome"]["versions"].items()]  # fmt: skip
    if drill["emulated"]:
        rows.append(["Not real here", str(drill["emulated"])])
    return rows


def measured(drill: Drill) -> Rows:
    wanted = {one["store"]: one for one in drill["targets"]}
    rows = []
    for one in drill["outcome"]["measured"]:
        target = wanted.get(one["store"], {"rto": None, "rpo": None})
        rto = number(one["rto"]) if one["recovered"] else "not recovered"
        rows.append([
            one["store"], one["how"], rto, number(target["rto"]), number(one["rpo"]),
            number(target["rpo"]), number(one["detection"]), number(one["decision"]),
            number(one["action"]), number(one["verification"]), str(one["acknowledged"]),
            str(one["lost"]), f"{one['in_doubt']} ({one['in_doubt_found']})",
        ])  # fmt: skip
    return rows


def checks(drill: Drill) -> Rows:
    return [
        ["holds" if one["passed"] else "DOES NOT HOLD", one["name"], one["wanted"], one["found"],
         f"{one['seconds']:.2f}"]
        for one in drill["checks"]
    ]  # fmt: skip


def findings(drill: Drill) -> Rows:
    return [[one["message"], one["owner"], one["due"]] for one in drill["findings"]]


def steps(drill: Drill) -> Rows:
    return [
        [number(one["begun"]), one["part"], one["title"], one["provider"], number(one["seconds"]),
         ("ok: " if one["passed"] else "FAILED: ") + one["found"]]
        for one in drill["outcome"]["steps"]
    ]  # fmt: skip


def load(drill: Drill) -> Rows:
    return [
        [one["title"], _figure(one["rate"], "a second"), _figure(one["p99"], "ms"), one["found"]]
        for one in drill["outcome"]["load"]
    ]


def notes(drill: Drill) -> Sequence[str]:
    found: list[str] = list(drill["outcome"]["notes"])
    if drill["outcome"]["reason"]:
        found.insert(0, drill["outcome"]["reason"])
    return found


def _figure(value: float | None, unit: str) -> str:
    return "not told" if value is None else f"{value:g} {unit}"
