"""``failover run``: the primary is gone and nobody took over by himself."""

from contextlib import closing
from pathlib import Path

import pytest

from aeterna_cli.errors import TransientError
from aeterna_cli.lab import valkey
from aeterna_cli.lab.control import LabControl
from aeterna_cli.workflows.failover.component import Preflight, Request
from aeterna_cli.workflows.failover.redis import RedisComponent
from tests.command_line import CommandLine
from tests.integration.deployment import Practice, practise
from tests.integration.ha import cluster, healthy, leader, redis_primary, until, writable
from tests.integration.workflows.failover.patroni import patched
from tests.integration.workflows.failover.staging import Staging
from tests.integration.workflows.failover.writers import keys

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

RUN = ("failover", "run", "--component", "postgres", "--confirm", "practice", "-o", "json")


def test_who_answers_is_not_failed_over(site: Practice) -> None:
    before = leader(site.lab)
    ran = site.cli(*RUN)
    assert (ran.code, ran.error["code"]) == (7, "failover_refused")
    assert {one["code"] for one in ran.error["details"]["refusals"]} == {"primary_alive"}
    assert leader(site.lab) == before


def test_a_dead_primary_wants_a_fence_or_the_loss_accepted(
    site: Practice, cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patroni is paused, so nobody takes over by himself."""
    first = leader(site.lab)
    assert first is not None
    with patched(site, {"pause": True}, {"pause": None}):
        until(lambda: "paused" in {
            finding["code"]
            for one in site.cli.ok("failover", "status").data["components"]
            for finding in one["findings"]
        })  # fmt: skip
        LabControl(site.lab).kill(first)
        until(lambda: not writable(site.lab))
        until(lambda: leader(site.lab) is None or cluster(site.lab)[first]["state"] != "running")
        ran = site.cli(*RUN)
        assert ran.code == 7, ran.err
        assert {one["code"] for one in ran.error["details"]["refusals"]} == {"not_fenced"}
        assert not writable(site.lab)
        (tmp_path / "fence").mkdir()
        here = practise(
            site.lab, cli, tmp_path / "fence", monkeypatch,
            failover={"fence": ["sh", "-c", "exit 3"]},
        )  # fmt: skip
        refused = here.cli(*RUN)
        assert (refused.code, refused.error["code"]) == (1, "fence_failed")
        (tmp_path / "good").mkdir()
        here = practise(
            site.lab, cli, tmp_path / "good", monkeypatch,
            failover={"fence": ["sh", "-c", "exit 0"]},
        )  # fmt: skip
        done = here.cli(*RUN)
        assert done.code == 9, done.err  # it serves, and the dead one does not follow it
        assert done.error["code"] == "redundancy_reduced"
    until(lambda: writable(site.lab))
    assert leader(site.lab) not in (first, None)


def test_redis_by_a_pause_loses_nothing_where_coordination_is_not_known(site: Practice) -> None:
    """The way of Redis 7 and older, on this Valkey."""
    first = redis_primary(site.lab)
    with closing(site.open()) as place, keys(site) as writer:
        component = RedisComponent(place)
        request = Request("switchover")
        found = component.preflight(request)
        assert not found.refusals
        facts = {**found.facts, "way": "paused"}
        by_pause = Preflight(
            "redis", found.status, found.leader, found.candidate, found.findings, facts
        )
        results = Staging().run(component.stages(request, by_pause))
        until(lambda: len(writer.acknowledged) > 100)
    assert results["redis:switch"]["way"] == "paused"
    assert redis_primary(site.lab) not in (first, None)
    until(lambda: healthy(site.lab))
    assert writer.gap < 15


def test_a_pause_is_taken_back_where_no_replica_follows(site: Practice) -> None:
    """Replicas are cut off between the check and the pause: writes go on at the old primary."""
    first = redis_primary(site.lab)
    assert first is not None
    with closing(site.open()) as place:
        component = RedisComponent(place)
        request = Request("switchover")
        found = component.preflight(request)
        facts = {**found.facts, "way": "paused"}
        by_pause = Preflight(
            "redis", found.status, found.leader, found.candidate, found.findings, facts
        )
        for name in ("redis-1", "redis-2", "redis-3"):
            if name != first:
                LabControl(site.lab).kill(name)
        with pytest.raises(TransientError, match="no replica had everything"):
            Staging().run(component.stages(request, by_pause))
    with valkey.client(site.lab.place(), first) as server:
        server.config_set("min-replicas-to-write", 0)
        try:
            assert server.set("after", "yes")
            server.delete("after")
        finally:
            server.config_set("min-replicas-to-write", 1)
    assert redis_primary(site.lab) == first
