"""``aeterna-cli --help`` against a bare Typer app."""

import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.pairs import Ratio, compare

BARE = """
import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@app.command()
def one() -> None:
    "Nothing."


@app.command()
def two() -> None:
    "Nothing."


app()
"""
TARGET = 1.3


def run() -> list[Ratio]:
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE, encoding="utf-8")

        def start(*words: str) -> None:
            subprocess.run(
                [sys.executable, *words, "--help"], check=True, stdout=subprocess.DEVNULL
            )

        ratio = compare(
            "aeterna-cli --help against a bare Typer app",
            lambda: start("-m", "aeterna_cli"),
            lambda: start(str(bare)),
            at_least=round(1 / TARGET, 3),
            pairs=15,
        )
    return [ratio]
