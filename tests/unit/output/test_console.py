"""Results on stdout in four formats, everything for people on stderr."""

import csv
import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.errors import RefusedError, UsageError
from aeterna_cli.output.console import Output
from aeterna_cli.output.documents import document, rfc3339
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table, as_plain, human_bytes, human_seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@dataclass(frozen=True)
class Row:
    name: str
    at: datetime
    path: Path


ROWS = [
    Row("a", datetime(2026, 1, 2, tzinfo=UTC), Path("/x")),
    Row("[bold]" * 40, datetime(2026, 1, 3, tzinfo=timezone(timedelta(hours=2))), Path("/y")),
]
RESULT = Result(
    "aeterna.test/1", ROWS, lambda: Table(["name", "at"], [[r.name, str(r.at)] for r in ROWS])
)


def output(asked: str | None, stdout: io.StringIO) -> tuple[Output, io.StringIO]:
    stderr = io.StringIO()
    return Output(asked, stdout=stdout, stderr=stderr), stderr


def test_json_in_a_pipe_and_a_table_on_a_terminal() -> None:
    pipe, terminal = io.StringIO(), Terminal()
    output(None, pipe)[0].result(RESULT)
    assert json.loads(pipe.getvalue()) == {
        "schema": "aeterna.test/1",
        "data": [
            {"name": "a", "at": "2026-01-02T00:00:00.000Z", "path": "/x"},
            {"name": "[bold]" * 40, "at": "2026-01-03T00:00:00.000+02:00", "path": "/y"},
        ],
    }
    output(None, terminal)[0].result(RESULT)
    # nothing is cut, and nothing is taken for markup
    assert terminal.getvalue().count("[bold]") == 40


def test_ndjson_has_a_header_line_and_one_line_an_item() -> None:
    pipe = io.StringIO()
    output("ndjson", pipe)[0].result(RESULT)
    lines = [json.loads(line) for line in pipe.getvalue().splitlines()]
    assert lines[0] == {"schema": "aeterna.test/1", "type": "header"}
    assert [line["name"] for line in lines[1:]] == ["a", "[bold]" * 40]


def test_csv_and_plain_tables() -> None:
    pipe = io.StringIO()
    output("csv", pipe)[0].result(RESULT)
    assert [row[0] for row in csv.reader(io.StringIO(pipe.getvalue()))] == [
        "name",
        "a",
        "[bold]" * 40,
    ]
    plain = as_plain(Table(["n", "size"], [["x", "1"], ["y", "22"]], right=frozenset({"size"})))
    assert plain == "n  size\nx     1\ny    22\n"


def test_errors_are_one_object_for_machines_and_lines_for_people() -> None:
    error = RefusedError("code", "message", hint="hint", next_steps=["step"], operation="op")
    machine, stderr = output("json", io.StringIO())
    machine.error(error)
    parsed = json.loads(stderr.getvalue())["error"]
    assert (parsed["code"], parsed["exit_code"], parsed["operation"]) == ("code", 7, "op")
    person, stderr = output("table", io.StringIO())
    person.error(error)
    assert stderr.getvalue().splitlines() == [
        "error: message [code]",
        "  why/how: hint",
        "  operation: op",
        "  next: step",
    ]


def test_log_lines_can_be_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETERNA_LOG", "json")
    out, stderr = output("table", io.StringIO())
    out.note("hello", step="x")
    out.warn("careful")
    out.progress("copy", 5, 10)
    out.progress("copy", 6, 10)  # within the interval: no second line
    lines = [json.loads(line) for line in stderr.getvalue().splitlines()]
    assert [line["level"] for line in lines] == ["info", "warning", "info"]
    assert lines[0]["step"] == "x"
    assert (lines[2]["done"], lines[2]["total"]) == (5, 10)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((1 << 20, 3 << 20), "copy: 1.0 MiB of 3.0 MiB"),
        ((0, 0), "copy: 0 B of 0 B"),
        ((1 << 20, None), "copy: 1.0 MiB"),
        ((1, 4, "collections"), "copy: 1 of 4 collections"),
        ((1000, None, "points"), "copy: 1,000 points"),
    ],
)
def test_progress_says_how_much_of_what(words: Any, line: str) -> None:
    out, stderr = output("table", io.StringIO())
    out.progress("copy", *words)
    assert stderr.getvalue() == f"{line}\n"


def test_quiet_silences_progress_but_no_warning() -> None:
    stderr = io.StringIO()
    out = Output("json", quiet=True, stdout=io.StringIO(), stderr=stderr)
    out.note("n")
    out.progress("copy", 1, 2)
    out.warn("w")
    assert stderr.getvalue() == "warning: w\n"


def test_a_progress_bar_leaves_the_terminal_as_it_was() -> None:
    stderr = Terminal()
    out = Output("json", stdout=io.StringIO(), stderr=stderr)
    out.progress("copy", 1, 2)
    out.progress("copy", 2, 2)
    out.close()
    out.close()
    assert "copy" in stderr.getvalue()


@pytest.mark.parametrize("what", ["note", "warn", "result", "error", "progress of another step"])
def test_a_line_does_not_stand_behind_a_progress_bar(what: str) -> None:
    terminal = Terminal()
    out = Output("table", stdout=terminal, stderr=terminal)
    out.progress("copy", 1, 2)
    drawn = len(terminal.getvalue())
    says = {
        "note": lambda: out.note("said"),
        "warn": lambda: out.warn("said"),
        "result": lambda: out.result(Result("aeterna.x/1", {}, lambda: "said")),
        "error": lambda: out.error(RefusedError("x", "said")),
        "progress of another step": lambda: out.progress("said", 1, 2),
    }
    says[what]()
    before = terminal.getvalue()[drawn:].partition("said")[0]
    out.close()
    assert "\x1b[2K" in before  # the bar was wiped, or drawn anew as a whole


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="xml"):
        Output("xml", stdout=io.StringIO(), stderr=io.StringIO())


def test_a_time_without_an_offset_and_bytes_are_defects() -> None:
    with pytest.raises(ValueError, match="offset"):
        rfc3339(datetime(2026, 1, 1))  # noqa: DTZ001  # the naive time is the point
    with pytest.raises(TypeError):
        document({"a": b"secret"})
    assert document(timedelta(seconds=1.5)) == 1.5


def test_human_figures() -> None:
    assert [human_bytes(n) for n in (0, 1023, 1536, 5 << 30, 3 << 40)] == [
        "0 B", "1023 B", "1.5 KiB", "5.0 GiB", "3.0 TiB",
    ]  # fmt: skip
    assert [human_seconds(s) for s in (0.42, 12.34, 125, 3725)] == [
        "0.42 s", "12.3 s", "2 min 05 s", "1 h 02 min",
    ]  # fmt: skip
