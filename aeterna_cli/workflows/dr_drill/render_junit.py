"""The result as JUnit XML: a testcase for each check and objective, as CI systems read it."""

from collections.abc import Mapping
from typing import Any

from aeterna_cli.workflows.dr_drill.escaping import in_html as escaped


def render(drill: Mapping[str, Any]) -> str:
    """One test suite; a check that does not hold is a failure with its words."""
    checks = drill["checks"]
    failures = sum(not one["passed"] for one in checks)
    name = escaped(f"dr-drill {drill['scenario']}")
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="{name}" tests="{len(checks)}" failures="{failures}" errors="0">',
        f'  <testsuite name="{name}" tests="{len(checks)}" failures="{failures}" errors="0"'
        f' skipped="0" time="{drill["outcome"]["seconds"]:.3f}"'
        f' timestamp="{escaped(drill["started"])}" hostname="{escaped(drill["profile"])}">',
        "    <properties>",
        *(
            f'      <property name="{key}" value="{escaped(drill[key])}"/>'
            for key in ("id", "verdict", "profile", "environment", "scenario_sha256", "ran_by",
                        "approved_by")
        ),
        "    </properties>",
    ]  # fmt: skip
    for one in checks:
        lines += _case(drill["scenario"], one)
    return "\n".join([*lines, "  </testsuite>", "</testsuites>", ""])


def _case(scenario: str, check: Mapping[str, Any]) -> list[str]:
    of = f"dr-drill.{scenario}.{check['kind']}"
    head = (
        f'    <testcase classname="{escaped(of)}"'
        f' name="{escaped(check["name"])}" time="{check["seconds"]:.3f}"'
    )
    if check["passed"]:
        return [f"{head}/>"]
    message = escaped(f"wanted: {check['wanted']}; found: {check['found']}")
    return [
        f"{head}>",
        f'      <failure type="{escaped(check["kind"])}" message="{message}"/>',
        "    </testcase>",
    ]
