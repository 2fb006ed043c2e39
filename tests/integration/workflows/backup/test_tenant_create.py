"""``backup create --tenant-id``: everything of one tenant, nothing of another."""

import json
from contextlib import closing
from typing import Any

import pytest

from aeterna_cli.repository.manifest import load
from aeterna_cli.workflows.restore.opened import OpenedBackup
from tests.integration.deployment import Practice

pytestmark = pytest.mark.integration


def content(practice: Practice, backup: str, part: str, volume: str) -> bytes:
    with closing(practice.open()) as place:
        opened = OpenedBackup(place, load(place.repository, backup), None)
        with opened.volume(part, volume) as stream:
            return stream.read()


def made(practice: Practice, tenant: str, *words: str) -> dict[str, Any]:
    data: dict[str, Any] = practice.cli.ok("backup", "create", "--tenant-id", tenant, *words).data
    return data


def test_everything_of_one_tenant_is_in_it(practice: Practice) -> None:
    done = made(practice, "globex")
    assert done["slug"] == "globex"
    assert done["counts"]["objects"] > 0
    assert done["counts"]["rows"] > 10
    assert done["counts"]["points"] > 10
    assert done["counts"]["keys"] > 10
    manifest = load(practice.open().repository, done["backup"])
    assert manifest.tenant == done["tenant"]
    assert set(manifest.stores) == {"rows", "points", "keys", "objects"}
    tables = {one["table"]: one for one in manifest.stores["rows"].facts["tables"]}
    memories = content(practice, done["backup"], "rows", tables["memory_entries"]["volume"])
    assert memories.count(b"\n") == tables["memory_entries"]["rows"] > 10
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


def test_twins_by_lossy_names_do_not_mix(practice: Practice) -> None:
    """``acme-corp`` and ``acme_corp`` are the same in the name of a code search collection."""
    for slug in ("acme-corp", "acme_corp"):
        ran = practice.cli("backup", "create", "--tenant-id", slug)
        assert (ran.code, ran.error["code"]) == (9, "backup_incomplete")
        (doubt,) = ran.error["details"]["degraded"]
        assert doubt.startswith("the collection codesearch_acme_corp")
    repository = practice.open().repository
    one, other = (load(repository, entry.backup) for entry in repository.backups())
    assert one.tenant != other.tenant
    for manifest in (one, other):
        names = {o["description"]["name"] for o in manifest.stores["points"].facts["collections"]}
        assert not any(name.startswith("codesearch_acme_corp") for name in names)
        tables = {o["table"]: o["volume"] for o in manifest.stores["rows"].facts["tables"]}
        company = content(practice, manifest.backup, "rows", tables["companies"])
        assert str(manifest.tenant).encode() in company
        assert company.count(b"\n") == 1


def test_what_nobody_can_classify_is_told_and_the_rest_is_saved(practice: Practice) -> None:
    with practice.sql() as server:
        server.execute("CREATE TABLE mystery (id int PRIMARY KEY, whose text)")
        server.execute("GRANT SELECT ON mystery TO aeterna_backup")
    try:
        ran = practice.cli("backup", "create", "--tenant-id", "initech")
    finally:
        with practice.sql() as server:
            server.execute("DROP TABLE mystery")
    assert (ran.code, ran.error["code"]) == (9, "backup_incomplete")
    manifest = load(practice.open().repository, ran.error["details"]["backup"])
    assert any("mystery" in one for one in manifest.degraded)
    assert any("mystery" in one.what for one in manifest.left_out)
    (listed,) = practice.cli.ok("backup", "list", "--tenant-id", "initech").data
    assert listed["state"] == "degraded"


def test_it_is_verified_to_the_last_row_point_and_key(practice: Practice) -> None:
    backup = made(practice, "umlaut-ag")["backup"]
    done = practice.cli.ok("backup", "verify", backup, "--restore").data
    assert done["verdict"] == "good"
    assert [one["store"] for one in done["restored"]] == ["rows", "points", "keys", "objects"]
    counts = {c["name"]: c["count"] for one in done["restored"] for c in one["checks"]}
    manifest = load(practice.open().repository, backup)
    assert counts["rows"] == manifest.digests["rows"]["count"] > 0
    assert counts["points"] == manifest.digests["points"]["count"] > 0
    assert counts["keys"] == manifest.digests["keys"]["count"] > 0


def test_an_unknown_tenant_is_offered_the_closest(practice: Practice) -> None:
    ran = practice.cli("backup", "create", "--tenant-id", "acme-crop")
    assert (ran.code, ran.error["code"]) == (7, "tenant_unknown")
    assert "acme-corp" in ran.error["hint"]


def test_a_dry_run_stores_nothing(practice: Practice) -> None:
    dry = practice.cli.ok("backup", "create", "--tenant-id", "globex", "--dry-run").data
    assert dry["slug"] == "globex"
    with closing(practice.open()) as place:
        assert place.repository.backups() == []
