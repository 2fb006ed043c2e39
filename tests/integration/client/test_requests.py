"""The second request of a dual write on the lab's Qdrant: what is older never covers the newer."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from aeterna_cli.client import PointsPlace
from aeterna_cli.client.requests import (
    conditional_delete,
    conditional_deletes,
    conditional_upserts,
    shard_key_selector,
)
from tests.integration.stores.qdrant_server import API_KEY, LabQdrant, lab_qdrant

pytestmark = pytest.mark.integration
PLAIN = PointsPlace("dedicated-1", "dedicated")
KEYED = PointsPlace("keyed", "keyed", "large", "default")


def call(server: LabQdrant, method: str, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}{path}", json.dumps(body).encode(), method=method,
        headers={"api-key": API_KEY, "content-type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  # our own server
        return json.load(answer)["result"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabQdrant]:
    with lab_qdrant(tmp_path_factory.mktemp("qdrant"), "1.17.1") as made:
        vectors = {"vectors": {"size": 2, "distance": "Dot"}}
        call(made, "PUT", "/collections/dedicated", vectors)
        call(made, "PUT", "/collections/keyed", {**vectors, "sharding_method": "custom"})
        for key in ("default", "large"):
            call(made, "PUT", "/collections/keyed/shards", {"shard_key": key})
        yield made


def point(number: int, version: int) -> dict[str, Any]:
    return {"id": number, "vector": [version, 1], "payload": {"version": version, "t": "x"}}


def versions(server: LabQdrant, place: PointsPlace) -> dict[int, int]:
    body = {"limit": 100, "with_payload": True, **shard_key_selector(place)}
    found = call(server, "POST", f"/collections/{place.collection}/points/scroll", body)
    return {one["id"]: one["payload"]["version"] for one in found["points"]}


def upsert(server: LabQdrant, place: PointsPlace, *points: dict[str, Any]) -> None:
    path = f"/collections/{place.collection}/points/batch?wait=true"
    call(server, "POST", path, conditional_upserts(place, points))


@pytest.mark.parametrize("place", [PLAIN, KEYED], ids=["collection", "shard key"])
def test_each_point_is_written_where_none_is_or_an_older_one(
    server: LabQdrant, place: PointsPlace
) -> None:
    upsert(server, place, point(1, 5), point(2, 5), point(3, 5))
    upsert(server, place, point(1, 4), point(2, 6), point(3, 5), point(4, 1))
    assert versions(server, place) == {1: 5, 2: 6, 3: 5, 4: 1}


@pytest.mark.parametrize("place", [PLAIN, KEYED], ids=["collection", "shard key"])
def test_a_deletion_leaves_what_is_newer(server: LabQdrant, place: PointsPlace) -> None:
    upsert(server, place, point(11, 5), point(12, 5), point(13, 5))
    path = f"/collections/{place.collection}/points"
    call(server, "POST", f"{path}/delete?wait=true", conditional_delete(place, 11, 4))
    call(server, "POST", f"{path}/delete?wait=true", conditional_delete(place, 12, 5))
    body = conditional_deletes(place, {11: 4, 13: 6, 99: 1})
    call(server, "POST", f"{path}/batch?wait=true", body)
    found = versions(server, place)
    assert {number: found.get(number) for number in (11, 12, 13)} == {11: 5, 12: None, 13: None}


def test_a_version_that_the_server_could_not_compare_is_refused() -> None:
    for version in (-1, 2**53 + 1, 1.5, True, None, "7"):
        with pytest.raises(ValueError, match="version"):
            conditional_upserts(PLAIN, [{"id": 1, "vector": [], "payload": {"version": version}}])
        with pytest.raises(ValueError, match="version"):
            conditional_delete(PLAIN, 1, version)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="version"):
        conditional_upserts(PLAIN, [{"id": 1, "vector": []}])
    assert conditional_upserts(PLAIN, [{"id": 1, "payload": {"v": 2**53}}], version_field="v")
