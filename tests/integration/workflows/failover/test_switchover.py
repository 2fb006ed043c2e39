"""``failover switchover`` on three Patroni nodes, three Valkeys, three Sentinels."""

from contextlib import closing

import pytest

from aeterna_cli.lab import valkey
from aeterna_cli.lab.control import LabControl
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.names import SENTINELS
from aeterna_cli.operations.lease import Lease, LeaseRequest
from aeterna_cli.stores.postgres_connection import connect
from aeterna_cli.workflows import leases
from tests.integration.deployment import Practice
from tests.integration.ha import cluster, healthy, leader, redis_primary, until
from tests.integration.workflows.failover.patroni import patched
from tests.integration.workflows.failover.writers import keys, rows

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def refused(site: Practice, *words: str) -> tuple[int, set[str]]:
    """The exit code, and the codes of all reasons; leader, roles and timeline are as they were."""
    before = {name: (one["role"], one["timeline"]) for name, one in cluster(site.lab).items()}
    primary = redis_primary(site.lab)
    ran = site.cli("failover", *words, "--yes", "-o", "json")
    assert "Traceback" not in ran.err
    after = {name: (one["role"], one["timeline"]) for name, one in cluster(site.lab).items()}
    assert (after, redis_primary(site.lab)) == (before, primary)
    reasons = ran.error["details"].get("refusals", [])
    return ran.code, {str(one["code"]) for one in reasons} or {str(ran.error["code"])}


def standby(lab: Lab, role: str) -> str:
    return next(name for name, one in cluster(lab).items() if one["role"] == role)


def test_a_dry_run_checks_and_changes_nothing(site: Practice) -> None:
    before = cluster(site.lab)
    words = ("failover", "switchover", "--component", "postgres")
    done = site.cli.ok(*words, "--dry-run").data
    assert done["dry_run"]
    assert any(one.startswith("postgres:switch") for one in done["plan"])
    assert cluster(site.lab).keys() == before.keys()
    assert leader(site.lab) == next(n for n, one in before.items() if one["role"] == "leader")


def test_postgres_is_switched_over_under_writes(site: Practice) -> None:
    first, second = leader(site.lab), standby(site.lab, "sync_standby")
    with rows(site):
        done = site.cli.ok("failover", "switchover", "--component", "postgres", "--yes").data
    assert leader(site.lab) == second
    assert done["results"]["postgres:rejoin"]["nodes"][first] in ("replica", "synchronous")
    assert done["gaps"]["postgres"]["lost"] == 0
    assert done["gaps"]["postgres"]["acknowledged"] > 10


def test_redis_is_switched_over_under_writes(site: Practice) -> None:
    first = redis_primary(site.lab)
    with keys(site):
        done = site.cli.ok("failover", "switchover", "--component", "redis", "--yes").data
    assert redis_primary(site.lab) not in (first, None)
    assert done["results"]["redis:switch"]["way"] == "coordinated"
    assert done["gaps"]["redis"]["lost"] == 0


def test_the_wanted_redis_node_is_promoted_and_priorities_are_as_they_were(site: Practice) -> None:
    place, first = site.lab.place(), redis_primary(site.lab)
    wanted = next(name for name in ("redis-3", "redis-2", "redis-1") if name != first)
    with keys(site):
        site.cli.ok(
            "failover", "switchover", "--component", "redis", "--yes",
            "--to", f"127.0.0.1:{place.ports[wanted]}",
        )  # fmt: skip
    assert redis_primary(site.lab) == wanted
    for name in ("redis-1", "redis-2", "redis-3"):
        with valkey.client(place, name) as server:
            assert server.config_get("replica-priority")["replica-priority"] == "100"


@pytest.mark.parametrize("component", ["postgres", "redis"])
def test_an_unknown_node_is_a_wrong_usage(site: Practice, component: str) -> None:
    words = ("switchover", "--component", component, "--to", "postgres-9")
    assert refused(site, *words) == (2, {"node_unknown"})


def test_who_is_no_synchronous_standby_is_refused(site: Practice) -> None:
    words = ("switchover", "--component", "postgres", "--to", standby(site.lab, "replica"))
    assert refused(site, *words) == (7, {"candidate_asynchronous"})


def test_a_paused_patroni_is_refused(site: Practice) -> None:
    with patched(site, {"pause": True}, {"pause": None}):
        until(lambda: "paused" in {
            finding["code"]
            for one in site.cli.ok("failover", "status").data["components"]
            for finding in one["findings"]
        })  # fmt: skip
        code, codes = refused(site, "switchover", "--component", "postgres")
        assert code == 7
        assert "paused" in codes


def test_a_paused_replay_is_refused(site: Practice) -> None:
    place, name = site.lab.place(), standby(site.lab, "sync_standby")
    settings = site.open().profile.postgres.model_copy(
        update={"host": str(place.sockets), "hosts": (), "port": place.ports[name],
                "user": "postgres", "password_file": None}
    )  # fmt: skip
    with closing(connect(settings)) as connection:
        connection.execute("SELECT pg_wal_replay_pause()")
        try:
            words = ("switchover", "--component", "postgres", "--to", name)
            assert refused(site, *words) == (7, {"replay_paused"})
        finally:
            connection.execute("SELECT pg_wal_replay_resume()")


def test_wrong_credentials_change_nothing(site: Practice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETERNA_PATRONI__PASSWORD", "wrong")
    assert refused(site, "switchover", "--component", "postgres") == (
        6, {"patroni_credentials_refused"}
    )  # fmt: skip


def test_another_operation_is_waited_for_by_nobody(site: Practice) -> None:
    with closing(site.open()) as place:
        lease = Lease(
            place.objects, LeaseRequest(leases.FAILOVER), operation="other", actor="somebody"
        )
        lease.acquire()
        try:
            words = ("switchover", "--component", "postgres")
            assert refused(site, *words) == (3, {"lease_held"})
        finally:
            lease.release()


def test_without_a_quorum_of_sentinels_it_is_refused(site: Practice) -> None:
    for name in SENTINELS[1:]:
        LabControl(site.lab).stop(name)
    words = ("switchover", "--component", "redis")
    until(lambda: "no_quorum" in refused(site, *words)[1])
    code, codes = refused(site, *words)
    assert code == 7
    assert "sentinel_silent" in codes


def test_a_frozen_replica_is_refused(site: Practice) -> None:
    """It looked perfect and lost 20,000 writes where nobody asked the replicas first."""
    from signal import SIGCONT, SIGSTOP

    from aeterna_cli.lab import processes

    name = next(one for one in ("redis-1", "redis-2") if one != redis_primary(site.lab))
    state = site.lab.file.read()
    assert state is not None
    processes.send(state.processes[name], SIGSTOP)
    try:
        code, codes = refused(site, "switchover", "--component", "redis")
        assert code == 7
        assert "node_silent" in codes
    finally:
        processes.send(state.processes[name], SIGCONT)


@pytest.mark.parametrize(
    "point",
    ["step:postgres:switch:before", "failover:postgres:asked", "step:postgres:switch:after"],
)
def test_killed_while_postgres_is_switched(site: Practice, point: str) -> None:
    first = leader(site.lab)
    with rows(site):
        words = ("failover", "switchover", "--component", "postgres", "--yes", "--no-probe")
        assert site.killed_at(point, *words)
        (cut,) = site.operations("--unfinished")
        done = site.cli.ok("operation", "resume", cut["operation"], "--yes").data
    assert done["results"]["postgres:rejoin"]["primary"] == leader(site.lab) != first


@pytest.mark.parametrize("point", ["failover:redis:asked", "failover:redis:demoted"])
def test_killed_while_redis_is_switched(site: Practice, point: str) -> None:
    first = redis_primary(site.lab)
    with keys(site):
        words = ("failover", "switchover", "--component", "redis", "--yes", "--no-probe")
        assert site.killed_at(point, *words)
        (cut,) = site.operations("--unfinished")
        site.cli.ok("operation", "resume", cut["operation"], "--yes")
    until(lambda: healthy(site.lab))
    assert redis_primary(site.lab) not in (first, None)
