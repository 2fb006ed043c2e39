"""Moves inside one collection, by the server's own shard keys; and making the target."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from aeterna_cli.errors import FailedError, RefusedError
from aeterna_cli.stores.base.mover import Pace
from aeterna_cli.stores.qdrant_http import QdrantHttp
from aeterna_cli.stores.qdrant_mover import QdrantMover
from aeterna_cli.stores.qdrant_mover_end import QdrantEnd
from aeterna_cli.stores.qdrant_mover_keys import KeyTransfer, refuse_version
from aeterna_cli.stores.qdrant_mover_prepare import (
    collection_facts,
    drop_empty_collection,
    drop_index,
    make_target,
    refuse_other_indexes,
    refuse_other_vectors,
    wanted_indexes,
)
from tests.integration.lab.qdrant_process import Server
from tests.integration.stores import moving
from tests.integration.stores.moving import SOURCE, TARGET, TENANT

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.integration

KEYS = ("shared", "acme")


@pytest.fixture(scope="module")
def one() -> Iterator[Server]:
    with moving.served("1.17.1") as server:
        yield server


@pytest.fixture(scope="module")
def alone() -> Iterator[Server]:
    with moving.served("1.17.1", "--standalone") as server:
        yield server


@pytest.fixture
def qdrant(one: Server) -> Server:
    """A collection of custom keys: the tenant's 250 points and another's under one of them."""
    one.clean()
    moving.collection(one, SOURCE, sharding_method="custom")
    one.ask("PUT", f"/collections/{SOURCE}/shards", {"shard_key": KEYS[0]})
    points = [moving.point(n, 1) for n in range(250)]
    points += [moving.point(n, 1, moving.OTHER) for n in range(1000, 1050)]
    body = {"points": points, "shard_key": KEYS[0]}
    one.ask("PUT", f"/collections/{SOURCE}/points?wait=true", body)
    return one


def ends(server: Server) -> tuple[QdrantEnd, QdrantEnd]:
    first, second = (
        QdrantEnd(
            moving.settings(server),
            moving.place(SOURCE, key),
            TENANT,
            pace=Pace(page=50, scan_page=90),
        )
        for key in KEYS
    )
    return first, second


@pytest.fixture
def transfer(qdrant: Server) -> Iterator[KeyTransfer]:
    two = ends(qdrant)
    yield KeyTransfer(*two)
    for end in two:
        end.close()


def keys(server: Server) -> dict[Any, str]:
    return dict(server.shards(SOURCE).values())


def test_the_tenant_gets_a_key_of_its_own_while_the_application_writes(
    qdrant: Server, transfer: KeyTransfer
) -> None:
    made: list[tuple[str, str]] = []
    written: list[int] = []
    over = threading.Event()

    def write() -> None:
        with qdrant.client() as http:
            number = 2000
            while not over.is_set():
                number += 1
                body = {
                    "points": [moving.point(number, 1), moving.point(number % 200, 2)],
                    "shard_key": {"target": KEYS[1], "fallback": KEYS[0]},
                }
                path = f"/collections/{SOURCE}/points?wait=true"
                assert http.put(path, json=body).status_code == 200
                written.append(number)

    transfer.refuse_unable()
    transfer.prepare(lambda kind, name: made.append((kind, name)))
    assert made == [("shard_key", KEYS[1])]
    assert keys(qdrant) == {KEYS[0]: "Active", KEYS[1]: "Partial"}
    writer = threading.Thread(target=write)
    writer.start()
    looks: list[str] = []
    transfer.start()
    transfer.start()  # as after a crash
    transfer.wait(looks.append, 60)
    over.set()
    writer.join()
    assert written
    assert keys(qdrant)[KEYS[1]] == "Active"
    assert any("Transferring" in one for one in looks)
    one, other = ends(qdrant)
    mover = QdrantMover(one, other, "versions")
    # Writes after the switch are in the new key only: from there the old one is the copy.
    found = set(qdrant.ids(SOURCE, shard_key=KEYS[1]))
    assert found == {*range(250), *written}
    assert mover.remove("source") > 0
    assert mover.count("source") == 0
    assert mover.count("target") == 250 + len(written)
    mover.close()
    assert qdrant.count(SOURCE, shard_key=KEYS[0]) == 50  # the other tenant's


def test_a_transfer_that_died_is_an_error_and_starts_again(
    qdrant: Server, transfer: KeyTransfer
) -> None:
    transfer.prepare(lambda *_: None)
    transfer.start()
    (number,) = [n for n, (key, _) in qdrant.shards(SOURCE).items() if key == KEYS[1]]
    transfer.abort()
    assert keys(qdrant)[KEYS[1]] == "Dead"
    with pytest.raises(FailedError) as caught:
        transfer.wait(lambda _: None, 60)
    assert caught.value.code == "transfer_failed"
    transfer.prepare(lambda *_: None)
    assert keys(qdrant)[KEYS[1]] == "Partial"
    path = f"/collections/{SOURCE}/shards/{number}/points/count"
    assert qdrant.ask("POST", path, {}) == {"count": 0}
    transfer.start()
    transfer.wait(lambda _: None, 60)
    assert qdrant.count(SOURCE, shard_key=KEYS[1]) == 250
    transfer.drop()
    transfer.drop()
    assert keys(qdrant) == {KEYS[0]: "Active"}


def test_a_key_that_vanished_is_an_error(qdrant: Server, transfer: KeyTransfer) -> None:
    with pytest.raises(FailedError) as caught:
        transfer.wait(lambda _: None, 60)
    assert caught.value.code == "transfer_failed"


def test_without_cluster_mode_it_is_refused_with_the_reason(alone: Server) -> None:
    alone.clean()
    moving.collection(alone, SOURCE)
    one, other = ends(alone)
    transfer = KeyTransfer(one, other)
    for call in (transfer.refuse_unable, lambda: transfer.prepare(lambda *_: None)):
        with pytest.raises(RefusedError) as caught:
            call()
        assert caught.value.code == "cluster_mode_needed"
    one.close()
    other.close()


def test_a_key_of_several_shards_cannot_be_moved_from(qdrant: Server) -> None:
    qdrant.ask("PUT", f"/collections/{SOURCE}/shards", {"shard_key": "wide", "shards_number": 2})
    one, other = ends(qdrant)
    one.place = moving.place(SOURCE, "wide")
    with pytest.raises(RefusedError) as caught:
        KeyTransfer(one, other).refuse_unable()
    assert caught.value.code == "shard_key_layout"
    one.close()
    other.close()


@pytest.mark.parametrize(
    ("version", "allowed", "code"),
    [
        ((1, 15, 5), True, "qdrant_too_old"),
        ((1, 12, 4), False, "qdrant_too_old"),
        ((1, 16, 3), False, "qdrant_transfer_unsafe"),
        ((1, 16, 3), True, None),
        ((1, 17, 0), False, None),
    ],
)
def test_versions_that_lose_updates_are_refused(
    version: tuple[int, ...], allowed: bool, code: str | None
) -> None:
    if code is None:
        refuse_version(version, allowed=allowed)
        return
    with pytest.raises(RefusedError) as caught:
        refuse_version(version, allowed=allowed)
    assert caught.value.code == code


# Making the target


def test_the_target_is_made_like_the_source_with_what_the_move_filters_by(one: Server) -> None:
    one.clean()
    one.ask("PUT", f"/collections/{SOURCE}", moving.VECTORS)
    body = {"field_name": "layer", "field_schema": "keyword"}
    one.ask("PUT", f"/collections/{SOURCE}/index?wait=true", body)
    settings, made = moving.settings(one), []
    facts = one.ask("GET", f"/collections/{SOURCE}")
    wanted = wanted_indexes(facts["payload_schema"], "tenant_id", 1.5)
    for _ in range(2):
        make_target(settings, TARGET, facts["config"], wanted, lambda *what: made.append(what))
    assert made == [
        ("collection", TARGET),
        *(("index", name) for name in ("layer", "tenant_id", "updated_at", "version")),
    ]
    found = one.ask("GET", f"/collections/{TARGET}")
    assert found["config"]["params"] == facts["config"]["params"]
    assert found["payload_schema"]["tenant_id"]["params"]["is_tenant"] is True
    assert found["payload_schema"]["version"]["data_type"] == "integer"
    assert found["payload_schema"]["updated_at"]["data_type"] == "float"
    drop_index(settings, TARGET, "layer")
    assert "layer" not in one.ask("GET", f"/collections/{TARGET}")["payload_schema"]
    moving.fill(one, TARGET, [1])
    assert not drop_empty_collection(settings, TARGET)
    one.ask("POST", f"/collections/{TARGET}/points/delete?wait=true", {"points": [1]})
    assert drop_empty_collection(settings, TARGET)
    assert drop_empty_collection(settings, TARGET)
    drop_index(settings, TARGET, "layer")
    http = QdrantHttp(settings)
    assert collection_facts(http, TARGET) is None
    http.close()


@pytest.mark.parametrize(
    "vectors",
    [
        {"size": 9, "distance": "Cosine"},
        {"size": moving.SIZE, "distance": "Dot"},
        {"size": moving.SIZE, "distance": "Cosine", "datatype": "float16"},
        {"a": {"size": moving.SIZE, "distance": "Cosine"}},
    ],
)
def test_other_vectors_are_refused(vectors: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        refuse_other_vectors({"params": moving.VECTORS}, {"params": {"vectors": vectors}})
    assert caught.value.code == "vectors_differ"


def test_an_index_of_another_type_is_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        refuse_other_indexes({"version": {"data_type": "keyword"}}, {"version": "integer"})
    assert caught.value.code == "payload_index_differs"
