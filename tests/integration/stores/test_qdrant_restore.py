"""Bringing collections back: everything a snapshot leaves out, crashes, and the known traps."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.errors import ConflictError, FailedError, RefusedError, RemoteError, TransientError
from aeterna_cli.stores.base.qdrant import CollectionDescription, LiveDigest, ShardKey
from aeterna_cli.stores.qdrant import QdrantServer
from tests.integration.stores.qdrant_server import FaultProxy, LabQdrant, Rule, lab_qdrant

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.integration

CONFIG: dict[str, Any] = {
    "vectors": {
        "text": {"size": 4, "distance": "Cosine"},
        "image": {"size": 3, "distance": "Dot", "datatype": "float16"},
    },
    "sparse_vectors": {"words": {}},
    "sharding_method": "custom",
    "on_disk_payload": True,
    "hnsw_config": {"m": 12, "ef_construct": 77},
    "optimizers_config": {"indexing_threshold": 12345},
    "replication_factor": 1,
}
INDEXES: dict[str, Any] = {
    "tenant_id": {"type": "keyword", "is_tenant": True},
    "version": "integer",
    "updated_at": "datetime",
}


@dataclass
class Backup:
    """A collection as it was: description, shard snapshots by id, digest."""

    description: CollectionDescription
    shards: dict[int, bytes]
    live: LiveDigest

    @property
    def points(self) -> dict[ShardKey | None, int]:
        return {key: digest.points for key, digest in self.live.by_key.items()}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LabQdrant]:
    with lab_qdrant(tmp_path / "qdrant") as server:
        yield server


@pytest.fixture
def qdrant(lab: LabQdrant) -> Iterator[QdrantServer]:
    with lab.client() as client:
        yield client


def call(qdrant: QdrantServer, method: str, path: str, body: Any = None) -> Any:
    return qdrant._http.call(method, path, body, params={"wait": "true"})


def add_key(qdrant: QdrantServer, key: ShardKey, shards: int) -> None:
    body = {"shard_key": key, "shards_number": shards}
    call(qdrant, "PUT", "/collections/memories/shards", body)


def point(number: int, key: ShardKey) -> dict[str, Any]:
    vectors: dict[str, Any] = {"text": [number + 0.1, 0.2, 0.3, -number], "image": [0.1, 0.7, 3.3]}
    if number % 3 == 0:
        vectors["words"] = {"indices": [number + 5, 1], "values": [0.3, 0.1]}
    if number % 5 == 0:
        del vectors["image"]
    payload = {"tenant_id": str(key), "version": number, "nested": {"é": [1.5, None, number / 3]}}
    return {"id": number, "vector": vectors, "payload": payload}


def build(qdrant: QdrantServer) -> Backup:
    """Keys of one and of several shards, with a hole in the shard ids from a dropped key."""
    call(qdrant, "PUT", "/collections/memories", CONFIG)
    for field, schema in INDEXES.items():
        body = {"field_name": field, "field_schema": schema}
        call(qdrant, "PUT", "/collections/memories/index", body)
    for key, shards in (("shared", 1), ("gone", 3), ("wide", 2), (42, 1)):
        add_key(qdrant, key, shards)
    call(qdrant, "POST", "/collections/memories/shards/delete", {"shard_key": "gone"})
    for key in ("shared", "wide", 42):
        points = [point(number, key) for number in range(300)]
        qdrant._http.upsert("memories", {"points": points, "shard_key": key})
    actions = [
        {"create_alias": {"collection_name": "memories", "alias_name": name}}
        for name in ("current", "t-42")
    ]
    call(qdrant, "POST", "/collections/aliases", {"actions": actions})
    return take(qdrant)


def take(qdrant: QdrantServer) -> Backup:
    description = next(one for one in qdrant.describe() if one.name == "memories")
    shards = {}
    for shard in description.shards:
        with qdrant.capture_shard("memories", shard.id) as chunks:
            shards[shard.id] = b"".join(chunks)
    return Backup(description, shards, qdrant.live_digests("memories"))


def upload(qdrant: QdrantServer, backup: Backup) -> None:
    for shard, data in backup.shards.items():
        pieces = (data[at : at + 70_000] for at in range(0, len(data), 70_000))
        qdrant.upload_shard(
            backup.description, shard, pieces, len(data), sha256=hashlib.sha256(data).hexdigest()
        )


def restore(qdrant: QdrantServer, backup: Backup, *, replace: bool = False) -> None:
    qdrant.create_collection(backup.description, replace=replace)
    upload(qdrant, backup)
    qdrant.finish(backup.description, backup.points, timeout=20)
    qdrant.set_aliases(backup.description)


def without_ids(description: CollectionDescription) -> CollectionDescription:
    """Peers differ, and ids of single-shard keys may: nothing is placed by them."""
    shards = tuple(replace(shard, id=0, replicas=()) for shard in description.shards)
    return replace(description, shards=shards)


def test_everything_comes_back_on_another_server(qdrant: QdrantServer, tmp_path: Path) -> None:
    """Trap 4: recovering the collection's own snapshot would restore nothing and say true."""
    backup = build(qdrant)
    assert [shard.key for shard in backup.description.shards] == ["shared", "wide", "wide", 42]
    assert set(backup.description.payload_schema) == set(INDEXES)
    with lab_qdrant(tmp_path / "second") as second, second.client() as other:
        restore(other, backup)
        again = take(other)
    assert again.live == backup.live
    assert without_ids(again.description) == without_ids(backup.description)
    wide = [shard.id for shard in again.description.shards if shard.key == "wide"]
    assert wide == [shard.id for shard in backup.description.shards if shard.key == "wide"]


def test_a_restored_shard_takes_updates(qdrant: QdrantServer) -> None:
    """Trap 1: a shard whose operation counter restarted would ignore them silently."""
    backup = build(qdrant)
    restore(qdrant, backup, replace=True)
    for key in ("shared", "wide", 42):
        changed = {"id": 7, "vector": {"text": [1, 1, 1, 1]}, "payload": {"version": -1}}
        qdrant._http.upsert("memories", {"points": [changed], "shard_key": key})
        gone = {"points": [8], "shard_key": key}
        call(qdrant, "POST", "/collections/memories/points/delete", gone)
        found = {
            line["id"]: line["payload"].get("version")
            for page in _pages(qdrant, key)
            for line in page
        }
        assert found[7] == -1
        assert 8 not in found
        assert len(found) == 299, "an update must not land beside the restored point"


def _pages(qdrant: QdrantServer, key: ShardKey) -> Iterator[list[dict[str, Any]]]:
    from aeterna_cli.stores.qdrant_capture import pages

    return pages(qdrant._http, "memories", key)


def test_an_existing_collection_is_left_alone(qdrant: QdrantServer) -> None:
    backup = build(qdrant)
    with pytest.raises(ConflictError) as caught:
        qdrant.create_collection(backup.description)
    assert caught.value.code == "collection_exists"
    assert qdrant.live_digests("memories") == backup.live


def test_a_name_that_is_an_alias_here_is_refused(qdrant: QdrantServer) -> None:
    backup = build(qdrant)
    with pytest.raises(ConflictError) as caught:
        qdrant.create_collection(replace(backup.description, name="current"), replace=True)
    assert caught.value.code == "collection_name_is_alias"
    assert qdrant.live_digests("memories") == backup.live


def test_a_restore_that_was_killed_is_repeated(lab: LabQdrant, qdrant: QdrantServer) -> None:
    backup = build(qdrant)
    qdrant.create_collection(backup.description, replace=True)
    first, data = next(iter(backup.shards.items()))
    qdrant.upload_shard(backup.description, first, [data], len(data))
    lab.kill()
    lab.start()
    qdrant.close()
    assert qdrant.live_digests("memories") != backup.live
    restore(qdrant, backup, replace=True)
    restore(qdrant, backup, replace=True)
    assert qdrant.live_digests("memories") == backup.live


def test_our_own_collection_is_never_restored(qdrant: QdrantServer) -> None:
    qdrant.ensure_identity()
    (own,) = qdrant.describe()
    with pytest.raises(RefusedError) as caught:
        qdrant.create_collection(own, replace=True)
    assert caught.value.code == "own_collection"
    assert qdrant.identity().identity_key is not None


def test_a_missing_shard_is_noticed_and_no_alias_set(qdrant: QdrantServer) -> None:
    backup = build(qdrant)
    backup.shards.popitem()
    qdrant.create_collection(backup.description, replace=True)
    upload(qdrant, backup)
    with pytest.raises(FailedError) as caught:
        qdrant.finish(backup.description, backup.points, timeout=5)
    assert caught.value.code == "restored_count_differs"
    assert call(qdrant, "GET", "/aliases")["aliases"] == []


def test_a_collection_that_is_not_ready_is_waited_for(lab: LabQdrant, qdrant: QdrantServer) -> None:
    backup = build(qdrant)
    dead = b'{"result": {"status": "red", "optimizer_status": "ok"}, "status": "ok"}'
    rule = Rule("GET /collections/memories$", status=200, body=dead, times=2)
    with FaultProxy(lab.port, [rule]) as proxy, proxy.client() as client:
        client.finish(backup.description, backup.points, timeout=20)
        assert rule.times == 0
        rule.times = 1000
        with pytest.raises(TransientError) as caught:
            client.finish(backup.description, backup.points, timeout=0.5)
    assert caught.value.code == "collection_not_ready"


@pytest.mark.parametrize("change", [-1, 1])
def test_an_image_of_another_size_is_not_uploaded(qdrant: QdrantServer, change: int) -> None:
    backup = build(qdrant)
    shard, data = next(iter(backup.shards.items()))
    with pytest.raises(FailedError) as caught:
        qdrant.upload_shard(backup.description, shard, [data], len(data) + change)
    assert caught.value.code == "upload_size_differs"
    assert qdrant.live_digests("memories") == backup.live


def test_a_damaged_image_is_refused_by_the_server(qdrant: QdrantServer) -> None:
    backup = build(qdrant)
    shard, data = next(iter(backup.shards.items()))
    with pytest.raises(RemoteError) as caught:
        qdrant.upload_shard(backup.description, shard, [data], len(data), sha256="0" * 64)
    assert "checksum" in caught.value.message.lower()
    assert qdrant.live_digests("memories") == backup.live


def test_an_error_of_the_image_stops_the_upload(qdrant: QdrantServer) -> None:
    backup = build(qdrant)
    shard, data = next(iter(backup.shards.items()))
    own = TransientError("body_truncated", "the repository's body ended early")

    def breaking() -> Iterator[bytes]:
        yield data[: len(data) // 2]
        raise own

    with pytest.raises(TransientError) as caught:
        qdrant.upload_shard(backup.description, shard, breaking(), len(data))
    assert caught.value is own
    assert qdrant.live_digests("memories") == backup.live


def test_another_layout_is_refused(qdrant: QdrantServer) -> None:
    backup = build(qdrant)
    narrow = [shard for shard in backup.description.shards if shard.id != 5]
    qdrant.create_collection(replace(backup.description, shards=tuple(narrow)), replace=True)
    wide = next(shard.id for shard in backup.description.shards if shard.key == "wide")
    with pytest.raises(RefusedError) as caught:
        qdrant.upload_shard(backup.description, wide, [b""], 0)
    assert caught.value.code == "shard_layout_differs"


def ids_moved(description: CollectionDescription, step: int) -> CollectionDescription:
    shards = tuple(replace(one, id=one.id * step) for one in description.shards)
    return replace(description, shards=shards)


@pytest.mark.parametrize("step", [2, 90])
def test_ids_that_cannot_come_again_are_refused_before_anything_is_deleted(
    qdrant: QdrantServer, step: int
) -> None:
    backup = build(qdrant)
    with pytest.raises(RefusedError) as caught:
        qdrant.create_collection(ids_moved(backup.description, step), replace=True)
    assert caught.value.code == "shard_ids_differ"
    assert qdrant.live_digests("memories") == backup.live


def test_a_standalone_server_is_refused_before_anything_is_deleted(
    lab: LabQdrant, qdrant: QdrantServer
) -> None:
    backup = build(qdrant)
    rule = Rule("GET /cluster", status=200, body=b'{"result": {"status": "disabled"}}')
    with FaultProxy(lab.port, [rule]) as proxy, proxy.client() as client:
        with pytest.raises(RefusedError) as caught:
            client.create_collection(backup.description, replace=True)
        assert caught.value.code == "cluster_mode_needed"
    assert qdrant.live_digests("memories") == backup.live


def test_an_alias_is_moved_from_another_collection(qdrant: QdrantServer) -> None:
    backup = build(qdrant)
    restore(qdrant, backup, replace=True)
    call(qdrant, "PUT", "/collections/other", {"vectors": {"size": 1, "distance": "Dot"}})
    actions = [
        {"delete_alias": {"alias_name": "current"}},
        {"create_alias": {"collection_name": "other", "alias_name": "current"}},
    ]
    call(qdrant, "POST", "/collections/aliases", {"actions": actions})
    qdrant.set_aliases(backup.description)
    aliases = {one.name: one.aliases for one in qdrant.describe()}
    assert aliases == {"memories": ("current", "t-42"), "other": ()}


def test_strict_mode_is_set_last(qdrant: QdrantServer) -> None:
    """Its limits must not stand in the restore's own way."""
    strict = {"enabled": True, "upsert_max_batchsize": 10}
    call(qdrant, "PUT", "/collections/plain", {"vectors": {"size": 1, "distance": "Dot"}})
    plain = next(one for one in qdrant.describe() if one.name == "plain")
    plain = replace(plain, config={**plain.config, "strict_mode_config": strict})
    qdrant.create_collection(plain, replace=True)
    line = b'{"id": %d, "vector": [1.0], "payload": {}, "shard_key": null}\n'
    assert qdrant.logical_restore("plain", [line % number for number in range(20)]) == 20
    qdrant.finish(plain, {None: 20}, timeout=5)
    (found,) = qdrant.describe()
    assert found.config["strict_mode_config"]["upsert_max_batchsize"] == 10
