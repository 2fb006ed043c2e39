"""The boundary: what ends a command, and what start-up may import."""

import ast
import inspect
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer

from aeterna_cli import main as root
from aeterna_cli.errors import MEANINGS, ExitCode

REPOSITORY = Path(__file__).parents[2]
CLIENTS = {
    "psycopg", "redis", "qdrant_client", "boto3", "botocore", "hvac", "httpx", "numpy",
    "pyrage", "cryptography", "zstandard", "orjson", "qdrant_edge", "starlette", "pydantic",
    "rich",
}  # fmt: skip


def test_building_the_command_tree_loads_no_client_library() -> None:
    code = (
        "import sys; from aeterna_cli.main import build; list(build().commands.values());"
        f"print(sorted({CLIENTS!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_listed_packages_are_the_packages_on_disk() -> None:
    setup = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    on_disk = {"aeterna_cli.commands"}
    for marker in (REPOSITORY / "aeterna_cli").rglob("__init__.py"):
        on_disk.add(".".join(marker.parent.relative_to(REPOSITORY).parts))
    assert set(setup["packages"]) == on_disk


def test_every_data_file_is_in_the_wheel() -> None:
    """What package-data does not name is silently missing from a wheel."""
    setup = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]
    listed = {
        path
        for package, patterns in setup["package-data"].items()
        for pattern in patterns
        for path in (REPOSITORY / package.replace(".", "/")).glob(pattern)
    }
    on_disk = {
        path
        for path in (REPOSITORY / "aeterna_cli").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert listed == on_disk


def test_usage_errors_are_typed_and_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert root.main(["config", "show", "--nonsense", "-o", "json"]) == ExitCode.USAGE
    error = json.loads(capsys.readouterr().err)
    assert error["schema"] == "aeterna.error/1"
    assert error["error"]["code"] == "usage"
    assert error["error"]["next_steps"] == ["aeterna-cli config show --help"]


def test_unknown_output_format_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert root.main(["config", "show", "-o", "xml"]) == ExitCode.USAGE
    assert "output_unknown" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert root.main(["--version"]) == ExitCode.DONE
    assert capsys.readouterr().out.startswith("aeterna-cli ")


def test_a_defect_is_reported_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> typer.Typer:
        raise RuntimeError("hunter2")

    monkeypatch.setattr(root, "build", broken)
    assert root.main(["-o", "json"]) == ExitCode.FAILED
    captured = capsys.readouterr()
    assert json.loads(captured.err)["error"]["code"] == "internal_error"
    assert "hunter2" not in captured.err


def test_no_command_is_a_coroutine_and_every_help_shows_the_exit_codes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, group in root.build().commands.items():
        for word, command in getattr(group, "commands", {"": group}).items():
            if hasattr(command, "commands"):
                continue  # a group in a group has no exit codes of its own
            assert not inspect.iscoroutinefunction(command.callback)
            assert root.main([*filter(None, (name, word)), "--help"]) == ExitCode.DONE
            printed = " ".join(capsys.readouterr().out.split())
            assert "Exit codes: 0 done" in printed
            assert "Example: aeterna-cli" in printed


def test_every_exit_code_has_a_meaning() -> None:
    assert set(MEANINGS) == set(ExitCode)


def test_commands_are_short_and_do_nothing_themselves() -> None:
    for path in (REPOSITORY / "commands").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                length = (node.end_lineno or 0) - node.lineno + 1
                assert length <= 40, f"{path.name}:{node.name} has {length} lines"
                assert not any(isinstance(inner, ast.Try) for inner in ast.walk(node))


@pytest.mark.parametrize("folder", ["aeterna_cli", "commands"])
def test_files_are_under_400_lines(folder: str) -> None:
    for path in (REPOSITORY / folder).rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path
