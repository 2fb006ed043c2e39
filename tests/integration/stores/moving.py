"""What the tests of the mover share: two collections, an application that writes them, a judge."""

import os
import random
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import time
from typing import Any

import httpx  # noqa: TID253 - a test has no start-up to keep short

from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores.base.mover import Pace, Strategy, TenantItems
from aeterna_cli.stores.base.placement import PointsPlace
from aeterna_cli.stores.qdrant_mover import QdrantMover
from aeterna_cli.stores.qdrant_mover_end import QdrantEnd
from tests.integration.lab.qdrant_process import Server, running

TENANT = TenantItems(("6f1a0f5e-0000-4000-8000-00000000000a", "acme'%*-ünïcode"))
OTHER = "other-tenant"
SIZE = 8
VECTORS = {"vectors": {"size": SIZE, "distance": "Cosine"}}
SOURCE, TARGET = "memories-shared", "memories-acme"


@contextmanager
def served(version: str, *words: str) -> Iterator[Server]:
    """A server whose data lie in memory where the machine allows: no test here cuts the power, and
    every write of the application waits for a flush."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of our own in it
    where = memory if os.access(memory, os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(dir=where) as folder,
        running(Path(folder) / "one", "--allow-faults", "--version", version, *words) as server,
    ):
        yield server


def collection(server: Server, name: str, **more: Any) -> None:
    server.ask("PUT", f"/collections/{name}", {**VECTORS, **more})
    for name_of, schema in (
        ("tenant_id", {"type": "keyword", "is_tenant": True}),
        ("version", "integer"),
        ("updated_at", "float"),
    ):
        body = {"field_name": name_of, "field_schema": schema}
        server.ask("PUT", f"/collections/{name}/index?wait=true", body)


def point(number: int | str, version: int, tenant: str = TENANT.values[0]) -> dict[str, Any]:
    """The same point for the same arguments."""
    dice = random.Random(f"{number}/{version}")  # noqa: S311 - test data
    return {
        "id": number,
        "vector": [dice.uniform(-1, 1) for _ in range(SIZE)],
        "payload": {
            "tenant_id": tenant,
            "version": version,
            "updated_at": time(),
            "content": f"{number} at {version}",
        },
    }


def identifier(number: int) -> str:
    return str(uuid.UUID(int=random.Random(number).getrandbits(128), version=4))  # noqa: S311 - test data


def fill(
    server: Server,
    name: str,
    ids: Sequence[int | str],
    tenant: str = TENANT.values[0],
    version: int = 1,
) -> None:
    for first in range(0, len(ids), 500):
        points = [point(one, version, tenant) for one in ids[first : first + 500]]
        server.ask("PUT", f"/collections/{name}/points?wait=true", {"points": points})


def place(name: str, key: str | None = None) -> PointsPlace:
    return PointsPlace("shard", name, key)


def settings(server: Server, **more: Any) -> QdrantSettings:
    return QdrantSettings(url=f"http://127.0.0.1:{server.port}", **more)


@contextmanager
def mover(
    source: Server,
    target: Server,
    strategy: Strategy = "versions",
    *,
    names: tuple[str, str] = (SOURCE, TARGET),
    pace: Pace | None = None,
    items: TenantItems = TENANT,
) -> Iterator[QdrantMover]:
    pace = pace or Pace(page=50, scan_page=100)
    ends = [
        QdrantEnd(settings(server), place(name), items, pace=pace)
        for server, name in zip((source, target), names, strict=True)
    ]
    made = QdrantMover(*ends, strategy)
    try:
        yield made
    finally:
        made.close()


def content(server: Server, name: str, tenant: TenantItems = TENANT) -> dict[Any, Any]:
    """Everything that the tenant has there, by id."""
    found = {}
    offset = None
    condition = {"must": [{"key": "tenant_id", "match": {"any": list(tenant.values)}}]}
    while True:
        body = {"filter": condition, "limit": 1000, "offset": offset, "with_vector": True}
        answer = server.ask("POST", f"/collections/{name}/points/scroll", body)
        for one in answer["points"]:
            found[one["id"]] = (one["payload"], one["vector"])
        offset = answer["next_page_offset"]
        if offset is None:
            return found


@dataclass
class Application:
    """Writes one tenant's points twice, as the contract ``dual`` says; loses some second writes."""

    server: Server
    other: Server
    names: tuple[str, str] = (SOURCE, TARGET)
    lost_share: float = 0.0
    seed: int = 1
    twice: bool = True
    versions: dict[Any, int] = field(default_factory=dict)
    deleted: set[Any] = field(default_factory=set)
    highest: dict[Any, int] = field(default_factory=dict)
    writes: int = 0
    lost: int = 0
    failures: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311 - test data
        self.first, self.second = self.server.client(), self.other.client()
        self.next = 10_000_000
        self.lock = threading.Lock()  # two threads with one point would be two versions at once

    def knows(self, ids: Sequence[Any], version: int = 1) -> None:
        self.versions.update(dict.fromkeys(ids, version))
        self.highest.update(dict.fromkeys(ids, version))

    def put(self, one: Any) -> None:
        version = self.highest.get(one, 0) + 1
        self.highest[one] = version
        new = point(one, version)
        self._sent(self.first, "PUT", f"/collections/{self.names[0]}/points", {"points": [new]})
        self.versions[one] = version
        self.deleted.discard(one)
        older = {"must": [{"key": "version", "range": {"lt": version}}]}
        body = {"points": [new], "update_filter": older}
        self._twice("PUT", f"/collections/{self.names[1]}/points", body)

    def delete(self, one: Any) -> None:
        seen = self.versions.pop(one)
        path = f"/collections/{self.names[0]}/points/delete"
        self._sent(self.first, "POST", path, {"points": [one]})
        self.deleted.add(one)
        condition = [{"has_id": [one]}, {"key": "version", "range": {"lte": seen}}]
        path = f"/collections/{self.names[1]}/points/delete"
        self._twice("POST", path, {"filter": {"must": condition}})

    def one(self) -> None:
        """A random write: half updates, the rest new points and deletes."""
        with self.lock:
            self._one()

    def _one(self) -> None:
        self.writes += 1
        choice = self.dice.random()
        if choice < 0.25 or not self.versions:
            self.next += 1
            self.put(self.next if self.dice.random() < 0.5 else identifier(self.next))
        elif choice < 0.75:
            self.put(self.dice.choice(list(self.versions)))
        else:
            self.delete(self.dice.choice(list(self.versions)))

    def _twice(self, method: str, path: str, body: Any) -> None:
        if not self.twice:
            return
        if self.dice.random() < self.lost_share:
            self.lost += 1
            return
        self._sent(self.second, method, path, body)

    @staticmethod
    def _sent(client: httpx.Client, method: str, path: str, body: Any) -> None:
        answer = client.request(method, f"{path}?wait=true", json=body)
        assert answer.status_code == 200, answer.text

    @contextmanager
    def running(self) -> Iterator["Application"]:
        """Writes as fast as it can in a thread of its own until the block is left."""
        over = threading.Event()

        def run() -> None:
            try:
                while not over.is_set():
                    self.one()
            except Exception as error:  # noqa: BLE001 - the test raises it
                self.failures.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()
            assert not self.failures, self.failures

    def close(self) -> None:
        self.first.close()
        self.second.close()


@dataclass(frozen=True)
class Verdict:
    lost: int
    resurrected: int
    stale: int

    def __bool__(self) -> bool:
        return bool(self.lost or self.resurrected or self.stale)


def judge(application: Application, server: Server, name: str) -> Verdict:
    """What is there against what the application was told is done."""
    found = content(server, name)
    return Verdict(
        sum(one not in found for one in application.versions),
        sum(one not in application.versions for one in found),
        sum(
            one in found and found[one][0]["version"] < version
            for one, version in application.versions.items()
        ),
    )


def naive_copy(
    source: Server, target: Server, between: Callable[[], None], *, page: int = 50
) -> None:
    """What a plain tool does: scroll and upsert, one pass."""
    offset = None
    condition = {"must": [{"key": "tenant_id", "match": {"any": list(TENANT.values)}}]}
    while True:
        body = {"filter": condition, "limit": page, "offset": offset, "with_vector": True}
        answer = source.ask("POST", f"/collections/{SOURCE}/points/scroll", body)
        between()
        if answer["points"]:
            target.ask(
                "PUT",
                f"/collections/{TARGET}/points?wait=true",
                {"points": answer["points"]},
            )
        offset = answer["next_page_offset"]
        if offset is None:
            return
