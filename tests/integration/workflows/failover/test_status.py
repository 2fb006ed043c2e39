"""``failover status``: who serves, what deviates, what would be lost now."""

import pytest

from aeterna_cli.lab.control import LabControl
from tests.integration.deployment import Practice
from tests.integration.ha import cluster, leader, redis_primary, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_status_tells_who_serves_and_what_would_be_lost(site: Practice) -> None:
    data = site.cli.ok("failover", "status").data
    found = {one["component"]: one for one in data["components"]}
    assert set(found) == {"postgres", "redis", "qdrant"}
    assert "emulated" in found["qdrant"]["emulated"]
    assert found["postgres"]["primary"] == leader(site.lab)
    assert found["postgres"]["loss"]["bytes"] == 0
    assert found["postgres"]["loss"]["certain"]
    roles = sorted(one["role"] for one in found["redis"]["nodes"])
    assert roles == ["primary", "replica", "replica", "sentinel", "sentinel", "sentinel"]
    assert not found["redis"]["loss"]["certain"]
    assert data["errors"] == 0
    assert not data["left_out"]


def codes(site: Practice, *words: str) -> set[str]:
    data = site.cli("failover", "status", *words).data
    return {finding["code"] for one in data["components"] for finding in one["findings"]}


def test_lost_nodes_are_named_and_judged_only_when_asked(site: Practice) -> None:
    place = site.lab.place()
    gone = next(name for name in ("redis-1", "redis-2") if name != redis_primary(site.lab))
    standby = next(n for n, one in cluster(site.lab).items() if one["role"] == "sync_standby")
    for name in (gone, standby):
        LabControl(site.lab).kill(name)
    until(lambda: {"node_silent", "members_missing"} <= codes(site, "--component", "redis"))
    until(lambda: "members_missing" in codes(site, "--component", "postgres"))
    assert site.cli("failover", "status").code == 0
    judged = site.cli("failover", "status", "--component", "redis", "--exit-code")
    assert (judged.code, judged.error["code"]) == (8, "failover_findings")
    found = judged.data["components"][0]["findings"]
    assert f"127.0.0.1:{place.ports[gone]}" in {one["subject"] for one in found}


def test_a_table_for_people_says_what_would_be_lost(site: Practice) -> None:
    ran = site.cli.ok("failover", "status", "-o", "table")
    assert "postgres: if the primary died now, lost would be nothing" in ran.out
    assert str(leader(site.lab)) in ran.out


def test_without_a_cluster_in_the_profile_it_says_which_and_why(
    site: Practice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AETERNA_REDIS__SENTINELS", "[]")
    left = site.cli.ok("failover", "status").data["left_out"]
    assert [one.split(":")[0] for one in left] == ["redis"]
    refused = site.cli("failover", "status", "--component", "redis")
    assert (refused.code, refused.error["code"]) == (7, "not_sentinel")


def test_sentinels_are_asked_by_name(site: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETERNA_REDIS__SENTINEL_NAME", "mymaster")
    (redis,) = site.cli.ok("failover", "status", "--component", "redis").data["components"]
    (finding,) = redis["findings"]
    assert finding["code"] == "sentinel_name"
    assert "aeterna-master" in finding["mend"]
