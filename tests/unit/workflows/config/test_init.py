"""``config init`` and ``config show`` through the command line."""

import json
from pathlib import Path

import pytest

from aeterna_cli.errors import ExitCode
from aeterna_cli.main import main


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "folder" / "config.toml"
    monkeypatch.setenv("AETERNA_CONFIG", str(path))
    return path


def test_a_new_profile_is_valid_as_it_is_written(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "init", "prod-eu"]) == ExitCode.DONE
    assert config.stat().st_mode & 0o777 == 0o600
    capsys.readouterr()
    assert main(["config", "show", "-o", "json"]) == ExitCode.DONE
    shown = json.loads(capsys.readouterr().out)
    assert shown["schema"] == "aeterna.config.show/1"
    values = {v["key"]: v for v in shown["data"]["values"]}
    assert values["deployment"] == {"key": "deployment", "value": "prod-eu", "origin": str(config)}
    assert values["targets.rto"]["origin"] == "default"


def test_an_existing_profile_is_not_touched(config: Path) -> None:
    main(["config", "init", "a"])
    before = config.read_bytes()
    assert main(["config", "init", "a"]) == ExitCode.CONFLICT
    assert config.read_bytes() == before
    assert main(["config", "init", "b"]) == ExitCode.DONE
    assert config.read_bytes().startswith(before)


@pytest.mark.parametrize("name", ["a.b", "a]", 'x"', "ä", ""])
def test_hostile_names_are_refused(config: Path, name: str) -> None:
    assert main(["config", "init", name]) == ExitCode.USAGE
    assert not config.exists()


def test_unwritable_folder_is_a_typed_error(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.parent.write_text("a file where the folder should be")
    assert main(["config", "init", "a", "-o", "json"]) == ExitCode.USAGE
    assert json.loads(capsys.readouterr().err)["error"]["code"] in (
        "config_unwritable",
        "config_unreadable",
    )


def test_secrets_are_named_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["config", "init", "a"])
    monkeypatch.setenv("AETERNA_REDIS__PASSWORD", "hunter2")
    for output in ("json", "table", "csv", "ndjson"):
        assert main(["config", "show", "--origin", "-o", output]) == ExitCode.DONE
    printed = capsys.readouterr().out
    assert "hunter2" not in printed
    assert "(set)" in printed
