"""The session's lab with a shard registry of the test's own, gone afterwards."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from aeterna_cli.stores.base.placement import Placement, PointsPlace
from aeterna_cli.stores.qdrant_http import QdrantHttp, part
from tests.integration.deployment import Practice

LARGE = "memories-large-corp"  # of the seed, without shard keys
SHARED = "memories-shared"  # of the seed, with shard keys


@dataclass(frozen=True)
class Sharding:
    practice: Practice

    def cli(self, *words: str) -> Any:
        """A shard command that must succeed; its data."""
        return self.practice.cli.ok("shard", *words).data

    def refused(self, *words: str) -> tuple[int, str]:
        ran = self.practice.cli("shard", *words, "-o", "json")
        assert "Traceback" not in ran.err
        return ran.code, str(ran.error["code"])

    def qdrant(self, method: str, path: str, body: Any = None) -> Any:
        http = QdrantHttp(self.practice.open().profile.qdrant)
        try:
            return http.call(method, path, body)
        finally:
            http.close()

    def place(self, shard: str, collection: str, tenant: str = "") -> Placement:
        placement: Placement = self.practice.open().placement.change(
            tenant or str(uuid.uuid4()), expected_epoch=None,
            primary=PointsPlace(shard, collection), secondary=None, state="serving",
            operation=None, lock_timeout=5,
        )  # fmt: skip
        return placement

    def unplace(self) -> None:
        with self.practice.sql() as connection:
            connection.execute("DELETE FROM aeterna_ops.tenant_placement")


@contextmanager
def sharding(practice: Practice) -> Iterator[Sharding]:
    made = Sharding(practice)
    with practice.open().qdrant as server:
        before = set(server.collections())
    _drop(practice)
    try:
        yield made
    finally:
        _drop(practice)
        with practice.open().qdrant as server:
            after = set(server.collections())
        for name in after - before:
            made.qdrant("DELETE", f"/collections/{part(name)}")


def _drop(practice: Practice) -> None:
    with practice.sql() as connection:
        connection.execute(
            "DROP TABLE IF EXISTS aeterna_ops.placement_ack, aeterna_ops.tenant_placement,"
            " aeterna_ops.shard"
        )
