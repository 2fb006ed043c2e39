"""Images opened by the real engine in a child process; no server."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from aeterna_cli.errors import FailedError
from aeterna_cli.stores import qdrant_image
from aeterna_cli.stores.qdrant_digests import DigestSum
from aeterna_cli.stores.qdrant_image import image_facts, lines_of, logical_facts
from aeterna_cli.stores.qdrant_marker import MARKER_POINT

engine = pytest.importorskip("qdrant_edge")

#: exactly representable vectors of a Dot space, so the expected digest needs no engine
POINTS: list[dict[str, Any]] = [
    {"id": 3, "vector": {"d": [0.5, -2.0]}, "payload": {"t": "é", "n": [1, 1.0, None, 2**53]}},
    {"id": 2**64 - 1, "vector": {}, "payload": {}},
    {
        "id": "00000000-0000-4000-8000-000000000001",
        "vector": {"d": [1.0, 0.25], "s": {"indices": [9, 2], "values": [0.5, 4.0]}},
        "payload": {"deep": {"b": 1, "a": True}},
    },
    {"id": MARKER_POINT, "vector": {"m": [[1.0, 2.0], [3.0, 4.0]]}, "payload": {"number": 42}},
]


def expected() -> tuple[int, str]:
    digest = DigestSum()
    for point in reversed(POINTS):
        digest.add(point["id"], point["vector"], point["payload"])
    return digest.result().points, digest.result().digest


def _vector(value: Any) -> Any:
    if isinstance(value, dict) and "indices" in value:
        return engine.SparseVector(value["indices"], value["values"])
    return value


def build_shard(folder: Path, more: int = 0) -> Path:
    """A shard of the engine in the layout of a streamed server snapshot."""
    dot = engine.Distance.Dot
    rows = engine.MultiVectorConfig(engine.MultiVectorComparator.MaxSim)
    config = engine.EdgeConfig(
        vectors={
            "d": engine.EdgeVectorParams(size=2, distance=dot),
            "m": engine.EdgeVectorParams(size=2, distance=dot, multivector_config=rows),
        },
        sparse_vectors={"s": engine.EdgeSparseVectorParams()},
    )
    folder.mkdir(parents=True)
    shard = engine.EdgeShard.create(str(folder / "shard"), config)
    points = [
        engine.Point(
            UUID(one["id"]) if isinstance(one["id"], str) else one["id"],
            {name: _vector(value) for name, value in one["vector"].items()},
            one["payload"],
        )
        for one in POINTS
    ]
    points += [engine.Point(1000 + n, {"d": [n, n]}, {"n": n}) for n in range(more)]
    shard.update(engine.UpdateOperation.upsert_points(points))
    shard.flush()
    shard.close()
    snapshot = folder / "shard.snapshot"
    rename = r"s,^segments/\([^/]*\)/,segments/\1/files/,"
    words = ["tar", "-S", "--format=gnu", "-C", str(folder / "shard"), f"--transform={rename}"]
    subprocess.run([*words, "-cf", str(snapshot), "segments", "wal"], check=True)
    return snapshot


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_shard(tmp_path_factory.mktemp("shard") / "s", more=600)


def test_an_image_says_what_it_holds(tmp_path: Path) -> None:
    facts = image_facts(build_shard(tmp_path / "s"), tmp_path / "work", name="one")
    assert (facts.points, facts.digest) == expected()
    assert facts.marker == 42
    ids = facts.ids_path.read_text().splitlines()
    assert ids == ["3", str(2**64 - 1), "00000000-0000-4000-8000-000000000001", MARKER_POINT]
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["one.ids"]


def test_a_logical_image_has_the_same_facts(tmp_path: Path) -> None:
    lines = b"".join(json.dumps(point).encode() + b"\n" for point in POINTS)
    pieces = (lines[at : at + 17] for at in range(0, len(lines), 17))
    facts = logical_facts(pieces, tmp_path)
    assert (facts.points, facts.digest) == expected()
    assert facts.marker == 42
    assert len(facts.ids_path.read_text().splitlines()) == len(POINTS)


def test_more_points_than_a_page(snapshot: Path, tmp_path: Path) -> None:
    facts = image_facts(snapshot, tmp_path)
    assert facts.points == 600 + len(POINTS)
    ids = [int(line) for line in facts.ids_path.read_text().splitlines()[:-2]]
    assert ids == sorted(ids)


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_a_cut_image_is_unreadable(snapshot: Path, tmp_path: Path, keep: float) -> None:
    data = snapshot.read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(data[: int(len(data.rstrip(b"\0")) * keep)])
    with pytest.raises(FailedError) as caught:
        image_facts(cut, tmp_path / "work")
    assert caught.value.code in ("image_unreadable", "image_engine_died")
    assert list((tmp_path / "work").iterdir()) == []


def test_a_dying_engine_does_not_kill_us(
    snapshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killer = tmp_path / "python"
    killer.write_text("#!/bin/sh\nkill -SEGV $$\n")
    killer.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(killer))
    with pytest.raises(FailedError) as caught:
        image_facts(snapshot, tmp_path / "work")
    assert caught.value.code == "image_engine_died"


def test_a_slow_engine_is_given_up(snapshot: Path, tmp_path: Path) -> None:
    with pytest.raises(FailedError) as caught:
        image_facts(snapshot, tmp_path / "work", timeout=0.01)
    assert caught.value.code == "image_engine_slow"


def test_no_secret_reaches_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AETERNA_QDRANT__API_KEY", "s3cret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    assert "s3cret" not in qdrant_image._environment().values()


@pytest.mark.parametrize(
    "text",
    [
        b"{}\n",
        b"[]\n",
        b"1\n",
        b"\n",
        b"not json\n",
        b'{"id": -1}\n',
        b'{"id": "no uuid"}\n',
        b'{"id": 1, "vector": ["x"]}\n',
        b'{"id": 1, "vector": [1e999]}\n',
        b'{"id": 1, "vector": [0.5]}',
    ],
)
def test_a_line_that_is_no_point_is_damage(text: bytes, tmp_path: Path) -> None:
    with pytest.raises(FailedError) as caught:
        logical_facts([text], tmp_path)
    assert caught.value.code == "logical_image_damaged"


def test_lines_are_cut_anywhere() -> None:
    assert list(lines_of([b"a", b"b\nc", b"", b"\n", b"\nd\n"])) == [b"ab", b"c", b"", b"d"]
