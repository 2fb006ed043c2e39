"""A server that throttles, fails, is slow or goes away: the mover goes on, and nothing is lost."""

from collections.abc import Iterator
from typing import Any

import pytest

from aeterna_cli.errors import AeternaError, FailedError, RefusedError, TransientError
from aeterna_cli.stores.backoff import Backoff
from aeterna_cli.stores.base.mover import Copied, Pace, TenantItems
from aeterna_cli.stores.qdrant_mover import QdrantMover
from aeterna_cli.stores.qdrant_mover_end import QdrantEnd
from tests.integration.lab.qdrant_process import Server
from tests.integration.stores import moving
from tests.integration.stores.gate import gate
from tests.integration.stores.moving import SOURCE, TARGET, TENANT

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    with moving.served("1.19.0") as one, moving.served("1.17.1") as other:
        yield one, other


@pytest.fixture(scope="module")
def old() -> Iterator[Server]:
    with moving.served("1.12.4") as server:
        yield server


@pytest.fixture
def two(servers: tuple[Server, Server]) -> tuple[Server, Server]:
    """Source and target on servers of their own, with 200 points to move."""
    for server, name in zip(servers, (SOURCE, TARGET), strict=True):
        server.clean()
        moving.collection(server, name)
    moving.fill(servers[0], SOURCE, range(200))
    return servers


def moved(mover: QdrantMover) -> None:
    mover.copy(None)
    mover.rounds(3)
    assert mover.compare().equal


@pytest.mark.parametrize("fault", ["429", "503", "500", "lost"])
@pytest.mark.parametrize("side", [0, 1])
def test_faults_that_pass_are_waited_out(two: tuple[Server, Server], side: int, fault: str) -> None:
    with moving.mover(*two) as mover:
        two[side].ask("POST", "/lab/faults", {"every": fault, "after": 3, "times": 2})
        moved(mover)
    assert moving.content(two[0], SOURCE) == moving.content(two[1], TARGET)


def test_retry_after_is_obeyed(two: tuple[Server, Server]) -> None:
    """The lab asks for one second; without it the pauses of this back-off end long before."""
    eager = Backoff(attempts=2, first=0.001, ceiling=0.001)
    end = QdrantEnd(moving.settings(two[0]), moving.place(SOURCE), TENANT, backoff=eager)
    two[0].ask("POST", "/lab/faults", {"every": "429", "times": 1})
    once = QdrantEnd(
        moving.settings(two[0]), moving.place(SOURCE), TENANT, backoff=Backoff(attempts=1)
    )
    with pytest.raises(TransientError) as caught:
        once.count()
    once.close()
    assert caught.value.details["retry_after"] == 1
    two[0].ask("POST", "/lab/faults", {"every": "429", "times": 1})
    assert end.count() == 200
    end.close()


def test_a_timeout_is_tried_again(two: tuple[Server, Server]) -> None:
    settings = moving.settings(two[0], timeout=0.5)
    source = QdrantEnd(settings, moving.place(SOURCE), TENANT, pace=Pace(page=50))
    target = QdrantEnd(moving.settings(two[1]), moving.place(TARGET), TENANT)
    mover = QdrantMover(source, target, "versions")
    two[0].ask("POST", "/lab/faults", {"every": "slow", "seconds": 2, "times": 1, "after": 1})
    assert mover.copy(None).items == 200
    mover.close()


def test_a_connection_that_is_cut_in_the_middle_of_a_page_costs_nothing(
    two: tuple[Server, Server],
) -> None:
    with gate(two[0].port, cut=3) as through:
        source = QdrantEnd(through.settings(), moving.place(SOURCE), TENANT, pace=Pace(page=50))
        target = QdrantEnd(moving.settings(two[1]), moving.place(TARGET), TENANT)
        mover = QdrantMover(source, target, "versions")
        moved(mover)
        assert through.cut == 0
        mover.close()


def test_a_server_that_stays_away_ends_in_a_transient_error(two: tuple[Server, Server]) -> None:
    two[1].ask("POST", "/lab/faults", {"every": "503"})
    source = QdrantEnd(moving.settings(two[0]), moving.place(SOURCE), TENANT)
    short = Backoff(attempts=3, first=0.01, ceiling=0.01)
    target = QdrantEnd(moving.settings(two[1]), moving.place(TARGET), TENANT, backoff=short)
    with pytest.raises(TransientError):
        QdrantMover(source, target, "versions").copy(None)
    source.close()
    target.close()


def test_a_server_killed_in_mid_copy_is_waited_for(two: tuple[Server, Server]) -> None:
    killed: list[Any] = []

    def kill(done: Copied) -> None:
        if done.items == 100 and not killed:
            two[1].kill()
            killed.append(done)
            two[1].start()

    with moving.mover(*two) as mover:
        mover.copy(None, kill)
        mover.rounds(3)
        assert mover.compare().equal
    assert killed


def test_a_copy_goes_on_from_its_cursor(two: tuple[Server, Server]) -> None:
    class Enough(Exception):
        pass

    def stop(done: Copied) -> None:
        seen.append(done)
        if done.items >= 100:
            raise Enough

    seen: list[Copied] = []
    with moving.mover(*two) as mover:
        with pytest.raises(Enough):
            mover.copy(None, stop)
        again = mover.copy(seen[-1].cursor)
        assert again.items == 100
        assert mover.round().clean


def test_only_this_tenants_points_move_and_only_they_are_removed(
    two: tuple[Server, Server],
) -> None:
    other = TenantItems((moving.OTHER,))
    for server, name in zip(two, (SOURCE, TARGET), strict=True):
        moving.fill(server, name, range(9000, 9050), moving.OTHER)
    moving.fill(two[0], SOURCE, range(500, 520), TENANT.values[1])  # named by its slug
    before = [moving.content(s, n, other) for s, n in zip(two, (SOURCE, TARGET), strict=True)]
    with moving.mover(*two) as mover:
        assert mover.check_source() == {"points": 220}
        moved(mover)
        assert mover.count("target") == 220
        assert mover.remove("source") == 220
        assert mover.count("source") == 0
        assert mover.remove("source") == 0
    after = [moving.content(s, n, other) for s, n in zip(two, (SOURCE, TARGET), strict=True)]
    assert after == before


@pytest.mark.parametrize("version", ["1.12", "1.17"])
def test_a_point_of_another_tenant_with_the_same_id_is_never_overwritten(
    two: tuple[Server, Server], old: Server, version: str
) -> None:
    other = TenantItems((moving.OTHER,))
    target = two[1]
    if version == "1.12":
        target = old
        old.clean()
        moving.collection(old, TARGET)
    moving.fill(target, TARGET, [7, 8], moving.OTHER)
    before = moving.content(target, TARGET, other)
    with (
        moving.mover(two[0], target, "digests" if version == "1.12" else "versions") as mover,
        pytest.raises(FailedError) as caught,
    ):
        moved(mover)
    assert caught.value.code == "point_ids_taken"
    assert caught.value.details["ids"] == [7, 8]
    assert moving.content(target, TARGET, other) == before


@pytest.mark.parametrize("version", [None, "7", 1.5, -1, 1 << 60])
def test_points_without_a_usable_version_are_refused_and_counted(
    two: tuple[Server, Server], version: Any
) -> None:
    for number in (3, 300):
        one = moving.point(number, 1)
        one["payload"]["version"] = version
        if version is None:
            del one["payload"]["version"]
        two[0].ask("PUT", f"/collections/{SOURCE}/points?wait=true", {"points": [one]})
    with moving.mover(*two) as mover, pytest.raises(RefusedError) as caught:
        # a fraction is a number to the server's filters: only reading finds it
        (mover.round if version == 1.5 else mover.check_source)()
    assert (caught.value.code, caught.value.details["points"]) == ("version_missing", 2)


def test_points_without_a_time_are_refused_and_counted(two: tuple[Server, Server]) -> None:
    one = moving.point(3, 2)
    del one["payload"]["updated_at"]
    two[0].ask("PUT", f"/collections/{SOURCE}/points?wait=true", {"points": [one]})
    with moving.mover(*two) as mover, pytest.raises(RefusedError) as caught:
        mover.check_source()
    assert (caught.value.code, caught.value.details["points"]) == ("updated_at_missing", 1)


def test_a_collection_that_is_not_there_is_a_typed_error(two: tuple[Server, Server]) -> None:
    with (
        moving.mover(*two, names=("missing", TARGET)) as mover,
        pytest.raises(AeternaError) as caught,
    ):
        mover.copy(None)
    assert caught.value.code == "qdrant_not_found"


def test_strict_mode_limits_are_kept(two: tuple[Server, Server]) -> None:
    for server, name in zip(two, (SOURCE, TARGET), strict=True):
        strict = {"enabled": True, "max_query_limit": 30, "upsert_max_batchsize": 20}
        server.ask("PATCH", f"/collections/{name}", {"strict_mode_config": strict})
    with moving.mover(*two) as mover:
        moved(mover)


def test_long_points_are_sent_in_several_requests(two: tuple[Server, Server]) -> None:
    for number in range(4):
        one = moving.point(number, 2)
        one["payload"]["content"] = "x" * (5 << 20)
        two[0].ask("PUT", f"/collections/{SOURCE}/points?wait=true", {"points": [one]})
    with moving.mover(*two) as mover:
        moved(mover)
