"""Backups and shards: their collections are looked into, and other servers' points are missed."""

import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.lab import profile as lab_profile
from aeterna_cli.repository.manifest import load
from aeterna_cli.workflows.tenant.whereabouts import find
from tests.integration.deployment import Practice, practise
from tests.integration.workflows.shard.sharding import sharding

pytestmark = pytest.mark.integration

PLAIN = "ledger-vectors"  # fits no rule, and has no index


def test_a_shards_collection_without_an_index_is_looked_into(practice: Practice) -> None:
    with closing(practice.open()) as place:
        tenant = find(place, "globex").tenant.id
    mine = [{"id": str(uuid.uuid4()), "vector": [1, 0, 0, 0], "payload": {"tenant_id": tenant}}]
    other = [{"id": str(uuid.uuid4()), "vector": [0, 1, 0, 0], "payload": {"tenant_id": "else"}}]
    with sharding(practice) as shards:
        vectors = {"vectors": {"size": 4, "distance": "Cosine"}}
        shards.qdrant("PUT", f"/collections/{PLAIN}", vectors)
        shards.qdrant("PUT", f"/collections/{PLAIN}/points?wait=true", {"points": [*mine, *other]})
        shards.cli("add", "ledger", "--collection", PLAIN, "--yes")
        done = practice.cli.ok("backup", "create", "--tenant-id", "globex").data
        manifest = load(practice.open().repository, done["backup"])
        collections = manifest.stores["points"].facts["collections"]
        (found,) = [one for one in collections if one["description"]["name"] == PLAIN]
        assert (found["points"], found["whole"]) == (1, False)


def test_points_on_another_server_are_said_to_be_missing(
    practice: Practice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second: Any = {"second": lab_profile.tree(practice.lab.place())["qdrant"]}
    (tmp_path / "here").mkdir()
    here = practise(
        practice.lab, practice.cli, tmp_path / "here", monkeypatch, qdrant_servers=second
    )
    with sharding(here) as shards:
        shards.cli("add", "far", "--server", "second", "--collection", "memories-shared",
                   "--shard-key", "far", "--yes")  # fmt: skip
        with closing(here.open()) as place:
            tenant = find(place, "globex").tenant.id
        shards.place("far", "memories-shared", tenant)
        said = "the points of one tenant at shard far, on second"
        one = here.cli("backup", "create", "--tenant-id", "globex")
        assert one.code == 9
        assert any(said in text for text in one.error["details"]["degraded"])
        assert here.cli("backup", "create", "--tenant-id", "initech").code == 0
        whole = here.backup()
        assert f"not in it: {said}" in whole["notes"]
        shown = here.cli.ok("backup", "show", whole["backup"]).data
        assert said in [left["what"] for left in shown["left_out"]]
