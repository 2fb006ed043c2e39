"""Space, clocks and programs, judged without a server."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aeterna_cli.workflows.doctor.machine import Told, judge_clock, judge_space, version_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "resolution", "told"),
    [
        (0, 0, ""),
        (1.9, 0, ""),
        (-1.9, 0, ""),
        (3.5, 0, "2.5 s ahead"),  # the question itself took one second
        (-3, 0, "3.0 s behind"),
        (-2.5, 1, ""),  # a Date header has whole seconds
        (-4, 1, "3.0 s behind"),
    ],
)
def test_clocks(seconds: float, resolution: int, told: str) -> None:
    moments = iter([NOW, NOW + timedelta(seconds=1)])
    clock = Told(NOW + timedelta(seconds=seconds), timedelta(seconds=resolution))
    seen = judge_clock("there", lambda: clock, lambda: next(moments))
    assert [one.code for one in seen.findings] == (["clock_skewed"] if told else [])
    assert all(told in one.message for one in seen.findings)


def test_space(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet" / "there"
    assert judge_space(folder, 1, "a scratch start", "error").findings == ()
    (finding,) = judge_space(folder, 1 << 60, "a scratch start", "warning").findings
    assert (finding.code, finding.severity) == ("not_enough_space", "warning")
    assert finding.details["needed"] == 1 << 60
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    (finding,) = judge_space(tmp_path / "work", 1, "a scratch start", "error").findings
    assert finding.code == "folder_not_writable"


@pytest.mark.parametrize(
    ("prints", "version"),
    [
        ("postgres (PostgreSQL) 18.1 (Debian 18.1-1)", (18, 1)),
        ("postgres (PostgreSQL) 19beta1", (19,)),
        ("Redis server v=7.2.4 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", (7, 2, 4)),
        ("Valkey server v=9.0.0 sha=00000000:0", (9, 0, 0)),
        ("true (GNU coreutils) 9.1", ()),
    ],
)
def test_what_programs_say(tmp_path: Path, prints: str, version: tuple[int, ...]) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho '{prints}'\n", encoding="utf-8")
    program.chmod(0o755)
    assert version_of(program) == version


def test_what_does_not_run(tmp_path: Path) -> None:
    assert version_of(tmp_path / "missing") == ()
    (tmp_path / "text").write_text("no program", encoding="utf-8")
    assert version_of(tmp_path / "text") == ()
