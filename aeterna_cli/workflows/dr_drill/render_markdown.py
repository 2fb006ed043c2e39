"""The result as Markdown: for a ticket, a wiki, a pull request."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aeterna_cli.workflows.dr_drill import report_parts as parts
from aeterna_cli.workflows.dr_drill.escaping import in_markdown as escaped


def render(drill: Mapping[str, Any]) -> str:
    return "\n".join(_lines(drill)) + "\n"


def _lines(drill: Mapping[str, Any]) -> Iterator[str]:
    yield f"# DR drill: {escaped(drill['title'])}"
    yield ""
    yield f"**{drill['verdict'].upper()}**"
    yield ""
    yield from _table(("", ""), parts.facts(drill))
    yield "## Measured"
    yield ""
    yield from _table(parts.MEASURED, parts.measured(drill))
    yield "## Findings"
    yield ""
    rows = parts.findings(drill)
    yield from _table(parts.FINDINGS, rows) if rows else ("None.", "")
    yield "## Checks"
    yield ""
    yield from _table(parts.CHECKS, parts.checks(drill))
    yield "## What was done"
    yield ""
    yield from _table(parts.STEPS, parts.steps(drill))
    rows = parts.load(drill)
    if rows:
        yield "## Background load"
        yield ""
        yield from _table(("program", "rate", "p99", "how it ended"), rows)
    for note in parts.notes(drill):
        yield f"- {escaped(note)}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(columns) + " |"
    yield "|" + " --- |" * len(columns)
    for row in rows:
        yield "| " + " | ".join(escaped(cell) for cell in row) + " |"
    yield ""
