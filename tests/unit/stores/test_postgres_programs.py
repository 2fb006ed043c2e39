"""Which server programs a scratch start takes: of the right major, or none before any work."""

from pathlib import Path

import pytest

from aeterna_cli.errors import RefusedError
from aeterna_cli.stores.postgres_scratch_files import programs, programs_of

NOBODY_HAS = 99


def said(folder: Path, version: str) -> Path:
    folder.mkdir()
    program = folder / "postgres"
    program.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version} (Debian x)'\n")
    program.chmod(0o755)
    return folder


def test_a_configured_folder_of_the_right_major_is_taken(tmp_path: Path) -> None:
    folder = said(tmp_path / "bin", f"{NOBODY_HAS}.2")
    assert programs_of(NOBODY_HAS, folder) == folder
    data = tmp_path / "data"
    data.mkdir()
    (data / "PG_VERSION").write_text(f"{NOBODY_HAS}\n")
    assert programs(data, folder) == folder


@pytest.mark.parametrize("version", ["15.9", "no number"])
def test_a_configured_folder_of_another_major_is_no_help(tmp_path: Path, version: str) -> None:
    with pytest.raises(RefusedError, match=f"PostgreSQL {NOBODY_HAS} ") as caught:
        programs_of(NOBODY_HAS, said(tmp_path / "bin", version))
    assert caught.value.code == "postgres_programs_missing"


def test_a_configured_folder_without_the_program_is_no_help(tmp_path: Path) -> None:
    with pytest.raises(RefusedError):
        programs_of(NOBODY_HAS, tmp_path)


@pytest.mark.parametrize("content", ["#!/bin/sh\n", "", "#!/nowhere/at-all\n"])
@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_program_that_cannot_be_run_is_no_help(tmp_path: Path, content: str, mode: int) -> None:
    (tmp_path / "postgres").write_text(content)
    (tmp_path / "postgres").chmod(mode)
    with pytest.raises(RefusedError):
        programs_of(NOBODY_HAS, tmp_path)
