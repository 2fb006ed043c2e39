"""Evidence: whole, signed, harmless whatever was called how, and checkable anywhere."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from aeterna_cli.errors import FindingsError, RefusedError, RemoteError, UsageError
from aeterna_cli.repository import layout, signing
from aeterna_cli.repository.signing import SigningKey
from aeterna_cli.stores.directory_store import DirectoryStore
from aeterna_cli.workflows.dr_drill import evidence
from aeterna_cli.workflows.dr_drill.journal import DrillJournal
from aeterna_cli.workflows.dr_drill.judgement import judge
from aeterna_cli.workflows.dr_drill.marker_log import MarkerLog, log_name
from aeterna_cli.workflows.dr_drill.outcome import Outcome, StepOutcome
from aeterna_cli.workflows.dr_drill.verdict import Drill, DrillFinding
from tests.unit.workflows.dr_drill.samples import DRILL
from tests.unit.workflows.dr_drill.test_judgement import WANTED, outcome

HOSTILE = "<script>alert(1)</script>]]>&\"'|`*\x1b[31m\u202e\x00\ud800 \n# x <!--"
MOMENT = datetime(2026, 11, 27, 20, 0, tzinfo=UTC)


def drill(one: Outcome | None = None, title: str = "A drill") -> Drill:
    done = one or outcome()
    checks = judge(done, WANTED)
    findings = tuple(DrillFinding(c.name, title, MOMENT) for c in checks if not c.passed)
    return Drill(
        DRILL, "sample", title, title, "simulation", "passed", "lab", "lab", title, title, title,
        title, title, title, MOMENT, MOMENT, MOMENT, "0" * 64, "0.1.0", title, WANTED, checks,
        findings, done,
    )  # fmt: skip


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.generate()


def written(folder: Path, key: SigningKey, one: Drill | None = None) -> Path:
    journal = DrillJournal(folder, lambda: MOMENT)
    journal.say("drill_began", seed=1)
    with MarkerLog(folder / log_name("postgres")) as log:
        log.intent(1)
        log.acknowledged(1, "10.0.0.1:5432")
    (folder / "load-0.out").write_text("said", encoding="utf-8")
    return evidence.write(folder, one or drill(), plan={"summaries": []}, environment={},
                          scenario=b"title: x\n", key=key)  # fmt: skip


def test_it_verifies_with_the_public_key_alone(tmp_path: Path, key: SigningKey) -> None:
    folder = written(tmp_path, key)
    assert evidence.verify(folder, key.public) == []
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "scenario.yaml", "plan.json", "environment.json", "result.json", "junit.xml", "report.md",
        "report.html", "journal.ndjson", "timestamps-postgres.ndjson", "load-0.out",
        "manifest.json", "manifest.sig",
    }  # fmt: skip
    lines = (folder / "timestamps-postgres.ndjson").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["I", "A"]


def test_written_twice_it_is_the_same(tmp_path: Path, key: SigningKey) -> None:
    first = {p.name: p.read_bytes() for p in written(tmp_path, key).iterdir()}
    again = evidence.write(tmp_path, drill(), plan={"summaries": []}, environment={},
                           scenario=b"title: x\n", key=key)  # fmt: skip
    assert {p.name: p.read_bytes() for p in again.iterdir()} == first


def test_every_change_is_found(tmp_path: Path, key: SigningKey) -> None:
    folder = written(tmp_path, key)
    for path in sorted(folder.iterdir()):
        before = path.read_bytes()
        path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        assert evidence.verify(folder, key.public), path.name
        path.write_bytes(before + b"x")
        assert evidence.verify(folder, key.public), path.name
        path.write_bytes(before)
    (folder / "report.md").unlink()
    assert "report.md is missing" in evidence.verify(folder, key.public)
    (folder / "report.md").symlink_to("/etc/passwd")
    (folder / "more.txt").touch()
    problems = evidence.verify(folder, key.public)
    assert "report.md is missing" in problems
    assert "'more.txt' is not in the manifest" in problems
    with pytest.raises(FindingsError):
        evidence.refuse_damaged(problems, "here")


def test_another_key_proves_nothing(tmp_path: Path, key: SigningKey) -> None:
    folder = written(tmp_path, key)
    assert evidence.verify(folder, SigningKey.generate().public)
    with pytest.raises(RefusedError):
        evidence.verify(tmp_path / "nothing", key.public)


def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path: Path, key: SigningKey) -> None:
    folder = written(tmp_path, key)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["files"]["../../etc/passwd"] = {"size": 1, "sha256": "0"}
    data = json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(data)
    (folder / "manifest.sig").write_bytes(key.sign(data))
    with pytest.raises(RemoteError):
        evidence.verify(folder, key.public)


def test_in_a_repository_it_is_written_once_and_read_back(tmp_path: Path, key: SigningKey) -> None:
    (tmp_path / "work").mkdir()
    objects = DirectoryStore(tmp_path / "repository")
    objects.ensure()
    folder = written(tmp_path / "work", key)
    evidence.store(objects, DRILL, folder)
    evidence.store(objects, DRILL, folder)
    assert evidence.stored(objects) == [DRILL]
    files = evidence.fetch(objects, DRILL, key.public)
    assert evidence.result_of(files)["id"] == DRILL
    (tmp_path / "repository" / layout.drill_key(DRILL, "report.md")).write_text("x")
    with pytest.raises(RemoteError):
        evidence.fetch(objects, DRILL, key.public)
    with pytest.raises(RefusedError):
        evidence.fetch(objects, DRILL.replace("0", "1"), key.public)


class Seen(HTMLParser):
    """Every tag of a page, and attributes that would load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.active: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.active += [
            name for name, _ in attrs if name.startswith("on") or name in ("src", "href")
        ]


def test_hostile_names_are_shown_and_do_nothing(tmp_path: Path, key: SigningKey) -> None:
    bad = StepOutcome("method", HOSTILE, HOSTILE, 1, 1, False, HOSTILE, HOSTILE, HOSTILE)
    one = drill(replace(outcome(), steps=(bad,), reason=HOSTILE, notes=(HOSTILE,)), HOSTILE)
    one = replace(one, outcome=replace(one.outcome, versions={HOSTILE: HOSTILE}))
    folder = written(tmp_path, key, one)
    seen = Seen()
    page = (folder / "report.html").read_text(encoding="utf-8")
    seen.feed(page)
    assert "script" not in seen.tags
    assert not seen.active
    assert "&lt;script&gt;" in page
    junit = ElementTree.parse(folder / "junit.xml").getroot()  # noqa: S314 - our own file
    assert junit.find(".//failure") is not None
    markdown = (folder / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in markdown
    for text in (page, markdown):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_junit_has_a_case_for_each_check(tmp_path: Path, key: SigningKey) -> None:
    late = drill(replace(outcome(), status="failed"))
    root = ElementTree.parse(written(tmp_path, key, late) / "junit.xml").getroot()  # noqa: S314
    cases = root.findall(".//testcase")
    assert len(cases) == len(late.checks)
    assert int(root.attrib["failures"]) == sum(not one.passed for one in late.checks) == 1


def test_public_keys_in_pem_and_base64(key: SigningKey) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw = Ed25519PublicKey.from_public_bytes(base64.b64decode(key.public))
    pem = raw.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    assert signing.public_key_of(pem) == signing.public_key_of(f"{key.public}\n") == key.public
    with pytest.raises(UsageError):
        signing.public_key_of("nothing")
