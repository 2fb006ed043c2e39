"""Every test runs without the caller's profile, colours or terminal width."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes is the machine's mood: figures are measured in tests/bench.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")

# Typer reads these when it is imported; set before anything imports it.
os.environ.update({"NO_COLOR": "1", "TERMINAL_WIDTH": "80", "_TYPER_FORCE_DISABLE_TERMINAL": "1"})
os.environ.pop("FORCE_COLOR", None)
os.environ.pop("GITHUB_ACTIONS", None)


@pytest.fixture(autouse=True)
def _isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No AETERNA_* variable and no XDG folder of the person who runs the tests is seen."""
    for name in list(os.environ):
        if name.startswith("AETERNA_"):
            monkeypatch.delenv(name)
    for kind in ("CONFIG", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / f"xdg-{kind.lower()}"))
    monkeypatch.setenv("AETERNA_LAB_DIR", str(tmp_path / "no-lab"))
