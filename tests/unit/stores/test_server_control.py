"""Data directories are swapped so that a crash in between is finished by the same call."""

import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aeterna_cli.errors import FailedError, RefusedError, TransientError
from aeterna_cli.settings import ServerControlSettings, ServerHooks
from aeterna_cli.stores.server_control import HookServerControl, NoServerControl, swap_directories

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def folder(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "file").write_text(content)
    return path


def test_the_old_directory_is_renamed_never_deleted(tmp_path: Path) -> None:
    current, prepared = folder(tmp_path / "data", "old"), folder(tmp_path / "new", "new")
    replaced = swap_directories(current, prepared, NOW)
    assert replaced is not None
    assert (replaced / "file").read_text() == "old"
    assert (current / "file").read_text() == "new"
    assert not prepared.exists()


def test_repeating_after_a_crash_finishes(tmp_path: Path) -> None:
    current, prepared = tmp_path / "data", folder(tmp_path / "new", "new")
    assert swap_directories(current, prepared, NOW) is None
    assert swap_directories(current, prepared, NOW) is None
    assert (current / "file").read_text() == "new"


def test_nothing_to_put_in_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        swap_directories(tmp_path / "data", tmp_path / "new", NOW)
    assert caught.value.code == "prepared_data_missing"


def hooks(stop: str, start: str = "pass", timeout: float = 20) -> HookServerControl:
    def command(code: str) -> tuple[str, ...]:
        return (sys.executable, "-c", code)

    return HookServerControl(
        ServerControlSettings(
            kind="hooks",
            timeout=timeout,
            postgres=ServerHooks(stop=command(stop), start=command(start)),
        )
    )


def test_hooks_report_their_last_line() -> None:
    with pytest.raises(FailedError) as caught:
        hooks("import sys; sys.exit('unit is masked')").stop("postgres")
    assert caught.value.code == "hook_failed"
    assert caught.value.hint == "unit is masked"
    hooks("pass").stop("postgres")


def test_a_hook_that_hangs_is_ended() -> None:
    with pytest.raises(TransientError, match="did not end"):
        hooks("import threading; threading.Event().wait()", timeout=0.5).stop("postgres")


def test_missing_hooks_are_refused_with_what_to_set(tmp_path: Path) -> None:
    control = hooks("pass")
    with pytest.raises(RefusedError, match="redis"):
        control.start("redis")
    assert not control.can_hand_over("postgres")
    with pytest.raises(RefusedError):
        NoServerControl().replace_data("postgres", tmp_path)
