"""Snapshots of the lab's Qdrant: what comes back, what does not, and the faults on the way."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.lab.qdrant_process import DENSE, Server, TransportError, running

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.integration

CUSTOM = {**DENSE, "sharding_method": "custom"}
SHARD = "/collections/c/shards/0"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("qdrant") / "one", "--allow-faults") as server:
        yield server


@pytest.fixture
def qdrant(shared: Server) -> Server:
    shared.clean()
    return shared


def filled(server: Server, count: int = 20) -> None:
    server.ask("PUT", "/collections/c", DENSE)
    index = {"field_name": "t", "field_schema": "keyword"}
    server.ask("PUT", "/collections/c/index?wait=true", index)
    server.upsert("c", range(count))


def uploaded(server: Server, content: bytes, path: str = SHARD, **query: str) -> int:
    return server.upload(path, content, **query).status_code


def test_a_stream_has_the_log_and_no_length(qdrant: Server) -> None:
    filled(qdrant)
    answer = qdrant.http.get(f"{SHARD}/snapshot")
    assert "content-length" not in answer.headers
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        names = archive.getnames()
    assert any(name.startswith("wal/") for name in names)
    assert any("/files/" in name and name.startswith("segments/") for name in names)


def test_a_shard_comes_back_and_takes_updates(qdrant: Server) -> None:
    """A snapshot without its log would swallow updates of points that are already there."""
    filled(qdrant)
    content = qdrant.stream("c", 0)
    checksum = hashlib.sha256(content).hexdigest()
    qdrant.ask("DELETE", "/collections/c")
    filled(qdrant, 3)
    assert uploaded(qdrant, content, priority="snapshot", checksum=checksum) == 200
    assert qdrant.ids("c") == list(range(20))
    body = {"payload": {"t": "b"}, "points": [5]}
    qdrant.ask("POST", "/collections/c/points/payload?wait=true", body)
    qdrant.ask("POST", "/collections/c/points/delete?wait=true", {"points": [6]})
    changed = {"must": [{"key": "t", "match": {"value": "b"}}]}
    assert qdrant.ids("c", filter=changed) == [5]
    assert qdrant.count("c") == 19


def test_a_restored_shard_survives_a_crash(tmp_path: Path) -> None:
    with running(tmp_path / "q") as server:
        filled(server)
        content = server.stream("c", 0)
        server.ask("POST", "/collections/c/points/delete?wait=true", {"points": [1, 2]})
        assert uploaded(server, content) == 200
        server.upsert("c", [100])
        server.kill()
        server.start()
        assert server.ids("c") == [*range(20), 100]
        assert len(list((server.data / "collections" / "c" / "shards").iterdir())) == 1


def test_a_bad_upload_changes_nothing(qdrant: Server) -> None:
    filled(qdrant)
    content = qdrant.stream("c", 0)
    qdrant.upsert("c", [50])
    before = qdrant.ids("c")
    assert uploaded(qdrant, content[: len(content) // 2]) == 500
    assert uploaded(qdrant, b"not an archive") == 500
    assert uploaded(qdrant, content, checksum="0" * 64) == 400
    assert uploaded(qdrant, content, checksum="abc") == 422
    assert uploaded(qdrant, content, priority="newest") == 400
    assert uploaded(qdrant, content, "/collections/c/shards/7") == 404
    assert uploaded(qdrant, content, "/collections/d/shards/0") == 404
    assert qdrant.http.post(f"{SHARD}/snapshots/upload", json={}).status_code == 400
    assert qdrant.ids("c") == before


def test_a_shard_takes_the_snapshot_of_another_size(qdrant: Server) -> None:
    """The real server compares nothing: who restores must."""
    filled(qdrant)
    content = qdrant.stream("c", 0)
    other = {"vectors": {"size": 3, "distance": "Dot"}}
    qdrant.ask("PUT", "/collections/d", other)
    assert uploaded(qdrant, content, "/collections/d/shards/0") == 200
    assert qdrant.ask("GET", "/collections/d")["config"]["params"]["vectors"] == other["vectors"]
    body = {"points": [{"id": 1, "vector": [1, 2, 3]}]}
    assert "dimension" in qdrant.ask("PUT", "/collections/d/points?wait=true", body, 400)


def test_a_custom_collection_recovers_nothing_and_says_true(qdrant: Server) -> None:
    qdrant.ask("PUT", "/collections/c", CUSTOM)
    qdrant.ask("PUT", "/collections/c/shards", {"shard_key": "a"})
    qdrant.upsert("c", range(5), "a")
    made = qdrant.ask("POST", "/collections/c/snapshots")
    content = qdrant.http.get(f"/collections/c/snapshots/{made['name']}").content
    qdrant.ask("DELETE", "/collections/c")
    answer = qdrant.upload("/collections/c", content, priority="snapshot")
    assert answer.json()["result"] is True
    assert qdrant.shards("c") == {}
    assert qdrant.count("c") == 0


def test_a_collection_recovers_its_shards_but_no_alias(qdrant: Server) -> None:
    qdrant.ask("PUT", "/collections/c", {**DENSE, "shard_number": 2})
    qdrant.upsert("c", range(30))
    alias = {"create_alias": {"collection_name": "c", "alias_name": "now"}}
    qdrant.ask("POST", "/collections/aliases", {"actions": [alias]})
    made = qdrant.ask("POST", "/collections/c/snapshots")
    content = qdrant.http.get(f"/collections/c/snapshots/{made['name']}").content
    qdrant.ask("DELETE", "/collections/c")
    assert qdrant.upload("/collections/c", content).status_code == 200
    assert qdrant.ids("c") == list(range(30))
    assert qdrant.ask("GET", "/aliases")["aliases"] == []
    for shards in (1, 3):
        qdrant.ask("PUT", f"/collections/d{shards}", {**DENSE, "shard_number": shards})
        assert qdrant.upload(f"/collections/d{shards}", content).status_code == 400


def test_a_shard_that_the_snapshot_lacks_stays_partial(qdrant: Server) -> None:
    qdrant.ask("PUT", "/collections/c", CUSTOM)
    qdrant.ask("PUT", "/collections/c/shards", {"shard_key": "a"})
    made = qdrant.ask("POST", "/collections/c/snapshots")
    content = qdrant.http.get(f"/collections/c/snapshots/{made['name']}").content
    qdrant.ask("PUT", "/collections/c/shards", {"shard_key": "b"})
    assert qdrant.upload("/collections/c", content).status_code == 200
    assert qdrant.shards("c") == {0: ("a", "Active"), 1: ("b", "Partial")}


def test_a_stored_snapshot_is_listed_downloaded_in_parts_recovered_and_deleted(
    qdrant: Server,
) -> None:
    filled(qdrant)
    made = qdrant.ask("POST", f"{SHARD}/snapshots")
    assert qdrant.ask("GET", f"{SHARD}/snapshots") == [made]
    url = f"{SHARD}/snapshots/{made['name']}"
    tail = qdrant.http.get(url, headers={"range": f"bytes={made['size'] - 10}-"})
    assert (tail.status_code, len(tail.content)) == (206, 10)
    qdrant.upsert("c", [77])
    body = {"location": made["name"], "checksum": made["checksum"]}
    qdrant.ask("PUT", f"{SHARD}/snapshots/recover", body)
    assert qdrant.ids("c") == list(range(20))
    qdrant.ask("PUT", f"{SHARD}/snapshots/recover", {"location": "file:///etc/hosts"}, 400)
    qdrant.ask("PUT", f"{SHARD}/snapshots/recover", {"location": "../x.snapshot"}, 404)
    qdrant.ask("DELETE", url)
    qdrant.ask("GET", url, status=404)
    assert qdrant.ask("GET", f"{SHARD}/snapshots") == []


def test_a_snapshot_over_http_and_the_background(qdrant: Server) -> None:
    filled(qdrant)
    made = qdrant.ask("POST", f"{SHARD}/snapshots")
    url = f"http://127.0.0.1:{qdrant.port}{SHARD}/snapshots/{made['name']}"
    qdrant.upsert("c", [77])
    path = f"{SHARD}/snapshots/recover?wait=false"
    answer = qdrant.http.put(path, json={"location": url, "checksum": "0" * 64})
    assert answer.status_code == 202, "the fault is only in the log"
    qdrant.ask("PUT", f"{SHARD}/snapshots/recover", {"location": url})
    assert qdrant.count("c") == 20


def test_names_have_whole_seconds(qdrant: Server) -> None:
    filled(qdrant)
    names = {qdrant.ask("POST", f"{SHARD}/snapshots")["name"] for _ in range(3)}
    listed = {one["name"] for one in qdrant.ask("GET", f"{SHARD}/snapshots")}
    assert names == listed
    assert all(name.count("-") == 8 for name in names)


# Faults


def fault(server: Server, **switches: Any) -> None:
    server.ask("POST", "/lab/faults", switches)


def test_a_truncated_stream_looks_complete(qdrant: Server) -> None:
    filled(qdrant)
    whole = len(qdrant.stream("c", 0))
    fault(qdrant, snapshot="truncate")
    assert 0 < len(qdrant.stream("c", 0)) < whole * 0.75


def test_a_truncated_download_breaks(qdrant: Server) -> None:
    filled(qdrant)
    made = qdrant.ask("POST", f"{SHARD}/snapshots")
    fault(qdrant, snapshot="truncate")
    with pytest.raises(TransportError):
        qdrant.http.get(f"{SHARD}/snapshots/{made['name']}")


def test_refused_snapshots(qdrant: Server) -> None:
    filled(qdrant)
    fault(qdrant, snapshot="refuse")
    qdrant.ask("POST", f"{SHARD}/snapshots", status=403)
    qdrant.ask("GET", f"{SHARD}/snapshot", status=403)
    assert qdrant.count("c") == 20


def test_an_answer_is_lost_after_the_work(qdrant: Server) -> None:
    filled(qdrant)
    fault(qdrant, every="lost", method="PUT", path="/points", times=1)
    with pytest.raises(TransportError):
        qdrant.upsert("c", [99])
    assert qdrant.count("c") == 21


def test_errors_after_some_requests(qdrant: Server) -> None:
    filled(qdrant)
    fault(qdrant, every="503", path="/points", after=1, times=1)
    assert qdrant.count("c") == 20
    qdrant.ask("POST", "/collections/c/points/count", {}, 503)
    assert qdrant.count("c") == 20
    fault(qdrant, every="429")
    assert qdrant.http.get("/collections").headers["retry-after"] == "1"


def test_a_dead_replica_on_demand(qdrant: Server) -> None:
    filled(qdrant)
    state = {"collection": "c", "shard_id": 0, "state": "Dead"}
    qdrant.ask("POST", "/lab/replica", state)
    qdrant.ask("POST", "/collections/c/points/count", {}, 503)
    assert qdrant.shards("c") == {0: (None, "Dead")}


# Versions


def test_an_old_version_ignores_or_refuses_what_came_later(tmp_path: Path) -> None:
    with running(tmp_path / "q", "--version", "1.15.4") as old:
        old.ask("PUT", "/collections/c", CUSTOM)
        old.ask("PUT", "/collections/c/shards", {"shard_key": "a", "initial_state": "Partial"})
        assert old.shards("c") == {0: ("a", "Active")}
        both = {"target": "a", "fallback": "a"}
        old.upsert("c", [1], both, 400)
        old.upsert("c", [1], "a")
        never: dict[str, Any] = {"must": [{"has_id": []}]}
        point = {"id": 1, "vector": [1, 1, 1, 1], "payload": {"n": "overwritten"}}
        body = {"points": [point], "update_filter": never, "shard_key": "a"}
        old.ask("PUT", "/collections/c/points?wait=true", body)
        page = old.ask("POST", "/collections/c/points/scroll", {})
        assert page["points"][0]["payload"]["n"] == "overwritten"
        points = {"from_shard_key": "a", "to_shard_key": "b"}
        old.ask("POST", "/collections/c/cluster", {"replicate_points": points}, 400)
        assert old.http.get("/collections/c/shards").status_code == 404


def test_conditional_upserts_of_a_newer_version(qdrant: Server) -> None:
    filled(qdrant)
    point = {"id": 1, "vector": [1, 1, 1, 1], "payload": {"n": "changed"}}
    extras: tuple[dict[str, Any], ...] = (
        {"update_filter": {"must": [{"has_id": []}]}},
        {"update_mode": "insert_only"},
    )
    for extra in extras:
        body = {"points": [point], **extra}
        qdrant.ask("PUT", "/collections/c/points?wait=true", body)
    assert qdrant.ask("GET", "/collections/c/points/1")["payload"]["n"] == 1
    assert qdrant.ask("GET", "/collections/c/shards") == {"shard_keys": []}


def test_standalone_has_no_cluster(tmp_path: Path) -> None:
    with running(tmp_path / "q", "--standalone") as server:
        assert server.ask("GET", "/cluster") == {"status": "disabled"}
        server.ask("PUT", "/collections/c", DENSE)
        server.ask("PUT", "/collections/c/shards", {"shard_key": "a"}, 405)
        server.ask("POST", "/collections/c/cluster", {}, 405)
        server.ask("PUT", "/collections/d", CUSTOM, 405)
