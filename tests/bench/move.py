"""Moving a tenant's points: copy against the official client's scroll and upsert, and the check of
ids and versions against two bare scrolls of ids. Two lab servers, 384 dimensions."""

import os
import random
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx  # noqa: TID253 - a measurement has no start-up to keep short
import numpy as np  # noqa: TID253 - as above
import orjson  # noqa: TID253 - as above

from aeterna_cli.output.tables import human_bytes
from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores.base.mover import Pace, TenantItems
from aeterna_cli.stores.base.placement import PointsPlace
from aeterna_cli.stores.qdrant_mover import QdrantMover
from aeterna_cli.stores.qdrant_mover_end import QdrantEnd
from tests.bench.pairs import compare, peak_bytes
from tests.integration.lab.qdrant_process import Server, running

POINTS = int(os.environ.get("AETERNA_BENCH_POINTS", "20000"))
SIZE = 384
TENANT = "large-corp"
NAME = "memories"
FILTER = {"must": [{"key": "tenant_id", "match": {"any": [TENANT]}}]}


def run(pairs: int = 5) -> list[str]:
    """The lines to print. The data lie in memory where the machine allows."""
    where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - as above
    with tempfile.TemporaryDirectory(dir=where) as folder, _two(Path(folder)) as servers:
        source, target = servers
        _collection(source)
        _fill(source)
        _collection(target)
        return [*_copy(source, target, pairs), *_verify(source, target, pairs)]


@contextmanager
def _two(folder: Path) -> Iterator[tuple[Server, Server]]:
    with running(folder / "one") as one, running(folder / "other") as other:
        yield one, other


def _collection(server: Server) -> None:
    server.ask("PUT", f"/collections/{NAME}", {"vectors": {"size": SIZE, "distance": "Cosine"}})
    for field, schema in (("tenant_id", "keyword"), ("version", "integer")):
        body = {"field_name": field, "field_schema": schema}
        server.ask("PUT", f"/collections/{NAME}/index?wait=true", body)


def _fill(server: Server) -> None:
    dice, numbers = random.Random(1), np.random.default_rng(1)  # noqa: S311 - test data
    for first in range(0, POINTS, 500):
        points = [
            {
                "id": str(UUID(int=dice.getrandbits(128), version=4)),
                "vector": numbers.standard_normal(SIZE, dtype=np.float32),
                "payload": {
                    "tenant_id": TENANT,
                    "version": dice.randrange(1, 99),
                    "updated_at": 1_790_000_000 + number,
                    "content": f"memory {number} " * 12,
                },
            }
            for number in range(first, min(first + 500, POINTS))
        ]
        body = orjson.dumps({"points": points}, option=orjson.OPT_SERIALIZE_NUMPY)
        headers = {"content-type": "application/json"}
        path = f"/collections/{NAME}/points?wait=true"
        assert server.http.put(path, content=body, headers=headers).status_code == 200


@contextmanager
def _mover(source: int, target: int, pace: Pace | None = None) -> Iterator[QdrantMover]:
    ends = [
        QdrantEnd(
            QdrantSettings(url=f"http://127.0.0.1:{port}"),
            PointsPlace("shard", NAME),
            TenantItems((TENANT,)),
            pace=pace,
        )
        for port in (source, target)
    ]
    made = QdrantMover(*ends, "versions")
    try:
        yield made
    finally:
        made.close()


def _copy(source: Server, target: Server, pairs: int) -> list[str]:
    from qdrant_client import QdrantClient, models

    def client(server: Server) -> QdrantClient:
        return QdrantClient(url=f"http://127.0.0.1:{server.port}", check_compatibility=False)

    condition = models.Filter(
        must=[models.FieldCondition(key="tenant_id", match=models.MatchAny(any=[TENANT]))]
    )

    def theirs() -> None:
        reading, writing = client(source), client(target)
        offset: Any = None
        while True:
            records, offset = reading.scroll(
                NAME, scroll_filter=condition, limit=250, offset=offset, with_vectors=True
            )
            points = [
                models.PointStruct(id=one.id, vector=one.vector, payload=one.payload)
                for one in records
            ]
            writing.upsert(NAME, points, wait=True)
            if offset is None:
                return

    def ours() -> None:
        with _mover(source.port, target.port) as mover:
            assert mover.copy(None).items == POINTS

    def again() -> None:
        assert target.count(NAME) == POINTS
        target.ask("DELETE", f"/collections/{NAME}")
        _collection(target)

    ratio = compare(
        f"copy of {POINTS:,} points of {SIZE} dimensions against qdrant-client scroll and upsert",
        ours,
        theirs,
        at_least=1.0,
        pairs=pairs,
        after=again,
    )
    words = [sys.executable, "-m", "tests.bench.move", str(source.port), str(target.port)]
    peak, _ = peak_bytes(words, dict(os.environ))
    verdict = "met" if peak < 300_000_000 else "MISSED"
    return [
        f"{ratio.line()}; ours {POINTS / ratio.ours:,.0f} points/s",
        f"peak memory of copy, round and digests: {human_bytes(peak)} (target < 300 MB: {verdict})",
    ]


def _verify(source: Server, target: Server, pairs: int) -> list[str]:
    def bare(port: int) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            offset: Any = None
            while True:
                body = {
                    "filter": FILTER,
                    "limit": Pace().scan_page,
                    "offset": offset,
                    "with_payload": False,
                    "with_vector": False,
                }
                answer = http.post(f"/collections/{NAME}/points/scroll", json=body)
                offset = orjson.loads(answer.content)["result"]["next_page_offset"]
                if offset is None:
                    return

    def theirs() -> None:
        bare(target.port)
        bare(source.port)

    def ours() -> None:
        with _mover(source.port, target.port) as mover:
            done = mover.round()
            assert done.clean
            assert done.source == POINTS

    ratio = compare(
        "verification of ids and versions on both sides against two bare scrolls of ids",
        ours,
        theirs,
        at_least=0.8,
        pairs=pairs,
    )
    return [f"{ratio.line()}; ours {2 * POINTS / ratio.ours:,.0f} ids/s"]


def main(source: int, target: int) -> None:
    """Everything a move does to points, in a process whose memory is measured."""
    with _mover(source, target) as mover:
        mover.copy(None)
        assert mover.round().clean
        assert mover.compare().equal


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
