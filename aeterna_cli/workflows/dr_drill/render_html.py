"""The result as one HTML file that needs nothing else: for the auditor's folder and the printer."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aeterna_cli.workflows.dr_drill import report_parts as parts
from aeterna_cli.workflows.dr_drill import timeline
from aeterna_cli.workflows.dr_drill.escaping import in_html as escaped

#: nothing may be loaded or run, whatever a title says
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2430; max-width: 1160px;
       margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; margin: 0 0 .3em } h2 { font-size: 1.15em; margin: 1.8em 0 .5em }
table { border-collapse: collapse; width: 100%; font-size: .92em }
th, td { text-align: left; vertical-align: top; padding: .3em .7em;
         border-bottom: 1px solid #dde2e8; overflow-wrap: anywhere }
th { background: #f2f4f7; font-weight: 600 }
td.bad { color: #b02a1c; font-weight: 600 }
p.verdict { display: inline-block; padding: .25em .9em; border-radius: 4px; color: #fff;
            font-weight: 700; margin: .2em 0 1em }
p.passed { background: #2e8b57 } p.failed { background: #b02a1c }
figure { margin: 0; overflow-x: auto } svg { width: 100%; height: auto }
footer { margin-top: 2em; color: #59636f; font-size: .88em }
@media print { body { margin: 0; max-width: none } h2 { break-after: avoid }
               tr { break-inside: avoid } }
"""


def render(drill: Mapping[str, Any], lanes: Sequence[timeline.Lane]) -> str:
    return "\n".join(_lines(drill, lanes)) + "\n"


def _lines(drill: Mapping[str, Any], lanes: Sequence[timeline.Lane]) -> Iterator[str]:
    title = escaped(drill["title"])
    yield "<!doctype html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<title>DR drill: {title}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>DR drill: {title}</h1>"
    verdict = "passed" if drill["verdict"] == "passed" else "failed"
    yield f'<p class="verdict {verdict}">{verdict.upper()}</p>'
    yield from _table((), parts.facts(drill))
    yield "<h2>Timeline</h2><figure>"
    yield timeline.render(drill, lanes)
    yield "</figure>"
    yield "<h2>Measured against the objectives</h2>"
    yield from _table(parts.MEASURED, parts.measured(drill))
    yield "<h2>Findings</h2>"
    yield from _or_none(parts.FINDINGS, parts.findings(drill))
    yield "<h2>Checks</h2>"
    yield from _table(parts.CHECKS, parts.checks(drill))
    yield "<h2>What was done</h2>"
    yield from _table(parts.STEPS, parts.steps(drill))
    if drill["outcome"]["load"]:
        yield "<h2>Background load</h2>"
        yield from _table(("program", "rate", "p99", "how it ended"), parts.load(drill))
    yield from _notes(drill)
    yield _footer()
    yield "</body></html>"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "<table>"
    if columns:
        yield "<tr>" + "".join(f"<th>{escaped(one)}</th>" for one in columns) + "</tr>"
    for row in rows:
        cells = [
            f'<td class="bad">{escaped(cell)}</td>'
            if _is_bad(cell)
            else f"<td>{escaped(cell)}</td>"
            for cell in row
        ]
        yield "<tr>" + "".join(cells) + "</tr>"
    yield "</table>"


def _is_bad(cell: str) -> bool:
    return cell in ("DOES NOT HOLD", "not recovered") or cell.startswith("FAILED: ")


def _or_none(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if rows:
        yield from _table(columns, rows)
    else:
        yield "<p>None.</p>"


def _notes(drill: Mapping[str, Any]) -> Iterator[str]:
    found = parts.notes(drill)
    if found:
        yield "<h2>Notes</h2><ul>"
        yield from (f"<li>{escaped(note)}</li>" for note in found)
        yield "</ul>"


def _footer() -> str:
    return (
        "<footer>RTO: the gap in acknowledged writes, from the fault; of a restore, from the fault"
        " until the copy was verified. RPO: how long before the fault the oldest acknowledged write"
        " was sent that was not found again. Durations are of a monotonic clock. Raw timestamps,"
        " the journal and the scenario lie beside this file; manifest.json names each with its"
        " SHA-256 and is signed: <code>aeterna-cli dr-drill report --verify DIR --public-key"
        " FILE</code>.</footer>"
    )
