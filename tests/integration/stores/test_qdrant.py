"""The driver on the lab's server: identity, marker, description, capture, faults."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from aeterna_cli.errors import (
    AeternaError,
    AuthenticationError,
    RefusedError,
    RemoteError,
    TransientError,
)
from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores.base.qdrant import OPS_COLLECTION, CollectionDescription
from aeterna_cli.stores.qdrant import QdrantServer
from aeterna_cli.stores.qdrant_image import ImageFacts, image_facts, logical_facts
from tests.integration.stores.qdrant_server import (
    API_KEY,
    READ_ONLY_KEY,
    FaultProxy,
    LabQdrant,
    Rule,
    lab_qdrant,
)

pytest.importorskip("qdrant_edge")
pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabQdrant]:
    with lab_qdrant(tmp_path_factory.mktemp("qdrant")) as server:
        yield server


@pytest.fixture
def qdrant(lab: LabQdrant) -> Iterator[QdrantServer]:
    """The server with nothing but our own collection on it."""
    with lab.client() as client:
        for name in client.identity().collections:
            if name != OPS_COLLECTION:
                client._http.call("DELETE", f"/collections/{name}")
        yield client


Through = Callable[..., QdrantServer]


@pytest.fixture
def through(lab: LabQdrant) -> Iterator[Through]:
    """A client that asks the server through a proxy with these rules."""
    with ExitStack() as stack:

        def connect(*rules: Rule) -> QdrantServer:
            proxy = stack.enter_context(FaultProxy(lab.port, list(rules)))
            return stack.enter_context(proxy.client())

        yield connect


def make(qdrant: QdrantServer, name: str, body: dict[str, Any]) -> None:
    qdrant._http.call("PUT", f"/collections/{name}", body)


def fill(qdrant: QdrantServer, name: str, count: int, key: str | int | None = None) -> None:
    points = [
        {"id": n, "vector": [n + 0.1, 0.2, 0.3], "payload": {"n": n, "of": key, "f": n / 7}}
        for n in range(count)
    ]
    body: dict[str, Any] = {"points": points}
    if key is not None:
        body["shard_key"] = key
    qdrant._http.upsert(name, body)


SIMPLE = {"vectors": {"size": 3, "distance": "Cosine"}}


def described(qdrant: QdrantServer, name: str) -> CollectionDescription:
    return next(one for one in qdrant.describe() if one.name == name)


def captured(qdrant: QdrantServer, name: str, shard: int, folder: Path) -> ImageFacts:
    path = folder / f"{name}-{shard}.snapshot"
    with qdrant.capture_shard(name, shard) as chunks, path.open("wb") as file:
        file.writelines(chunks)
    return image_facts(path, folder / "facts", name=f"{name}-{shard}")


def test_identity_is_made_once_and_kept(lab: LabQdrant, qdrant: QdrantServer) -> None:
    made = qdrant.ensure_identity()
    with lab.client() as another:
        assert another.ensure_identity() == made
        identity = another.identity()
    assert identity.identity_key == made
    assert identity.version == "1.19.0"
    assert (identity.cluster_enabled, identity.consensus) == (True, "working")
    assert OPS_COLLECTION in identity.collections


def test_markers_are_in_the_image(qdrant: QdrantServer, tmp_path: Path) -> None:
    qdrant.ensure_identity()
    for number in (1, 2, 3):
        qdrant.write_marker(number)
        assert qdrant.marker() == number
    facts = captured(qdrant, OPS_COLLECTION, 0, tmp_path)
    assert facts.marker == 3
    assert facts.points == 2
    assert facts.point_digest == qdrant.live_digests(OPS_COLLECTION).total


def test_a_description_survives_json(qdrant: QdrantServer) -> None:
    make(qdrant, "plain", {**SIMPLE, "shard_number": 2})
    found = described(qdrant, "plain")
    text = json.dumps(found.as_document())
    assert CollectionDescription.from_document(json.loads(text)) == found
    assert [shard.id for shard in found.shards] == [0, 1]
    assert found.shard_keys() == (None,)


def test_image_and_live_collection_have_one_digest(qdrant: QdrantServer, tmp_path: Path) -> None:
    make(qdrant, "plain", {**SIMPLE, "shard_number": 2})
    fill(qdrant, "plain", 700)
    live = qdrant.live_digests("plain")
    images = [captured(qdrant, "plain", shard, tmp_path) for shard in (0, 1)]
    assert all(image.points > 0 for image in images)
    total = sum(int(image.digest, 16) for image in images) % (1 << 256)
    assert sum(image.points for image in images) == live.total.points == 700
    assert f"{total:064x}" == live.total.digest
    qdrant._http.call(
        "POST", "/collections/plain/points/payload?wait=true", {"payload": {"n": -1}, "points": [5]}
    )
    assert qdrant.live_digests("plain").total.digest != live.total.digest


def test_a_point_under_two_keys_counts_twice(qdrant: QdrantServer, tmp_path: Path) -> None:
    """A scroll over all keys would hide it, and the sum of the images would differ."""
    make(qdrant, "keyed", {**SIMPLE, "sharding_method": "custom"})
    for key in ("shared", 7):
        qdrant._http.call("PUT", "/collections/keyed/shards", {"shard_key": key})
        fill(qdrant, "keyed", 10, key)
    live = qdrant.live_digests("keyed")
    assert live.total.points == described(qdrant, "keyed").points == 20
    for shard in described(qdrant, "keyed").shards:
        image = captured(qdrant, "keyed", shard.id, tmp_path)
        assert image.point_digest == live.by_key[shard.key]


def test_capture_under_writes_has_every_acknowledged_point(
    lab: LabQdrant, qdrant: QdrantServer, tmp_path: Path
) -> None:
    make(qdrant, "busy", SIMPLE)
    stop, acknowledged, sent = threading.Event(), [0], [0]

    def write() -> None:
        with lab.client() as writer:
            while not stop.is_set():
                first = sent[0]
                sent[0] += 20
                vector = [1.0, 2.0, 3.0]
                points = [{"id": n, "vector": vector} for n in range(first, sent[0])]
                writer._http.upsert("busy", {"points": points})
                acknowledged[0] = sent[0]

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while acknowledged[0] < 200:
            assert thread.is_alive()
        before = acknowledged[0]
        image = captured(qdrant, "busy", 0, tmp_path)
        after = sent[0]
    finally:
        stop.set()
        thread.join()
    ids = [int(line) for line in image.ids_path.read_text().splitlines()]
    assert before <= len(ids) <= after
    assert ids == list(range(len(ids)))


def test_a_logical_image_has_the_same_facts_and_comes_back(
    qdrant: QdrantServer, tmp_path: Path
) -> None:
    make(qdrant, "keyed", {**SIMPLE, "sharding_method": "custom"})
    for key in ("a", 7):
        qdrant._http.call("PUT", "/collections/keyed/shards", {"shard_key": key})
        fill(qdrant, "keyed", 600, key)
    live = qdrant.live_digests("keyed")
    image = b"".join(b"".join(qdrant.logical_capture("keyed", key)) for key in ("a", 7))
    facts = logical_facts([image], tmp_path)
    assert facts.point_digest == live.total
    description = described(qdrant, "keyed")
    qdrant.create_collection(description, replace=True)
    assert qdrant.live_digests("keyed").total.points == 0
    assert qdrant.logical_restore("keyed", [image]) == 1200
    assert qdrant.live_digests("keyed") == live
    assert qdrant.logical_restore("keyed", [image]) == 1200
    qdrant.finish(description, {"a": 600, 7: 600}, timeout=10)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7, 0.95])
def test_a_stream_that_just_ends_is_truncated(
    through: Through, qdrant: QdrantServer, keep: float
) -> None:
    """The server answers 200 and ends the body as if all were well: trap 3."""
    make(qdrant, "plain", SIMPLE)
    fill(qdrant, "plain", 200)
    client = through(Rule("/snapshot$", keep=keep))
    with client.capture_shard("plain", 0) as chunks, pytest.raises(TransientError) as caught:
        list(chunks)
    assert caught.value.code == "snapshot_truncated"


def test_a_broken_connection_is_truncated(through: Through, qdrant: QdrantServer) -> None:
    make(qdrant, "plain", SIMPLE)
    client = through(Rule("/snapshot$", keep=0.5, announce_length=True))
    with client.capture_shard("plain", 0) as chunks, pytest.raises(TransientError) as caught:
        list(chunks)
    assert caught.value.code == "snapshot_truncated"


NO_STREAMING = Rule("/snapshot$", status=404)


def test_without_streaming_a_stored_snapshot_is_taken_and_deleted(
    through: Through, qdrant: QdrantServer, tmp_path: Path
) -> None:
    make(qdrant, "plain", SIMPLE)
    fill(qdrant, "plain", 30)
    assert captured(through(NO_STREAMING), "plain", 0, tmp_path).points == 30
    assert qdrant._http.call("GET", "/collections/plain/shards/0/snapshots") == []


@pytest.mark.parametrize("announce", [True, False])
def test_a_failed_download_leaves_no_snapshot_behind(
    through: Through, qdrant: QdrantServer, tmp_path: Path, announce: bool
) -> None:
    make(qdrant, "plain", SIMPLE)
    cut = Rule(r"GET .*/snapshots/.+", keep=0.5, announce_length=announce)
    with pytest.raises(TransientError) as caught:
        captured(through(NO_STREAMING, cut), "plain", 0, tmp_path)
    assert caught.value.code == "snapshot_truncated"
    assert qdrant._http.call("GET", "/collections/plain/shards/0/snapshots") == []


def test_another_content_is_noticed_by_the_checksum(
    through: Through, qdrant: QdrantServer, tmp_path: Path
) -> None:
    make(qdrant, "plain", SIMPLE)
    described = json.dumps({"name": "x.snapshot", "size": 1, "checksum": "0" * 64})
    made = Rule("POST .*/snapshots", status=200, body=f'{{"result": {described}}}'.encode())
    with qdrant.capture_shard("plain", 0) as chunks:
        content = b"".join(chunks)
    got = Rule(r"GET .*/snapshots/x", status=200, body=content)
    deleted = Rule("DELETE", status=200, body=b'{"result": true}')
    with pytest.raises(TransientError) as caught:
        captured(through(NO_STREAMING, made, got, deleted), "plain", 0, tmp_path)
    assert caught.value.code == "snapshot_checksum_differs"


@pytest.mark.parametrize("status", [403, 405, 501])
def test_refused_snapshots_are_said_so(
    through: Through, qdrant: QdrantServer, status: int, tmp_path: Path
) -> None:
    make(qdrant, "plain", SIMPLE)
    with pytest.raises(RefusedError) as caught:
        captured(through(Rule("snapshot", status=status)), "plain", 0, tmp_path)
    assert caught.value.code == "snapshots_refused"


def test_an_error_of_the_reader_is_not_turned_into_another(qdrant: QdrantServer) -> None:
    make(qdrant, "plain", SIMPLE)
    own = RemoteError("mine", "the repository said no", details={"status": 403})
    with pytest.raises(RemoteError) as caught, qdrant.capture_shard("plain", 0):
        raise own
    assert caught.value is own


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthenticationError),
        (403, AuthenticationError),
        (408, TransientError),
        (429, TransientError),
        (500, TransientError),
        (503, TransientError),
        (400, RemoteError),
        (507, RemoteError),
        (302, RemoteError),
    ],
)
def test_answers_become_typed_errors(
    through: Through, status: int, kind: type[AeternaError]
) -> None:
    body = b'{"status": {"error": "because of reasons"}, "time": 0}'
    rules = [Rule("/aliases", status=status, body=body)]
    with pytest.raises(AeternaError) as caught:
        through(*rules).describe()
    assert type(caught.value) is kind
    assert "because of reasons" in caught.value.message


def test_an_answer_that_is_no_json(through: Through) -> None:
    rules = [Rule("/aliases", status=200, body=b"<html>")]
    with pytest.raises(RemoteError) as caught:
        through(*rules).describe()
    assert caught.value.code == "qdrant_answer_unreadable"


def test_a_wrong_key_is_refused_and_never_shown(lab: LabQdrant) -> None:
    wrong = "wrong-key-0123456789"
    with lab.client(key=wrong) as client, pytest.raises(AuthenticationError) as caught:
        client.identity()
    assert wrong not in json.dumps(caught.value.as_document())
    assert API_KEY not in json.dumps(caught.value.as_document())
    assert wrong not in repr(client)


def test_a_key_that_may_only_read_changes_nothing(
    lab: LabQdrant, qdrant: QdrantServer, tmp_path: Path
) -> None:
    make(qdrant, "plain", SIMPLE)
    fill(qdrant, "plain", 10)
    with lab.client(key=READ_ONLY_KEY) as reader:
        assert reader.live_digests("plain").total.points == 10
        with pytest.raises(AuthenticationError):
            reader.write_marker(1)
        image = b"".join(reader.logical_capture("plain", None))
        assert logical_facts([image], tmp_path).points == 10
        with pytest.raises(AuthenticationError):
            reader.create_collection(described(qdrant, "plain"), replace=True)
    assert qdrant.live_digests("plain").total.points == 10


def test_an_absent_server_is_transient() -> None:
    client = QdrantServer(QdrantSettings(url="http://u:p4ss@127.0.0.1:9", timeout=2))
    with client, pytest.raises(TransientError) as caught:
        client.identity()
    assert "p4ss" not in json.dumps(caught.value.as_document())


def test_an_upsert_that_is_not_applied_is_no_success(
    through: Through, qdrant: QdrantServer
) -> None:
    qdrant.ensure_identity()
    body = b'{"result": {"operation_id": 1, "status": "wait_timeout"}, "status": "ok", "time": 0}'
    rules = [Rule("PUT .*/points", status=200, body=body)]
    with pytest.raises(TransientError) as caught:
        through(*rules).write_marker(9)
    assert caught.value.code == "qdrant_not_applied"


def test_a_version_that_is_too_old_is_refused(through: Through) -> None:
    root = json.dumps({"title": "qdrant - vector search engine", "version": "1.11.5"}).encode()
    client = through(Rule("GET /$", status=200, body=root))
    for ask in (client.identity, client.ensure_identity):
        with pytest.raises(RefusedError) as caught:
            ask()
        assert caught.value.code == "qdrant_too_old"


def test_findings_of_a_sound_server_are_none(qdrant: QdrantServer) -> None:
    make(qdrant, "plain", SIMPLE)
    assert list(qdrant.findings("backup")) == []
    assert list(qdrant.findings("restore")) == []


def test_findings_name_what_is_wrong(through: Through, qdrant: QdrantServer) -> None:
    make(qdrant, "plain", SIMPLE)
    cluster = {
        "peer_id": 1,
        "local_shards": [{"shard_id": 0, "state": "Dead", "points_count": 0}],
        "remote_shards": [{"shard_id": 1, "state": "Active", "peer_id": 2}],
        "shard_transfers": [{"shard_id": 1, "from": 1, "to": 2}],
    }
    body = json.dumps({"result": cluster, "status": "ok"}).encode()
    root = json.dumps({"title": "qdrant - vector search engine", "version": "1.16.3"}).encode()
    rules = [
        Rule("GET /collections/plain/cluster", status=200, body=body),
        Rule("GET /$", status=200, body=root),
    ]
    found = {one.code: one.severity for one in through(*rules).findings("backup")}
    assert found == {
        "qdrant_version_old": "warning",
        "qdrant_shards_moving": "warning",
        "qdrant_shard_not_active": "error",
        "qdrant_shard_elsewhere": "error",
    }
