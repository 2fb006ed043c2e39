"""What each write of the mover leaves alone, on every generation of servers."""

from collections.abc import Iterator

import pytest

from aeterna_cli.errors import FailedError
from aeterna_cli.stores.qdrant_mover_end import QdrantEnd
from aeterna_cli.stores.qdrant_mover_writes import EndWrites
from tests.integration.lab.qdrant_process import Server
from tests.integration.stores import moving
from tests.integration.stores.moving import OTHER, TARGET, TENANT, TenantItems, point

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", params=["1.15.5", "1.17.1"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with moving.served(request.param) as made:
        yield made


@pytest.fixture(scope="module")
def old() -> Iterator[Server]:
    with moving.served("1.15.4") as made:
        yield made


def writes(server: Server) -> EndWrites:
    """The tenant has 1 and 2 at version 5, somebody else has 3."""
    server.clean()
    moving.collection(server, TARGET)
    moving.fill(server, TARGET, [1, 2], version=5)
    moving.fill(server, TARGET, [3], OTHER, version=1)
    return EndWrites(QdrantEnd(moving.settings(server), moving.place(TARGET), TENANT))


def versions(server: Server, tenant: TenantItems = TENANT) -> dict[object, int]:
    found = moving.content(server, TARGET, tenant)
    return {one: payload["version"] for one, (payload, _) in found.items()}


def close(made: EndWrites) -> None:
    made._end.close()


def test_an_insert_changes_nothing_that_is_there(server: Server) -> None:
    made = writes(server)
    made.insert([point(1, 4), point(2, 9), point(3, 9), point(4, 1)])
    assert versions(server) == {1: 5, 2: 5, 4: 1}
    assert versions(server, TenantItems((OTHER,))) == {3: 1}
    close(made)


def test_an_upsert_applies_over_what_is_older_and_only_there(server: Server) -> None:
    made = writes(server)
    made.upsert_newer([point(1, 4), point(2, 6), point(3, 9), point(4, 1)])
    assert versions(server) == {1: 5, 2: 6, 4: 1}
    assert versions(server, TenantItems((OTHER,))) == {3: 1}
    close(made)


def test_a_delete_spares_what_is_newer_than_was_seen_and_what_is_somebody_elses(
    server: Server,
) -> None:
    made = writes(server)
    made.delete_seen([(1, 4), (2, 5), (3, 9)])
    assert versions(server) == {1: 5}
    made.delete_ids([1, 3])
    assert versions(server) == {}
    assert versions(server, TenantItems((OTHER,))) == {3: 1}
    close(made)


def test_an_overwrite_is_of_this_tenant_only(server: Server) -> None:
    made = writes(server)
    made.overwrite([point(1, 4), point(3, 9), point(4, 1)])
    assert versions(server) == {1: 4, 2: 5, 4: 1}
    assert versions(server, TenantItems((OTHER,))) == {3: 1}
    close(made)


def test_a_server_that_ignores_conditions_is_sent_nothing_that_needs_one(old: Server) -> None:
    made = writes(old)
    for call in (made.insert, made.upsert_newer, made.overwrite):
        with pytest.raises(FailedError) as caught:
            call([point(1, 6), point(3, 9)])
        assert caught.value.code == "point_ids_taken"
    assert versions(old) == {1: 5, 2: 5}
    made.insert([point(1, 6), point(4, 1)])
    assert versions(old) == {1: 6, 2: 5, 4: 1}
    assert versions(old, TenantItems((OTHER,))) == {3: 1}
    close(made)
