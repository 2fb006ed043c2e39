"""The result of a drill: what an auditor asks for, as one document."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from aeterna_cli.workflows.dr_drill.judgement import Check, Target
from aeterna_cli.workflows.dr_drill.outcome import Outcome

Verdict = Literal["passed", "failed"]


@dataclass(frozen=True)
class DrillFinding:
    """Something that did not hold, who mends it, and until when."""

    message: str
    owner: str
    due: datetime


@dataclass(frozen=True)
class Drill:
    """One drill. Times are RFC 3339, durations seconds. ``scenario_sha256`` is of the scenario file
    as it was run, which lies beside this document."""

    id: str
    scenario: str
    title: str
    scope: str
    test_type: str
    verdict: Verdict
    profile: str
    environment: str
    deployment: str
    ran_by: str
    approved_by: str
    observed_by: str
    reason: str
    change: str
    started: datetime
    finished: datetime
    next_due: datetime
    scenario_sha256: str
    tool_version: str
    emulated: str
    targets: tuple[Target, ...]
    checks: tuple[Check, ...]
    findings: tuple[DrillFinding, ...]
    outcome: Outcome


SCHEMA = "aeterna.dr_drill.run/1"


def headline(drill: Mapping[str, Any]) -> str:
    """One line of a result document."""
    failed = sum(not one["passed"] for one in drill["checks"])
    total = len(drill["checks"])
    if drill["verdict"] == "passed":
        return f"{drill['scenario']} PASSED: {total} checks hold"
    return f"{drill['scenario']} FAILED: {failed} of {total} checks do not hold"
