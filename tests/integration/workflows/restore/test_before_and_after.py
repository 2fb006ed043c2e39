"""What a restore refuses before it unpacks anything, and what a killed comparison leaves behind."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aeterna_cli.lab.control import LabControl
from aeterna_cli.stores import binaries
from tests.integration.deployment import NAME, Practice

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_programs_of_another_major_are_refused_before_unpacking(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    practice.backup("--store", "postgres")
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "postgres"
    program.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.9'\n", encoding="utf-8")
    program.chmod(0o755)
    data = LabControl(practice.lab).data_dir("postgres")
    before = set(data.parent.iterdir())
    monkeypatch.setenv("AETERNA_POSTGRES__BIN_DIR", str(folder))
    # a machine on which these are the only server programs
    monkeypatch.setattr(binaries, "_executable", lambda path: path if path == program else None)
    for words in (("plan",), ("run", "--confirm", NAME)):
        ran = practice.cli("restore", *words, "--store", "postgres")
        assert (ran.code, ran.error["code"]) == (7, "postgres_programs_missing"), ran.err
    assert set(data.parent.iterdir()) == before
    assert practice.operations("--unfinished") == []


def test_what_a_killed_comparison_left_is_gone_after_the_next(practice: Practice) -> None:
    practice.backup()
    work = practice.open().cache_directory / "work"
    words = [sys.executable, "-m", "aeterna_cli", "restore", "verify"]
    process = subprocess.Popen(
        words,
        env={**os.environ, **practice.environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        while not list(work.glob("scratch-*/lock")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.kill()
        process.wait()
    (left,) = work.glob("scratch-*")
    (left / "ids").write_text("somebody's row\n", encoding="utf-8")
    practice.cli.ok("restore", "verify")
    assert list(work.glob("scratch-*")) == []
