"""Scenarios and outcomes for the tests of drills."""

from pathlib import Path
from typing import Any

from aeterna_cli.workflows.dr_drill.marker_log import Event, MarkerHistory

PLAIN = """\
title: A drill
description: For a test
scope: PostgreSQL
writers: {stores: [postgres], rate: 20, warm-up: 5, timeout: 1s}
objectives: {postgres: {rto: 30s, rpo: 0s}}
steady-state:
  title: Steady
  within: 5s
  probes:
    - {title: writable, probe: sql, with: {query: SELECT 1}, tolerance: 1}
method:
  - {title: break, action: process, with: {command: ["true"]}, fault: true}
rollbacks:
  - {title: mend, action: process, with: {command: ["true"]}}
"""
DRILL = "01a21ebd-1dda-7416-8130-21ceff65614c"


def history(
    acknowledged: dict[int, float], failed: dict[int, float] | None = None,
    refused: dict[int, float] | None = None, took: float = 0.01,
) -> MarkerHistory:  # fmt: skip
    """A writer's log: when numbers were acknowledged, failed, refused, in monotonic seconds."""
    found = MarkerHistory()
    rows = [("A", number, at) for number, at in acknowledged.items()]
    rows += [("E", number, at) for number, at in (failed or {}).items()]
    rows += [("N", number, at) for number, at in (refused or {}).items()]
    for kind, number, at in sorted(rows, key=lambda row: row[2]):
        intent = Event("I", number, at - took, 1e9 + at - took, "")
        event = Event(kind, number, at, 1e9 + at, "server")  # type: ignore[arg-type]
        found.intended[number] = intent
        found.events += [intent, event]
        if kind == "A":
            found.acknowledged[number] = event
        elif kind == "N":
            found.refused.add(number)
    return found


def write(folder: Path, text: str = PLAIN, name: str = "sample.yaml", **changes: Any) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
