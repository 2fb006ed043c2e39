"""The evidence of a drill: one folder whose every file is named, hashed and signed.

``drills/<id>/`` in the repository, written once, ``manifest.json`` and its Ed25519 signature last.
Whoever has the folder and the public key can check it anywhere; nothing of ours is needed for that.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aeterna_cli.errors import FindingsError, RefusedError, RemoteError
from aeterna_cli.output.documents import document, dumps, envelope
from aeterna_cli.repository import canonical, layout, signing
from aeterna_cli.repository.once import create_once
from aeterna_cli.repository.signing import SigningKey
from aeterna_cli.stores.base.objects import ObjectStore
from aeterna_cli.workflows.dr_drill import (
    journal,
    marker_log,
    render_html,
    render_junit,
    render_markdown,
    timeline,
)
from aeterna_cli.workflows.dr_drill.escaping import clean
from aeterna_cli.workflows.dr_drill.verdict import SCHEMA, Drill

FORMAT = "aeterna.drill/1"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
RESULT = "result.json"
REPORTS = {"html": "report.html", "md": "report.md", "json": RESULT, "junit": "junit.xml"}
FOLDER = "evidence"  # below the drill's own folder of this machine
UNSENT = "unsent"  # a file beside evidence that the repository does not have yet
_LARGEST = 64 << 20  # bytes of one file of evidence
_NAME = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,100}\Z")
_OUTPUTS = re.compile(r"(load|process)-\d+\.out\Z")


def write(
    folder: Path,
    drill: Drill,
    *,
    plan: Mapping[str, Any],
    environment: Mapping[str, Any],
    scenario: bytes,
    key: SigningKey,
) -> Path:
    """Everything of the drill in ``folder`` as evidence in a folder below it, signed; its path.

    May be repeated: equal data give equal files.
    """
    target = folder / FOLDER
    target.mkdir(mode=0o700, exist_ok=True)
    tree = clean(document(drill))
    for name, data in _files(folder, tree, plan, environment, scenario):
        (target / name).write_bytes(data)
    manifest = {
        "schema": FORMAT,
        "drill": drill.id,
        "deployment": drill.deployment,
        "public_key": key.public,
        "files": {path.name: _described(path) for path in _evidence_files(target)},
    }
    data = canonical.as_bytes(clean(manifest))
    (target / MANIFEST).write_bytes(data)
    (target / SIGNATURE).write_bytes(key.sign(data))
    return target


def _files(
    folder: Path, tree: Mapping[str, Any], plan: Mapping[str, Any],
    environment: Mapping[str, Any], scenario: bytes,
) -> Iterator[tuple[str, bytes]]:  # fmt: skip
    lanes = _lanes(folder, tree)
    yield "scenario.yaml", scenario
    yield "plan.json", _pretty(plan)
    yield "environment.json", _pretty(environment)
    yield RESULT, _pretty(envelope(SCHEMA, tree))
    yield "junit.xml", render_junit.render(tree).encode()
    yield "report.md", render_markdown.render(tree).encode()
    yield "report.html", render_html.render(tree, lanes).encode()
    for path in sorted(folder.iterdir()):
        if path.name == journal.FILE:
            yield path.name, path.read_bytes()
        elif path.name.startswith("markers-") and path.suffix == ".log":
            store = path.stem.removeprefix("markers-")
            yield f"timestamps-{store}.ndjson", _timestamps(path)
        elif _is_kept(path, plan):
            yield path.name, path.read_bytes()


def _is_kept(path: Path, plan: Mapping[str, Any]) -> bool:
    """What programs of the scenario wrote: their output, and the summaries that it names."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST:
        return False
    return bool(_OUTPUTS.match(path.name)) or path.name in plan.get("summaries", ())


def _timestamps(path: Path) -> bytes:
    """The raw log of a writer, an object a line."""
    events = marker_log.read(path).events
    return b"".join(json.dumps(asdict(one), sort_keys=True).encode() + b"\n" for one in events)


def _lanes(folder: Path, tree: Mapping[str, Any]) -> list[timeline.Lane]:
    """Of each store, on the drill's own time."""
    began = next((one["monotonic"] for one in journal.events(folder)
                  if one["event"] == "drill_began"), None)  # fmt: skip
    if began is None:
        return []
    lanes = []
    for target in tree["targets"]:
        history = marker_log.read(folder / marker_log.log_name(target["store"]))
        failed = [one.mono - began for one in history.events if one.kind in "NE"]
        done = [one.mono - began for one in history.acknowledged.values()]
        lanes.append(timeline.Lane(target["store"], done, failed))
    return lanes


def _pretty(tree: Any) -> bytes:
    return (dumps(clean(document(tree)), indent=2) + "\n").encode()


def _evidence_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.name not in (MANIFEST, SIGNATURE))


def _described(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def is_id(text: str) -> bool:
    """Whether a drill may be called that."""
    return layout.is_drill_id(text)


# -- in the repository


def store(objects: ObjectStore, drill: str, folder: Path) -> None:
    """Every file is in the repository when this returns; the manifest and signature last."""
    for path in [*_evidence_files(folder), folder / MANIFEST, folder / SIGNATURE]:
        create_once(objects, layout.drill_key(drill, path.name), path.read_bytes())


def stored(objects: ObjectStore) -> list[str]:
    """The ids of drills with complete evidence, oldest first."""
    names = objects.list_folders(f"{layout.DRILLS}/")
    return [name for name in names if layout.is_drill_id(name) and _is_complete(objects, name)]


def _is_complete(objects: ObjectStore, drill: str) -> bool:
    try:
        objects.info(layout.drill_key(drill, SIGNATURE))
    except RefusedError as error:
        if error.code != "object_missing":
            raise
        return False
    return True


def fetch(objects: ObjectStore, drill: str, public_key: str) -> dict[str, bytes]:
    """Every file of a drill, each as the signed manifest says.

    ``RefusedError('drill_unknown')``; ``RemoteError``: ``signature_invalid``, ``drill_damaged``.
    """
    try:
        manifest = objects.read(layout.drill_key(drill, MANIFEST))
        signature = objects.read(layout.drill_key(drill, SIGNATURE))
    except RefusedError as error:
        if error.code != "object_missing":
            raise
        raise RefusedError(
            "drill_unknown", f"the repository has no evidence of a drill {drill}",
            next_steps=["aeterna-cli dr-drill history"],
        ) from error  # fmt: skip
    signing.verify(public_key, manifest, signature)
    found = {MANIFEST: manifest, SIGNATURE: signature}
    for name, wanted in _listed(manifest).items():
        data = objects.read(layout.drill_key(drill, name))
        problem = _problem(name, data, wanted)
        if problem:
            raise RemoteError("drill_damaged", problem, details={"file": name})
        found[name] = data
    return found


def result_of(files: Mapping[str, bytes]) -> dict[str, Any]:
    """The result document; ``RemoteError('drill_damaged')`` for another."""
    tree = canonical.from_bytes(files[RESULT], code="drill_damaged", key=RESULT)
    if tree.get("schema") != SCHEMA or not isinstance(tree.get("data"), dict):
        raise RemoteError("drill_damaged", f"{RESULT} is not the result of a drill")
    data: dict[str, Any] = tree["data"]
    return data


# -- anywhere else


def verify(folder: Path, public_key: str) -> list[str]:
    """Everything that is wrong with a folder of evidence; nothing where it is what was signed.

    ``RefusedError('evidence_missing')`` for a folder that is none.
    """
    manifest, signature = folder / MANIFEST, folder / SIGNATURE
    if not manifest.is_file() or not signature.is_file():
        raise RefusedError("evidence_missing", f"{folder} holds no {MANIFEST} with a {SIGNATURE}")
    data = _limited(manifest)
    try:
        signing.verify(public_key, data, _limited(signature))
    except RemoteError as error:
        return [f"{MANIFEST}: {error.message}"]
    listed = _listed(data)
    problems = []
    for name, wanted in listed.items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            problems.append(f"{name} is missing")
            continue
        problem = _problem(name, _limited(path), wanted)
        problems += [problem] if problem else []
    known = {*listed, MANIFEST, SIGNATURE}
    strangers = sorted(path.name for path in folder.iterdir() if path.name not in known)
    return problems + [f"{name!r} is not in the manifest" for name in strangers]


def _listed(manifest: bytes) -> dict[str, Mapping[str, Any]]:
    tree = canonical.from_bytes(manifest, code="drill_damaged", key=MANIFEST)
    files = tree.get("files")
    if tree.get("schema") != FORMAT or not isinstance(files, dict):
        raise RemoteError("drill_damaged", f"{MANIFEST} is not the manifest of a drill")
    if not all(_NAME.match(name) and isinstance(one, dict) for name, one in files.items()):
        raise RemoteError("drill_damaged", f"{MANIFEST} names a file that no drill has")
    return files


def _problem(name: str, data: bytes, wanted: Mapping[str, Any]) -> str:
    if len(data) != wanted.get("size"):
        return f"{name} has {len(data)} bytes, not {wanted.get('size')}"
    if hashlib.sha256(data).hexdigest() != wanted.get("sha256"):
        return f"{name} does not hold what was signed"
    return ""


def _limited(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_LARGEST + 1)


def refuse_damaged(problems: list[str], where: str) -> None:
    """``FindingsError('evidence_damaged')`` where there is any."""
    if problems:
        raise FindingsError(
            "evidence_damaged", f"the evidence in {where} is not what was signed: {problems[0]}",
            hint=f"{len(problems)} problems; trust nothing in it",
            details={"problems": problems[:50]},
        )  # fmt: skip
