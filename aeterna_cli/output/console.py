"""The two streams: results on stdout, everything for people on stderr.

On a terminal a result is a table and long work shows a progress bar; in a pipe a result is JSON and
long work a log line every few seconds. ``AETERNA_LOG=json`` turns every line on stderr into one
JSON object.
"""

import os
import sys
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal, TextIO

from aeterna_cli.errors import AeternaError, UsageError
from aeterna_cli.output.documents import document, dumps, envelope, rfc3339
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table, as_csv, as_plain, print_rich

Format = Literal["table", "json", "ndjson", "csv"]
FORMATS: tuple[Format, ...] = ("table", "json", "ndjson", "csv")
LOG_INTERVAL = 5.0  # seconds between progress lines where there is no terminal


def choose_format(asked: str | None, stdout: TextIO) -> Format:
    """The flag, ``AETERNA_OUTPUT``, else a table on a terminal and JSON in a pipe."""
    wanted = asked or os.environ.get("AETERNA_OUTPUT")
    if not wanted:
        return "table" if stdout.isatty() else "json"
    for name in FORMATS:
        if wanted == name:
            return name
    raise UsageError(
        "output_unknown", f"unknown output format {wanted!r}", hint=f"one of {', '.join(FORMATS)}"
    )


class Output:
    """What a command may say. ``quiet`` silences progress, never results, warnings or errors."""

    def __init__(
        self,
        asked: str | None = None,
        *,
        quiet: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self.format = choose_format(asked, self.stdout)
        self.quiet = quiet
        self.json_log = os.environ.get("AETERNA_LOG") == "json"
        self._lock = threading.RLock()  # stores are captured at once, and each says how far it is
        self._bar: Any = None
        self._last_line = 0.0

    # -- results

    def result(self, result: Result) -> None:
        """Print one result in the chosen format."""
        self.close()
        if self.format == "json":
            self._out(dumps(envelope(result.schema, result.data), indent=2) + "\n")
        elif self.format == "ndjson":
            self._ndjson(result.schema, document(result.data))
        else:
            self._for_people(result.view())

    def _ndjson(self, schema: str, tree: Any) -> None:
        items: Iterable[Any] = tree if isinstance(tree, list) else [tree]
        self._out(dumps({"schema": schema, "type": "header"}) + "\n")
        for item in items:
            self._out(dumps(item) + "\n")

    def _for_people(self, view: Table | str) -> None:
        if isinstance(view, str):
            self._out(view if view.endswith("\n") else view + "\n")
        elif self.format == "csv":
            self._out(as_csv(view))
        elif self.stdout.isatty():
            print_rich(view, self.stdout)
        else:
            self._out(as_plain(view))

    def _out(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def text(self, content: str) -> None:
        """A document of another format as it is: what was asked for by a command's own flag."""
        self.close()
        self._out(content)

    # -- for people

    def note(self, message: str, **fields: Any) -> None:
        """A sentence on stderr."""
        if not self.quiet:
            self._line("info", message, fields)

    def warn(self, message: str, **fields: Any) -> None:
        self._line("warning", message, fields)

    def error(self, error: AeternaError) -> None:
        """The end of a command that failed: text for people, one object where JSON was chosen."""
        self.close()
        if self.json_log or self.format in ("json", "ndjson"):
            self.stderr.write(dumps({"schema": "aeterna.error/1", "error": error.as_document()}))
            self.stderr.write("\n")
            return
        lines = [f"error: {error.message} [{error.code}]"]
        if error.hint:
            lines.append(f"  why/how: {error.hint}")
        if error.operation:
            lines.append(f"  operation: {error.operation}")
        lines += [f"  next: {step}" for step in error.next_steps]
        self.stderr.write("\n".join(lines) + "\n")

    def ask(self, question: str) -> str:
        """A line typed as the answer; the question goes to stderr."""
        self.close()
        self.stderr.write(question)
        self.stderr.flush()
        return sys.stdin.readline()

    def _line(self, level: str, message: str, fields: dict[str, Any]) -> None:
        if self.json_log:
            moment = rfc3339(datetime.now(UTC))
            line = {"time": moment, "level": level, "message": message, **document(fields)}
            text = dumps(line)
        else:
            text = message if level == "info" else f"{level}: {message}"
        with self._lock:
            self.close()  # else the bar is drawn over the line; the next progress makes it anew
            self.stderr.write(f"{text}\n")
            self.stderr.flush()

    # -- long work

    def progress(self, step: str, done: float, total: float | None, unit: str = "B") -> None:
        """How far a step is. Cheap to call for every block."""
        if self.quiet:
            return
        if self.stderr.isatty() and not self.json_log:
            with self._lock:
                self._progress_bar(step, done, total, unit)
        elif monotonic() - self._last_line >= LOG_INTERVAL:
            self._last_line = monotonic()
            fields = {"step": step, "done": done, "total": total, "unit": unit}
            self._line("info", f"{step}: {_amount(done, total, unit)}", fields)

    def _progress_bar(self, step: str, done: float, total: float | None, unit: str) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._tasks: dict[str, Any] = {}
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                TextColumn("{task.fields[amount]}"),
                TimeElapsedColumn(),
                console=Console(file=self.stderr, highlight=False, emoji=False),
                transient=True,
                refresh_per_second=8,
            )
            self._bar.start()
        amount = _amount(done, total, unit)
        if step not in self._tasks:
            self._tasks[step] = self._bar.add_task(step, total=total, amount=amount)
        self._bar.update(self._tasks[step], completed=done, total=total, amount=amount)

    def close(self) -> None:
        """Take the progress bar off the terminal. Safe to call twice, and from any thread."""
        with self._lock:
            if self._bar is not None:
                self._bar.stop()
                self._bar = None


def _amount(done: float, total: float | None, unit: str) -> str:
    """``1.0 MiB of 32.4 MiB``, ``1 of 4 collections``; without a total, only what is done."""
    from aeterna_cli.output.tables import human_bytes

    if unit == "B":
        return " of ".join(human_bytes(int(one)) for one in (done, total) if one is not None)
    share = f" of {total:,.0f}" if total is not None else ""
    return f"{done:,.0f}{share} {unit}"
