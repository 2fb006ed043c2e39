"""A small Qdrant of the tests' own, and workloads in it."""

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aeterna_cli.lab.workload.folder import Moved
from aeterna_cli.lab.workload.points import Servers, of_tenant
from aeterna_cli.lab.workload.verdict import Finding, TenantVerdict
from aeterna_cli.lab.workload.workload import Workload
from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores.base.placement import PointsPlace

DIMENSIONS = 8


class Ground:
    """``place`` gives a new collection's; points are looked at and damaged by ``servers``."""

    def __init__(self, url: str, folder: Path) -> None:
        self.settings = QdrantSettings(url=url)
        self.folder = folder
        self.servers = Servers(lambda _place: self.settings)

    def place(self, key: str | None = None) -> PointsPlace:
        return PointsPlace("", f"w-{uuid.uuid4()}", key)

    def moved(self, place: PointsPlace | None = None) -> Moved:
        return Moved(str(uuid.uuid4()), place or self.place(), "tenant")

    def workload(self, *tenants: Moved, **values: Any) -> Workload:
        folder = self.folder / str(uuid.uuid4())
        values.setdefault("dimensions", DIMENSIONS)
        return Workload(folder, tenants, lambda _place: self.settings, **values)

    def count(self, tenant: Moved, place: PointsPlace | None = None) -> int:
        return self.servers.count(place or tenant.place, of_tenant(tenant.id))

    def points(self, tenant: Moved, place: PointsPlace | None = None) -> list[dict[str, Any]]:
        pages = self.servers.scan(place or tenant.place, of_tenant(tenant.id))
        return [point for page in pages for point in page]

    def put(self, place: PointsPlace, *points: dict[str, Any]) -> None:
        """Exactly these points, whatever was there."""
        plain = [{name: one[name] for name in ("id", "vector", "payload")} for one in points]
        key = {"shard_key": place.shard_key} if place.shard_key else {}
        self.servers.change(place, "PUT", "/points", {"points": plain, **key})

    def delete(self, place: PointsPlace, *ids: str) -> None:
        key = {"shard_key": place.shard_key} if place.shard_key else {}
        self.servers.change(place, "POST", "/points/delete", {"points": list(ids), **key})


def until(found: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for a condition; fails when it does not come."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def written(workload: Workload, tenant: Moved, more: int) -> None:
    """So many more writes were acknowledged."""
    before = workload.acknowledged(tenant.id)
    until(lambda: not workload.running or workload.acknowledged(tenant.id) >= before + more)


def found(verdict: TenantVerdict) -> dict[str, int]:
    """The sorts that were found."""
    return {sort: count for sort, count in verdict.counts().items() if count}


def examples(verdict: TenantVerdict, sort: str) -> tuple[str, ...]:
    finding: Finding = getattr(verdict.at_rest, sort)
    return finding.examples
