"""The page of formats, executed: a backup comes back with no program of ours.

Every block of ``docs/formats.md`` that is marked ``sh by-hand`` is run by bash, in order, against a
backup of a real lab. Where a machine lacks a program, ``by_hand_programs`` stands in for it.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.keys.slots import create_identity, slot_context, write_slot
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.stores import binaries, unprivileged
from aeterna_cli.stores.directory_store import DirectoryStore
from aeterna_cli.stores.local_key import LocalFileKeyService
from aeterna_cli.stores.qdrant import QdrantServer
from tests.e2e import by_hand_programs
from tests.e2e.directory_backup import back_up
from tests.integration import lab_fixture

pytestmark = [pytest.mark.e2e, pytest.mark.integration]

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
BLOCK = re.compile(r"^```sh by-hand ?(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
AGAIN = "--- after the sabotage ---"
#: One row and some points fewer, one key more: the page must notice each.
SABOTAGE = """
"$PGBIN/psql" -Xq -h "$WORK/run" -U postgres aeterna -c 'DELETE FROM memory_entries WHERE id =
  (SELECT min(id) FROM memory_entries)'
redis SET one-key-more 1
echo '{"filter": {}}' > "$WORK/qdrant/all.json"
qdrant -X POST -H 'content-type: application/json' --data-binary @"$WORK/qdrant/all.json" \\
  "$QDRANT/collections/memories-large-corp/points/delete?wait=true"
"""


def blocks(kind: str = "") -> list[str]:
    """The page's blocks in order: the ones everybody runs, or those of one ``kind``."""
    found = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    return [text for marked, text in found if marked == kind]


@dataclass(frozen=True)
class ByHand:
    """What the page's commands did. ``environment`` is what its variables were set to."""

    output: str
    manifest: dict[str, Any]
    environment: dict[str, str]
    lab: Lab
    target: Lab
    identity: str

    @property
    def first(self) -> list[str]:
        return self.output.partition(AGAIN)[0].splitlines()

    @property
    def second(self) -> list[str]:
        return self.output.partition(AGAIN)[2].splitlines()


def bash(script: str, environment: dict[str, str]) -> str:
    """The script's output, both streams; not as root, and ended by the first failing command."""
    file = Path(environment["WORK"]).with_name("script")
    file.write_text(script, encoding="utf-8")
    done = subprocess.run(
        unprivileged.wrap(["bash", "-e", file]),
        stdin=subprocess.DEVNULL,
        env=environment,
        cwd=environment["WORK"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def programs(folder: Path) -> Path:
    """A directory with stand-ins for what this machine lacks."""
    folder.mkdir()
    for name in by_hand_programs.PROGRAMS:
        if shutil.which(name) is None:
            path = folder / name
            path.write_text(
                f'#!/bin/sh\nexec "{sys.executable}" "{by_hand_programs.__file__}" {name} "$@"\n'
            )
            path.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ByHand]:
    root = tmp_path_factory.mktemp("hand")
    lab, target = lab_fixture.start(root / "lab", scale=0.02), Lab(root / "other")
    try:
        target.up(["qdrant"])
        yield from recovered(root, lab, target)
    finally:
        lab.down()
        target.down()


def recovered(root: Path, lab: Lab, target: Lab) -> Iterator[ByHand]:
    """The page carried out; what it started is stopped by its own last block."""
    identity, recipient = create_identity()
    backup = back_up(lab, root, recipient)
    manifest = json.loads((root / "repository/backups" / backup / "manifest.json").read_bytes())
    settings, work = target.profile(), root / "work"
    work.mkdir()
    (work / "identity.txt").write_text(f"# the offline identity\n{identity}\n", encoding="ascii")
    environment = {
        "PATH": f"{programs(root / 'programs')}:{os.environ['PATH']}",
        "LC_ALL": "C.UTF-8",
        "REPO": str(root / "repository"),
        "BACKUP": backup,
        "WORK": str(work),
        "PGBIN": str(binaries.postgres_bin(manifest["stores"]["postgres"]["facts"]["major"])),
        "REDIS_SERVER": str(binaries.redis_server()),
        "QDRANT": settings.qdrant.url,
        "QDRANT_KEY_FILE": str(settings.qdrant.api_key_file),
    }
    unprivileged.own(work)
    script = blocks()
    try:
        output = bash("\n".join([*script, SABOTAGE, f"echo '{AGAIN}'", *script[-3:]]), environment)
        yield ByHand(output, manifest, environment, lab, target, identity)
    finally:
        bash("\n".join([script[0], "set +e", *blocks("stop"), "true"]), environment)


def test_the_signature_and_every_stored_object_are_verified(by_hand: ByHand) -> None:
    stores = by_hand.manifest["stores"]
    parts = [part for store in stores.values() for v in store["volumes"] for part in v["parts"]]
    total = len(parts) + len(stores["postgres"]["facts"]["wal"])
    assert "Signature Verified Successfully" in by_hand.output
    assert f"every stored object is the signed one: {total}" in by_hand.first


def test_recovery_ends_at_the_recovery_point(by_hand: ByHand) -> None:
    lsn = by_hand.manifest["recovery_point"]["lsn"]
    assert f'recovery stopping before WAL location (LSN) "{lsn}"' in by_hand.output


def test_rows_keys_and_points_are_those_of_the_backup(by_hand: ByHand) -> None:
    digests = by_hand.manifest["digests"]
    rows = [
        f"same: {one['table']}: {one['rows']} rows, {one['digest']}"
        for one in digests["postgres"]["own"]
    ]
    keys = digests["redis"]["by_database"]["0"]
    assert len(rows) > 5
    assert [line for line in by_hand.first if line in rows] == rows
    assert f"same: keys of database 0: {keys}" in by_hand.first
    counted = sum(
        int(line.rpartition(": ")[2])
        for line in by_hand.first
        if line.startswith("same: /collections/")
    )
    assert counted == sum(one["points"] for one in digests["qdrant"].values()) > 0
    assert not [line for line in by_hand.first if line.startswith("DIFFERENT")]


def test_what_is_not_the_backup_is_called_different(by_hand: ByHand) -> None:
    wrong = [line for line in by_hand.second if line.startswith("DIFFERENT")]
    assert [line.split(": ")[1].split()[0] for line in wrong] == [
        "public.memory_entries",
        "keys",
        "/collections/memories-large-corp/points/count",
    ]


def test_collections_are_what_they_were(by_hand: ByHand) -> None:
    digests = by_hand.manifest["digests"]["qdrant"]
    server = QdrantServer(by_hand.target.profile().qdrant)
    try:
        now = {one.name: one for one in server.describe()}
        found = {name: server.live_digests(name).total for name in digests if "large" not in name}
    finally:
        server.close()
    for one in by_hand.manifest["stores"]["qdrant"]["facts"]["collections"]:
        if one["name"] in digests:
            again = now[one["name"]]
            assert again.payload_schema == one["payload_schema"]
            assert list(again.aliases) == one["aliases"]
            assert again.config == one["config"]
    assert len(found) > 1
    for name, digest in found.items():
        assert {"points": digest.points, "digest": digest.digest} == digests[name]


def test_every_field_is_described(by_hand: ByHand) -> None:
    page = PAGE.read_text(encoding="utf-8")
    repository = Path(by_hand.environment["REPO"])
    names = fields(by_hand.manifest)
    for pattern in ("repository.json", "catalogue/*", "backups/*/marker.json", "*/*/slots/*"):
        for path in repository.glob(pattern):
            names |= fields(json.loads(path.read_bytes()))
    for path in repository.glob("operations/*/*"):
        names |= json.loads(path.read_bytes()).keys()
    assert {"restore_point_lsn", "replicas", "written_by", "nonce", "ciphertext"} <= names
    assert sorted(name for name in names if f"`{name}`" not in page) == []


#: below these, names are data: stores, collections, settings of servers, the operator's own words
FREE = ("config", "payload_schema", "label", "summary", "by_database", "by_prefix", "sets")


def fields(document: Any, above: str = "") -> set[str]:
    """The names of all fields of a document, those that are data left out."""
    if isinstance(document, list):
        return {name for one in document for name in fields(one, above)}
    if not isinstance(document, dict):
        return set()
    below = {name for key, one in document.items() for name in fields(one, key) if key not in FREE}
    is_data = above in (*FREE, "volatile_by_hour", "stores") or {"points", "digest"} <= below
    return below if is_data else below | document.keys()


def test_a_local_key_file_opens_a_slot_without_us(tmp_path: Path) -> None:
    folder = "backups/20261123T160329Z-27a1b4"
    store, key = DirectoryStore(tmp_path / "repository"), LocalFileKeyService(tmp_path / "key")
    store.ensure()
    key.ensure_key()
    store.create("repository.json", b'{"uuid": "f547845f-bb5e-441e-a0a0-424bfe7ef609"}')
    identity, _recipient = create_identity()
    context = slot_context("f547845f-bb5e-441e-a0a0-424bfe7ef609", folder)
    write_slot(store, folder, key, identity, context)
    work = tmp_path / "work"
    work.mkdir()
    unprivileged.own(work)
    beside = Path(sys.executable).parent  # its python3 has the library that the page asks for
    environment = {
        "PATH": f"{beside}:{os.environ['PATH']}",
        "REPO": str(tmp_path / "repository"),
        "WORK": str(work),
        "BACKUP": folder.partition("/")[2],
        "KEY_FILE": str(tmp_path / "key"),
    }
    bash("\n".join([blocks()[0], *blocks("local")]), environment)
    assert (work / "identity.txt").read_text(encoding="ascii") == f"{identity}\n"


def test_vault_opens_a_slot_without_us(by_hand: ByHand) -> None:
    keys = by_hand.lab.profile().keys
    assert keys.token_file is not None
    environment = by_hand.environment | {
        "VAULT": str(binaries.lab_program("bao")),
        "BAO_ADDR": str(keys.address),
        "BAO_TOKEN": Path(keys.token_file).read_text(encoding="ascii").strip(),
    }
    opened = "open_volume redis/dump.rdb | sha256sum"
    output = bash("\n".join([blocks()[0], *blocks("vault"), opened]), environment)
    work = Path(by_hand.environment["WORK"])
    (image, _) = by_hand.manifest["stores"]["redis"]["volumes"]
    assert image["plain_sha256"] in output
    assert (work / "identity.txt").read_text(encoding="ascii").strip() != by_hand.identity
