"""Redis switched under writes: on Valkey, and on Redis 7.0 where Debian's is to be had."""

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from signal import SIGINT
from threading import Thread
from typing import Any

import pytest
from pydantic import SecretStr

from aeterna_cli.errors import (
    AuthenticationError,
    InterruptedByUser,
    RefusedError,
    TransientError,
    UsageError,
)
from aeterna_cli.signals import Stop
from aeterna_cli.stores.redis import RedisServer
from aeterna_cli.stores.redis_connection import RedisConnection
from aeterna_cli.stores.sentinel import views
from aeterna_cli.workflows.failover.component import Preflight, Request
from aeterna_cli.workflows.failover.redis import RedisComponent
from tests.integration.ha import until
from tests.integration.redis_trio import Trio, flavour
from tests.integration.workflows.failover.redis_staging import carried_out, killed_at
from tests.integration.workflows.failover.staging import Staging
from tests.integration.workflows.failover.writers import Writer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]
BOTH = ("valkey", "redis")
SWITCHOVER = Request("switchover")


@contextmanager
def started(folder: Path, name: str) -> Iterator[Trio]:
    trio = Trio(folder / "trio", flavour(name))
    try:
        yield trio.start()
    finally:
        trio.close()


@pytest.fixture(params=BOTH)
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trio]:
    with started(tmp_path, request.param) as trio:
        yield trio


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    with started(tmp_path, "valkey") as made:
        yield made


@contextmanager
def keys(trio: Trio) -> Iterator[Writer]:
    """Every acknowledged key is on the primary at the end, or the test fails."""
    with closing(RedisConnection(trio.settings(timeout=1))) as connection:
        with Writer(lambda number: connection.call("SET", f"n:{number}", number)) as writer:
            until(lambda: len(writer.acknowledged) > 100)
            yield writer
            before = len(writer.acknowledged)
            until(lambda: len(writer.acknowledged) > before + 100)
        connection.close()
        there = connection.batch([["EXISTS", f"n:{number}"] for number in writer.acknowledged])
    lost = [n for n, found in zip(writer.acknowledged, there, strict=True) if not found]
    assert not lost, f"{len(lost)} of {len(there)} acknowledged writes are lost"


def codes(trio: Trio, wanted: Request = SWITCHOVER) -> set[str]:
    """Why this is refused; roles and what the Sentinels say are as they were."""
    before = trio.roles()
    found = {one.code for one in RedisComponent(trio.place()).preflight(wanted).refusals}
    assert trio.roles() == before
    return found


def by_pause(component: RedisComponent) -> Preflight:
    found = component.preflight(SWITCHOVER)
    assert not found.refusals
    facts = {**found.facts, "way": "paused"}
    return Preflight("redis", found.status, found.leader, found.candidate, found.findings, facts)


def test_a_switchover_loses_no_acknowledged_write(both: Trio, tmp_path: Path) -> None:
    with keys(both) as writer:
        done = carried_out(RedisComponent(both.place()), SWITCHOVER, tmp_path / "stages")
    assert done["redis:switch"]["way"] == (
        "coordinated" if both.flavour.name == "valkey" else "paused"
    )
    assert both.primary() not in ("redis-1", None)
    assert both.roles()["redis-1"] == "slave"
    until(both.healthy)
    assert writer.gap < 10


def test_old_sentinels_of_new_servers_are_not_asked_for_what_they_do_not_know(
    tmp_path: Path,
) -> None:
    with closing(Trio(tmp_path / "trio", flavour("valkey"), flavour("redis"))) as trio:
        found = RedisComponent(trio.start().place()).preflight(SWITCHOVER)
    assert not found.refusals
    assert found.facts["way"] == "paused"


def test_the_wanted_node_is_promoted(both: Trio, tmp_path: Path) -> None:
    wanted = Request("switchover", both.address("redis-3"))
    with keys(both):
        carried_out(RedisComponent(both.place()), wanted, tmp_path / "stages")
    assert both.primary() == "redis-3"
    assert priorities(both) == {"100"}


def priorities(trio: Trio) -> set[str]:
    return {trio.call(one, "CONFIG", "GET", "replica-priority")[1].decode() for one in trio.ports}


def soaked(*points: str) -> list[Any]:
    """The first two in every run, the others in `make soak`."""
    return [*points[:2], *(pytest.param(one, marks=pytest.mark.soak) for one in points[2:])]


@pytest.mark.parametrize(
    "point",
    soaked(
        "failover:redis:asked",
        "failover:redis:paused",
        "step:redis:switch:before",
        "failover:redis:demoted",
        "step:redis:switch:after",
    ),
)
def test_killed_anywhere_the_same_again_finishes(both: Trio, point: str, tmp_path: Path) -> None:
    if both.flavour.name == "valkey" and point == "failover:redis:paused":
        pytest.skip("coordination has no pause of ours")
    with keys(both):
        assert killed_at(point, both, SWITCHOVER, tmp_path / "stages")
        carried_out(RedisComponent(both.place()), SWITCHOVER, tmp_path / "stages")
    until(both.healthy)
    assert both.primary() not in ("redis-1", None)


@pytest.mark.parametrize(
    "point",
    [
        "failover:redis:preferred",
        pytest.param("step:redis:prefer:middle", marks=pytest.mark.soak),
    ],
)
def test_priorities_are_given_back_after_a_crash(trio: Trio, point: str, tmp_path: Path) -> None:
    wanted = Request("switchover", trio.address("redis-2"))
    trio.call("redis-3", "CONFIG", "SET", "replica-priority", 70)
    assert killed_at(point, trio, wanted, tmp_path / "stages")
    carried_out(RedisComponent(trio.place()), wanted, tmp_path / "stages")
    assert trio.primary() == "redis-2"
    assert priorities(trio) == {"100", "70"}


def test_a_pause_whose_command_died_ends_by_itself(trio: Trio, tmp_path: Path) -> None:
    """And nobody was promoted: everything is as it was."""
    component = RedisComponent(trio.place())
    (tmp_path / "stages.found").write_text(paused_facts(component))
    assert killed_at("failover:redis:paused", trio, SWITCHOVER, tmp_path / "stages")
    with keys(trio) as writer:
        pass
    assert trio.primary() == "redis-1"
    assert writer.gap < 20


def paused_facts(component: RedisComponent) -> str:
    from json import dumps

    found = by_pause(component)
    return dumps([found.leader, found.candidate, dict(found.facts)])


def test_ctrl_c_while_sentinels_promote_lets_nobody_write_to_the_old_primary(both: Trio) -> None:
    component, stop = RedisComponent(both.place()), Stop()
    found = by_pause(component)

    def interrupt() -> None:
        until(lambda: any("failover_in_progress" in one.flags for one in views(both.settings())))
        stop.request(SIGINT)

    thread = Thread(target=interrupt)
    with keys(both):
        thread.start()
        with suppress(InterruptedByUser):
            Staging(stop=stop).run(component.stages(SWITCHOVER, found))
        thread.join()
        until(lambda: both.healthy() and both.primary() != "redis-1")


def test_one_replica_that_lags_stops_a_switch_by_pause(trio: Trio) -> None:
    """Sentinels may choose it: that another one has everything is not enough."""
    component = RedisComponent(trio.place())
    found = by_pause(component)
    trio.freeze("redis-3")
    try:
        with pytest.raises(TransientError) as caught:
            Staging().run(component.stages(SWITCHOVER, found))
        assert caught.value.code == "replica_not_equal"
        assert trio.call("redis-1", "SET", "after", 1) == b"OK"  # at once: the pause is taken back
        assert trio.primary() == "redis-1"
    finally:
        trio.thaw("redis-3")


def test_coordination_is_not_begun_where_a_replica_froze_meanwhile(trio: Trio) -> None:
    component = RedisComponent(trio.place())
    found = component.preflight(SWITCHOVER)
    trio.freeze("redis-3")
    try:
        with pytest.raises(RefusedError) as caught:
            Staging().run(component.stages(SWITCHOVER, found))
        assert caught.value.code == "failover_refused"
        assert trio.primary() == "redis-1"
    finally:
        trio.thaw("redis-3")


def test_what_is_not_well_is_refused(trio: Trio) -> None:
    assert codes(trio) == set()
    trio.call("redis-3", "REPLICAOF", "NO", "ONE")
    assert "two_primaries" in codes(trio)
    until(trio.healthy)
    trio.freeze("redis-2")
    assert "node_silent" in codes(trio)
    trio.thaw("redis-2")
    until(trio.healthy)
    for name in ("sentinel-2", "sentinel-3"):
        trio.kill(name)
    until(lambda: "no_quorum" in codes(trio))
    assert "sentinel_silent" in codes(trio)
    assert trio.primary() == "redis-1"


def test_wrong_logins_and_names_are_told(trio: Trio) -> None:
    wrong = trio.place(sentinel_password=SecretStr("wrong"))
    with pytest.raises(AuthenticationError) as caught:
        RedisComponent(wrong).status()
    assert caught.value.code == "sentinel_credentials_refused"
    with pytest.raises(AuthenticationError):
        RedisComponent(trio.place(password=SecretStr("wrong"))).status()
    server = RedisServer(trio.settings(sentinel_name="mymaster"))
    with server, pytest.raises(UsageError, match="mymaster") as unknown:
        server.identity()
    assert unknown.value.code == "sentinel_name"
    assert "trio" in unknown.value.hint


def test_one_sentinel_with_another_password_is_a_refusal(trio: Trio) -> None:
    trio.call("sentinel-3", "ACL", "SETUSER", "default", "resetpass", ">other")
    assert "sentinel_silent" in codes(trio)
    with RedisServer(trio.settings()) as server:
        assert server.identity().role == "master"


def test_a_connection_finds_the_new_primary(trio: Trio, tmp_path: Path) -> None:
    with RedisServer(trio.settings()) as server:
        server.write_marker(7)
        carried_out(RedisComponent(trio.place()), SWITCHOVER, tmp_path / "stages")
        with pytest.raises((TransientError, RefusedError)):
            server.write_marker(8)  # cut off, or a replica now: never sent again by itself
        assert server.marker() == 7
        server.write_marker(9)
        assert server.identity().role == "master"


def test_sentinels_of_one_epoch_that_differ_are_not_believed(trio: Trio) -> None:
    trio.call("sentinel-3", "SENTINEL", "REMOVE", "trio")
    trio.call("sentinel-3", "SENTINEL", "MONITOR", "trio", "127.0.0.1", trio.ports["redis-2"], 2)
    differing = {one.primary for one in views(trio.settings(), quorum=False)}
    assert len(differing) == 2
    assert codes(trio) >= {"sentinels_disagree"}
    with RedisServer(trio.settings()) as server, pytest.raises(RefusedError) as caught:
        server.write_marker(1)
    assert caught.value.code == "sentinels_disagree"
