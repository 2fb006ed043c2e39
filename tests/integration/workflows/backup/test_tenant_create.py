"""``backup create --tenant-id``: everything of one tenant, nothing of another."""

import json
from typing import Any

import pytest

from aeterna_cli.repository.manifest import load
from aeterna_cli.workflows.restore.opened import OpenedBackup
from tests.integration.deployment import Practice

pytestmark = pytest.mark.integration


def content(practice: Practice, backup: str, part: str, volume: str) -> bytes:
    place = practice.open()
    opened = OpenedBackup(place, load(place.repository, backup), None)
    with opened.volume(part, volume) as stream:
        return stream.read()


def made(practice: Practice, tenant: str, *words: str) -> dict[str, Any]:
    data: dict[str, Any] = practice.cli.ok("backup", "create", "--tenant-id", tenant, *words).data
    return data


def test_everything_of_one_tenant_is_in_it(practice: Practice) -> None:
    done = made(practice, "acme-corp")
    assert done["slug"] == "acme-corp"
    assert done["counts"]["rows"] > 40
    assert done["counts"]["points"] > 40
    assert done["counts"]["keys"] > 40
    manifest = load(practice.open().repository, done["backup"])
    assert manifest.tenant == done["tenant"]
    assert set(manifest.stores) == {"rows", "points", "keys", "objects"}
    tables = {one["table"]: one for one in manifest.stores["rows"].facts["tables"]}
    memories = content(practice, done["backup"], "rows", tables["memory_entries"]["volume"])
    assert memories.count(b"\n") == tables["memory_entries"]["rows"] > 40
    with practice.sql() as server:
        (count,) = server.execute(
            "SELECT count(*) FROM memory_entries WHERE tenant_id = %s", (done["tenant"],)
        ).fetchone()
    assert tables["memory_entries"]["rows"] == count
    (shared,) = [
        one
        for one in manifest.stores["points"].facts["collections"]
        if one["description"]["name"] == "memories-shared"
    ]
    points = content(practice, done["backup"], "points", shared["volume"]).splitlines()
    assert len(points) == shared["points"]
    assert {json.loads(one)["payload"]["tenant_id"] for one in points} == {done["tenant"]}
