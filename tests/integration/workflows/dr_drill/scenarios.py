"""Scenario files for drills on the session's lab, and what is asked of their results."""

import json
import sys
from pathlib import Path
from typing import Any

from tests.command_line import Ran

WRITABLE = {
    "title": "PostgreSQL takes writes", "probe": "marker.latest", "with": {"store": "postgres"},
    "tolerance": {"range": [1, None]},
}  # fmt: skip
KILL = {"title": "PostgreSQL is killed", "action": "lab.fault",
        "with": {"kind": "kill", "target": "postgres"}}  # fmt: skip
START = {"title": "PostgreSQL starts", "action": "lab.heal", "with": {"target": "postgres"},
         "phase": "action"}  # fmt: skip
HEAL = {"title": "Everything runs", "action": "lab.heal", "timeout": 120}


def pause(seconds: float) -> dict[str, Any]:
    return {"pause": seconds, "why": "part of the test"}


def program(code: str, **more: Any) -> dict[str, Any]:
    """An action that runs Python."""
    return {"title": "A program", "action": "process",
            "with": {"command": [sys.executable, "-c", code, "{drill}", "{folder}"]},
            **more}  # fmt: skip


def scenario(folder: Path, name: str = "practice-drill", **changes: Any) -> str:
    """The path of a scenario: PostgreSQL is killed, started, and watched meanwhile."""
    tree: dict[str, Any] = {
        "title": "PostgreSQL is killed and started",
        "description": "For a test",
        "scope": "PostgreSQL of a lab",
        "needs": ["lab"],
        "objectives": {"postgres": {"rto": 60, "rpo": 0}},
        "writers": {"stores": ["postgres"], "rate": 20, "timeout": 1, "warm-up": 5},
        "steady-state": {"title": "Steady", "within": 30, "probes": [WRITABLE]},
        "method": [KILL, pause(0.5), START],
        "rollbacks": [HEAL],
        **changes,
    }
    path = folder / f"{name}.yaml"  # JSON is YAML
    path.write_text(json.dumps(tree, indent=1), encoding="utf-8")
    return str(path)


def missed(ran: Ran) -> list[str]:
    """The names of the checks that do not hold."""
    return [one["name"] for one in ran.data["checks"] if not one["passed"]]


def measured(ran: Ran, store: str = "postgres") -> dict[str, Any]:
    found: dict[str, Any] = next(
        one for one in ran.data["outcome"]["measured"] if one["store"] == store
    )
    return found
