"""Tables for people and for CSV: one description, three renderings."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TextIO


@dataclass(frozen=True)
class Table:
    """Columns and rows of text. ``right`` names the columns that hold numbers."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    right: frozenset[str] = field(default_factory=frozenset)
    footer: str = ""


def as_csv(table: Table) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return buffer.getvalue()


def as_plain(table: Table) -> str:
    """Aligned text that is never cut, for a table asked for in a pipe."""
    cells = [[*table.columns], *[[*row] for row in table.rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.columns))]
    lines = [table.title] if table.title else []
    for row in cells:
        parts = [
            text.rjust(width) if name in table.right else text.ljust(width)
            for text, width, name in zip(row, widths, table.columns, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    if table.footer:
        lines.append(table.footer)
    return "\n".join(lines) + "\n"


def print_rich(table: Table, stream: TextIO) -> None:
    """The same table on a terminal; long cells fold, nothing is cut."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    view = RichTable(title=table.title or None, title_justify="left", header_style="bold")
    for name in table.columns:
        view.add_column(name, justify="right" if name in table.right else "left", overflow="fold")
    for row in table.rows:
        view.add_row(*[Text(cell) for cell in row])
    console = Console(file=stream, highlight=False, emoji=False, markup=False)
    console.print(view)
    if table.footer:
        console.print(table.footer, soft_wrap=True)


def human_bytes(count: int) -> str:
    """Binary units, three figures: ``1.2 GiB``."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def human_seconds(seconds: float) -> str:
    """``0.42 s``, ``3.1 s``, ``2 min 05 s``, ``1 h 02 min``."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
