"""``dr-drill report``: out of the repository, checked; and checked again on another machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.integration.deployment import Practice
from tests.integration.workflows.dr_drill.scenarios import program, scenario

pytestmark = pytest.mark.integration


def ran_drill(practice: Practice, folder: Path) -> str:
    quick = scenario(folder, "quick", method=[program("pass", fault=True)], needs=[])
    identity: str = practice.cli.ok("dr-drill", "run", quick, "--yes").data["id"]
    return identity


def public_key(practice: Practice, folder: Path) -> Path:
    info = json.loads((practice.repository / "repository.json").read_text(encoding="utf-8"))
    path = folder / "key.txt"
    path.write_text(info["public_key"], encoding="ascii")
    return path


def test_every_format(practice: Practice, tmp_path: Path) -> None:
    identity = ran_drill(practice, tmp_path)
    shown = practice.cli.ok("dr-drill", "report", identity)
    assert (shown.schema, shown.data["id"]) == ("aeterna.dr_drill.run/1", identity)
    junit = practice.cli.ok("dr-drill", "report", "latest", "--format", "junit")
    assert ElementTree.fromstring(junit.out).attrib["failures"] == "0"  # noqa: S314 - ours
    assert "<!doctype html>" in practice.cli.ok("dr-drill", "report", "--format", "html").out
    assert "# DR drill" in practice.cli.ok("dr-drill", "report", "--format", "md").out
    one = practice.cli.ok("dr-drill", "report", "--format", "md", "--to", str(tmp_path / "md"))
    assert one.data["files"] == [str(tmp_path / "md" / "report.md")]
    again = practice.cli("dr-drill", "report", "--format", "md", "--to", str(tmp_path / "md"))
    assert (again.code, again.error["code"]) == (7, "file_exists")


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["latest", "--format", "pdf"], 2, "format_unknown"),
        (["../../etc/passwd"], 7, "drill_unknown"),
        (["01a21ebd-1dda-7416-8130-21ceff65614c"], 7, "drill_unknown"),
        (["latest"], 7, "no_drills"),
        (["--verify", "/nowhere"], 2, "public_key_missing"),
        (["--verify", "/nowhere", "--public-key", "/nowhere"], 2, "public_key_unreadable"),
    ],
)
def test_wrong_words(practice: Practice, words: list[str], code: int, error: str) -> None:
    ran = practice.cli("dr-drill", "report", *words)
    assert (ran.code, ran.error["code"]) == (code, error)


def test_another_machine_verifies_without_a_profile(practice: Practice, tmp_path: Path) -> None:
    ran_drill(practice, tmp_path)
    practice.cli.ok("dr-drill", "report", "--to", str(tmp_path / "copy"))
    key = public_key(practice, tmp_path)
    words = [sys.executable, "-m", "aeterna_cli", "dr-drill", "report", "--verify",
             str(tmp_path / "copy"), "--public-key", str(key)]  # fmt: skip
    elsewhere = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "elsewhere")}
    done = subprocess.run(words, env=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["data"]["verdict"] == "passed"
    result = tmp_path / "copy" / "result.json"
    result.write_text(result.read_text().replace("passed", "failed", 1), encoding="utf-8")
    done = subprocess.run(words, env=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 8
    assert json.loads(done.stderr)["error"]["code"] == "evidence_damaged"


def test_evidence_that_was_changed_in_the_repository_is_not_shown(
    practice: Practice, tmp_path: Path
) -> None:
    identity = ran_drill(practice, tmp_path)
    path = practice.repository / "drills" / identity / "report.html"
    path.chmod(0o644)
    path.write_text("<p>passed", encoding="utf-8")
    ran = practice.cli("dr-drill", "report", identity)
    assert (ran.code, ran.error["code"]) == (5, "drill_damaged")
    (damaged,) = practice.cli.ok("dr-drill", "history").data["drills"]
    assert damaged["state"] == "damaged"
