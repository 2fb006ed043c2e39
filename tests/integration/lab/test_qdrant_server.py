"""The lab's Qdrant: durable, strict, and with the traps of the real server."""

import hashlib
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.lab.qdrant_process import DENSE, Server, TransportError, running

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.integration

CUSTOM = {**DENSE, "sharding_method": "custom"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("qdrant") / "one", "--allow-faults") as server:
        yield server


@pytest.fixture
def qdrant(shared: Server) -> Server:
    """The shared server, empty and without faults."""
    shared.clean()
    return shared


def keyed(server: Server, *keys: Any) -> None:
    server.ask("PUT", "/collections/c", CUSTOM)
    for key in keys:
        server.ask("PUT", "/collections/c/shards", {"shard_key": key})


# Durability


def test_kill_9_loses_no_acknowledged_point(tmp_path: Path) -> None:
    with running(tmp_path / "q") as server:
        server.ask("PUT", "/collections/c", {**DENSE, "shard_number": 2})
        acknowledged = [0]

        def write() -> None:
            with server.client() as http:
                for first in range(0, 1_000_000, 50):
                    points = [{"id": n, "vector": [n, 1, 1, 1]} for n in range(first, first + 50)]
                    try:
                        http.put("/collections/c/points?wait=true", json={"points": points})
                    except TransportError:
                        return
                    acknowledged[0] = first + 50

        writer = threading.Thread(target=write)
        writer.start()
        while acknowledged[0] < 1000:
            assert writer.is_alive()
        server.kill()
        writer.join()
        server.start()
        found = server.ids("c", limit=1000, with_payload=False)
    assert set(range(acknowledged[0])) <= set(found)
    assert len(found) == len(set(found)) <= acknowledged[0] + 50


def test_kill_9_loses_no_acknowledged_change_of_a_point_either(tmp_path: Path) -> None:
    """Acknowledged is in the engine's log, whatever of it the files have already."""
    with running(tmp_path / "q") as server:
        server.ask("PUT", "/collections/c", DENSE)
        server.upsert("c", range(20))
        server.ask("POST", "/collections/c/points/delete?wait=true", {"points": [3, 4]})
        body = {"payload": {"t": "changed"}, "points": [5]}
        server.ask("POST", "/collections/c/points/payload?wait=true", body)
        server.kill()
        server.start()
        assert server.ids("c") == [n for n in range(20) if n not in (3, 4)]
        assert server.ids("c", filter={"must": [{"key": "t", "match": {"value": "changed"}}]}) == [
            5
        ]


def test_everything_but_points_survives_a_crash_too(tmp_path: Path) -> None:
    with running(tmp_path / "q") as server:
        server.ask("PUT", "/collections/c", CUSTOM)
        index = {"field_name": "t", "field_schema": {"type": "keyword", "is_tenant": True}}
        server.ask("PUT", "/collections/c/index?wait=true", index)
        for key in ("a", 7):
            body = {"shard_key": key, "shards_number": 2}
            server.ask("PUT", "/collections/c/shards", body)
        alias = {"create_alias": {"collection_name": "c", "alias_name": "now"}}
        server.ask("POST", "/collections/aliases", {"actions": [alias]})
        server.upsert("c", range(20), 7)
        server.ask(
            "POST", "/collections/c/points/delete?wait=true", {"points": [3], "shard_key": 7}
        )
        asked = ("/collections/c", "/collections/c/cluster", "/aliases", "/cluster")
        before = [server.ask("GET", path) for path in asked]
        server.kill()
        server.start()
        after = [server.ask("GET", path) for path in asked]
        for one in (before[3], after[3]):
            del one["consensus_thread_status"]
        assert after == before
        assert server.ids("now", filter={"must": [{"key": "t", "match": {"value": "a"}}]}) == [
            n for n in range(20) if n != 3
        ]
        server.upsert("c", [5], 7)
        assert server.count("c") == 19


def test_sigterm_applies_what_was_only_acknowledged(tmp_path: Path) -> None:
    with running(tmp_path / "q") as server:
        server.ask("PUT", "/collections/c", DENSE)
        body = {"points": [{"id": 1, "vector": [1, 2, 3, 4]}]}
        result = server.ask("PUT", "/collections/c/points", body)
        assert result["status"] == "acknowledged"
        assert server.count("c") == 0, "without wait=true a point is not there at once"
        assert server.stop() == 0
        server.start()
        assert server.count("c") == 1


def test_a_second_server_on_the_data_is_refused(qdrant: Server) -> None:
    process = qdrant.launch()
    assert process.wait(timeout=30) == 3
    assert "lab_qdrant_in_use" in qdrant.log.read_text()


def test_a_deferred_update_comes_before_a_later_one(qdrant: Server) -> None:
    qdrant.ask("PUT", "/collections/c", DENSE)
    late = {"points": [{"id": 1, "vector": [1, 1, 1, 1], "payload": {"n": "late"}}]}
    qdrant.ask("PUT", "/collections/c/points", late)
    qdrant.upsert("c", [1])
    page = qdrant.ask("POST", "/collections/c/points/scroll", {})
    assert page["points"][0]["payload"]["n"] == 1


# Identity and access


def test_the_emulation_says_what_it_is(qdrant: Server) -> None:
    answer = qdrant.http.get("/")
    assert answer.json()["title"] == "qdrant - vector search engine"
    assert answer.json()["version"] == "1.17.1"
    assert answer.headers["x-aeterna-lab"] == "qdrant-edge"
    assert qdrant.ask("GET", "/telemetry")["app"]["lab"]


def test_keys(tmp_path: Path) -> None:
    files = {"--api-key-file": "full", "--read-only-api-key-file": "reader"}
    words: list[str] = []
    for option, key in files.items():
        (tmp_path / key).write_text(f"{key}\n")
        words += [option, str(tmp_path / key)]
    with running(tmp_path / "q", *words) as server:
        headers = {name: {"api-key": name} for name in ("full", "reader", "wrong")}

        def status(method: str, path: str, who: dict[str, str] | None, body: Any = None) -> int:
            return server.http.request(method, path, headers=who, json=body).status_code

        assert status("GET", "/", None) == status("GET", "/healthz", None) == 200
        assert status("GET", "/collections", None) == 401
        assert status("GET", "/collections", headers["wrong"]) == 401
        assert status("GET", "/collections", {"authorization": "Bearer full"}) == 200
        assert status("PUT", "/collections/c", headers["reader"], DENSE) == 403
        assert status("PUT", "/collections/c", headers["full"], DENSE) == 200
        assert status("POST", "/collections/c/points/count", headers["reader"], {}) == 200
        assert status("GET", "/collections/c/shards/0/snapshot", headers["reader"]) == 403
        assert status("POST", "/lab/faults", headers["full"], {}) == 404


def test_bodies_that_the_server_would_not_take(qdrant: Server) -> None:
    qdrant.ask("PUT", "/collections/c", DENSE)
    url = "/collections/c/points?wait=true"
    for content, kind in ((b"{", "application/json"), (b"{}", "text/plain"), (b"[]", None)):
        headers = {"content-type": kind or "application/json"}
        assert qdrant.http.put(url, content=content, headers=headers).status_code == 400
    large = b'{"points": "' + b"x" * (32 << 20) + b'"}'
    answer = qdrant.http.put(url, content=large, headers={"content-type": "application/json"})
    assert "larger than allowed" in answer.json()["status"]["error"]
    wrong = {"points": [{"id": 1, "vector": [1, 2]}]}
    assert "dimension" in qdrant.ask("PUT", url, wrong, 400)
    missing = {"payload": {"n": 1}, "points": [99]}
    assert "No point with id 99" in qdrant.ask(
        "POST", "/collections/c/points/payload?wait=true", missing, 404
    )
    assert qdrant.count("c") == 0


# Shards, keys, aliases


def test_points_of_several_shards_are_found_again(qdrant: Server) -> None:
    qdrant.ask("PUT", "/collections/c", {**DENSE, "shard_number": 3})
    qdrant.upsert("c", range(40))
    qdrant.upsert("c", range(0, 40, 2))
    assert qdrant.ids("c") == list(range(40))
    assert all(
        qdrant.ask("POST", f"/collections/c/shards/{one}/points/count", {})["count"]
        for one in range(3)
    )
    qdrant.ask("POST", "/collections/c/points/delete?wait=true", {"points": list(range(30))})
    assert qdrant.ids("c") == list(range(30, 40))
    found = qdrant.ask("POST", "/collections/c/points", {"ids": [39, 1, 30]})
    assert [point["id"] for point in found] == [39, 30]
    result = qdrant.ask("POST", "/collections/c/points/query", {"query": [35, 1, 2, 3], "limit": 3})
    assert len(result["points"]) == 3


def test_custom_keys_must_be_named_to_write(qdrant: Server) -> None:
    keyed(qdrant, "a", 7)
    assert "Shard key not specified" in qdrant.upsert("c", [1], status=400)
    for key in ("a", 7):
        qdrant.upsert("c", range(10), key)
    assert qdrant.upsert("c", [1], "b", 400)
    assert qdrant.count("c") == 20, "a count does not see that the points are the same"
    assert qdrant.ids("c") == list(range(10))
    everything = {"filter": {"must": [{"key": "t", "match": {"value": "a"}}]}}
    path = "/collections/c/points/delete?wait=true"
    assert "Shard key not specified" in qdrant.ask("POST", path, everything, 400)
    qdrant.ask("POST", path, {**everything, "shard_key": ["a", 7]})
    assert qdrant.count("c") == 0


def test_new_shard_ids_follow_the_highest(qdrant: Server) -> None:
    keyed(qdrant, "a", "b")
    qdrant.ask("POST", "/collections/c/shards/delete", {"shard_key": "a"})
    qdrant.ask("PUT", "/collections/c/shards", {"shard_key": "d", "shards_number": 2})
    assert qdrant.shards("c") == {1: ("b", "Active"), 2: ("d", "Active"), 3: ("d", "Active")}
    assert qdrant.ask("PUT", "/collections/c/shards", {"shard_key": "d"}, 400)
    assert qdrant.ask("POST", "/collections/c/shards/delete", {"shard_key": "a"}, 400)


def test_alias_changes_stop_at_a_fault_and_keep_what_was_done(qdrant: Server) -> None:
    qdrant.ask("PUT", "/collections/c", DENSE)

    def create(alias: str, name: str) -> dict[str, Any]:
        return {"create_alias": {"alias_name": alias, "collection_name": name}}

    actions = [create("one", "c"), create("two", "missing"), create("three", "c")]
    qdrant.ask("POST", "/collections/aliases", {"actions": actions}, 404)
    assert [one["alias_name"] for one in qdrant.ask("GET", "/aliases")["aliases"]] == ["one"]
    qdrant.ask("DELETE", "/collections/c")
    assert qdrant.ask("GET", "/aliases")["aliases"] == []


def test_strict_mode_refuses_an_unindexed_delete(qdrant: Server) -> None:
    strict = {"enabled": True, "unindexed_filtering_update": False}
    qdrant.ask("PUT", "/collections/c", {**DENSE, "strict_mode_config": strict})
    qdrant.upsert("c", range(3))
    path = "/collections/c/points/delete?wait=true"
    body = {"filter": {"must": [{"key": "t", "match": {"value": "a"}}]}}
    assert "Index required" in qdrant.ask("POST", path, body, 400)
    index = {"field_name": "t", "field_schema": "keyword"}
    qdrant.ask("PUT", "/collections/c/index?wait=true", index)
    qdrant.ask("POST", path, body)
    assert qdrant.count("c") == 0


# Moving points between keys


def test_points_are_replicated_while_they_change(qdrant: Server) -> None:
    keyed(qdrant, "shared")
    qdrant.upsert("c", range(600), "shared")
    body = {"shard_key": "t", "initial_state": "Partial"}
    qdrant.ask("PUT", "/collections/c/shards", body)
    assert "at least one `Active` replica" in qdrant.upsert("c", [9000], "t", 500)
    points = {"from_shard_key": "shared", "to_shard_key": "t"}
    selected = {"must": [{"key": "n", "range": {"gte": 0, "lt": 500}}]}
    request = {"replicate_points": {**points, "filter": selected}}
    qdrant.ask("POST", "/collections/c/cluster", request)
    both = {"target": "t", "fallback": "shared"}
    qdrant.upsert("c", [-1 + 500, 499], both)
    gone = {"points": [0, 450], "shard_key": both}
    qdrant.ask("POST", "/collections/c/points/delete?wait=true", gone)
    while qdrant.ask("GET", "/collections/c/cluster")["shard_transfers"]:
        time.sleep(0.01)
    assert qdrant.shards("c")[1] == ("t", "Active")
    moved = {*range(1, 500)} - {450} | {9000}
    assert set(qdrant.ids("c", shard_key="t", limit=500)) == moved


def test_an_aborted_replication_is_dead(qdrant: Server) -> None:
    keyed(qdrant, "shared", "t")
    qdrant.upsert("c", range(600), "shared")
    points = {"from_shard_key": "shared", "to_shard_key": "t"}
    qdrant.ask("POST", "/collections/c/cluster", {"replicate_points": points})
    abort = {"shard_id": 0, "from_peer_id": 1, "to_peer_id": 1}
    qdrant.ask("POST", "/collections/c/cluster", {"abort_transfer": abort}, 404)
    abort["to_shard_id"] = 1
    qdrant.ask("POST", "/collections/c/cluster", {"abort_transfer": abort})
    assert qdrant.shards("c") == {0: ("shared", "Active"), 1: ("t", "Dead")}
    assert qdrant.upsert("c", [1], "t", 500)
    assert qdrant.ask("POST", "/collections/c/points/scroll", {"shard_key": "t"}, 503)
    assert qdrant.count("c") == 600, "a dead replica is no longer read"


# Another client


def test_the_official_client_works(qdrant: Server) -> None:
    from qdrant_client import QdrantClient, models

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        client = QdrantClient(port=qdrant.port, host="127.0.0.1", check_compatibility=False)
        client.create_collection(
            "c",
            {"text": models.VectorParams(size=4, distance=models.Distance.COSINE)},
            sharding_method=models.ShardingMethod.CUSTOM,
        )
        client.create_shard_key("c", "k")
        client.create_payload_index("c", "t", models.PayloadSchemaType.KEYWORD)
        point = models.PointStruct(id=1, vector={"text": [1.0, 2.0, 3.0, 4.0]}, payload={"t": "x"})
        client.upsert("c", [point], shard_key_selector="k")
        hits = client.query_points(
            "c", [1.0, 2.0, 3.0, 4.0], using="text", limit=1, with_payload=True
        )
        assert hits.points[0].payload == {"t": "x"}
        assert client.get_collection("c").payload_schema["t"].points == 1
        assert client.collection_cluster_info("c").local_shards[0].shard_key == "k"
        made = client.create_shard_snapshot("c", 0)
        assert made is not None
        assert [one.name for one in client.list_shard_snapshots("c", 0)] == [made.name]
        client.close()


def test_a_signal_during_start_ends_it(tmp_path: Path) -> None:
    server = Server(tmp_path / "q")
    process = server.launch()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) in (0, -signal.SIGTERM)
    server.close()


def test_checksums_are_of_the_file(qdrant: Server) -> None:
    qdrant.ask("PUT", "/collections/c", DENSE)
    made = qdrant.ask("POST", "/collections/c/shards/0/snapshots")
    content = qdrant.http.get(f"/collections/c/shards/0/snapshots/{made['name']}").content
    assert (made["size"], made["checksum"]) == (len(content), hashlib.sha256(content).hexdigest())
