"""One end of a move: a tenant's points in one collection, perhaps under one shard key."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, TypeVar

from aeterna_cli.errors import RemoteError, TransientError
from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores.backoff import Backoff, retried
from aeterna_cli.stores.base.mover import Pace, PointId, TenantItems
from aeterna_cli.stores.base.placement import PointsPlace
from aeterna_cli.stores.qdrant_describe import server_version, version_numbers
from aeterna_cli.stores.qdrant_http import QdrantHttp, part

#: Long enough for a server that restarts, short enough for a person who waits.
PATIENT = Backoff(attempts=9, first=0.2, ceiling=5.0)
_PAGE_BYTES = 8 << 20  # a JSON body may have 32 MB; payloads come on top of the vectors
_FLOAT_BYTES = 12  # of a 32-bit float as text

Condition = Mapping[str, Any]
T = TypeVar("T")


class Line:
    """One connection; transient faults are tried again. For one thread at a time."""

    def __init__(self, settings: QdrantSettings, backoff: Backoff) -> None:
        self.http = QdrantHttp(settings)
        self._backoff = backoff

    def call(self, method: str, path: str, body: Any = None, **params: str) -> Any:
        return self.retried(lambda: self.http.call(method, path, body, params=params or None))

    def retried(self, call: Callable[[], T]) -> T:
        return retried(call, self._backoff)


class QdrantEnd:
    """Reads a tenant's points; every read names the tenant, whatever ids it asks for.

    Two connections: ``reading`` for a thread that reads ahead, ``writing`` for everything else.
    Errors are those of ``QdrantServer``; transient ones are raised after the last attempt.
    """

    def __init__(
        self,
        settings: QdrantSettings,
        place: PointsPlace,
        items: TenantItems,
        *,
        pace: Pace | None = None,
        backoff: Backoff = PATIENT,
    ) -> None:
        self.place = place
        self.items = items
        self.pace = pace or Pace()
        self.reading = Line(settings, backoff)
        self.writing = Line(settings, backoff)
        self.path = f"/collections/{part(place.collection)}"
        #: ``updated_at`` of one point, once somebody has looked: it says how times are written
        self.time_sample: Any = None

    def close(self) -> None:
        self.reading.http.close()
        self.writing.http.close()

    def prime(self, other: "QdrantEnd") -> None:
        """Know what ``other`` of the same place knows, and be connected: for moments in which
        writers wait. Transient faults are left to the first real call."""
        self.time_sample = other.time_sample
        self.config, self.version = other.config, other.version
        for line in (self.reading, self.writing):
            with suppress(TransientError):
                line.call("GET", "/")

    @property
    def description(self) -> str:
        """Where this is, for people, without secrets."""
        key = "" if self.place.shard_key is None else f", shard key {self.place.shard_key}"
        return f"{self.place.collection} at {self.writing.http.description}{key}"

    @cached_property
    def version(self) -> tuple[int, ...]:
        return version_numbers(self.writing.retried(lambda: server_version(self.writing.http)))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The collection's configuration. ``RemoteError('qdrant_not_found')`` without one."""
        found: dict[str, Any] = self.writing.call("GET", self.path)["config"]
        return found

    @cached_property
    def page(self) -> int:
        """Points with content in one request, at most: by their size and the server's limits."""
        floats = max(1, _floats(self.config))
        fitting = max(1, _PAGE_BYTES // (floats * _FLOAT_BYTES))
        limits = [self.pace.page, fitting, self._limit("max_query_limit")]
        return min(*limits, self._limit("upsert_max_batchsize"))

    @cached_property
    def scan_page(self) -> int:
        return min(self.pace.scan_page, self._limit("max_query_limit"))

    def _limit(self, name: str) -> int:
        strict = self.config.get("strict_mode_config") or {}
        limit = strict.get(name) if strict.get("enabled") else None
        return int(limit) if limit else 1 << 30

    # -- which points

    @property
    def tenant(self) -> list[Condition]:
        """The condition that a point is the tenant's; none where the whole place is."""
        if self.items.field is None:
            return []
        return [{"key": self.items.field, "match": {"any": list(self.items.values)}}]

    def addressed(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body with the shard key that this end means."""
        if self.place.shard_key is None:
            return dict(body)
        return {**body, "shard_key": self.place.shard_key}

    # -- reading

    def scroll(
        self,
        line: Line,
        *,
        limit: int,
        offset: PointId | None = None,
        must: Iterable[Condition] = (),
        must_not: Iterable[Condition] = (),
        payload: bool | list[str] = True,
        vector: bool = True,
    ) -> tuple[list[dict[str, Any]], PointId | None]:
        """One page of the tenant's points in id order, and where the next one starts."""
        body = {
            "filter": {"must": [*self.tenant, *must], "must_not": list(must_not)},
            "limit": limit,
            "offset": offset,
            "with_payload": payload,
            "with_vector": vector,
        }
        answer = line.call("POST", f"{self.path}/points/scroll", self.addressed(body))
        try:
            return answer["points"], answer["next_page_offset"]
        except (KeyError, TypeError) as error:
            raise RemoteError(
                "qdrant_answer_unreadable", f"{self.description} answers a scroll without points"
            ) from error

    def pages(
        self, offset: PointId | None
    ) -> Iterator[tuple[list[dict[str, Any]], PointId | None]]:
        """Whole points from a cursor on, for a thread that reads ahead."""
        while True:
            points, offset = self.scroll(self.reading, limit=self.page, offset=offset)
            yield points, offset
            if offset is None:
                return

    def of_ids(
        self, ids: Sequence[PointId], *, payload: bool | list[str] = True, vector: bool = True
    ) -> dict[PointId, dict[str, Any]]:
        """Those of the tenant's points that are there. Another tenant's are not."""
        found: dict[PointId, dict[str, Any]] = {}
        size = self.page if vector else self.scan_page
        for first in range(0, len(ids), size):
            some = list(ids[first : first + size])
            points, _ = self.scroll(
                self.writing,
                limit=len(some),
                must=[{"has_id": some}],
                payload=payload,
                vector=vector,
            )
            found.update((point["id"], point) for point in points)
        return found

    def count(
        self, must: Iterable[Condition] = (), must_not: Iterable[Condition] = (), **params: str
    ) -> int:
        """Exact."""
        condition = {"must": [*self.tenant, *must], "must_not": list(must_not)}
        body = self.addressed({"filter": condition, "exact": True})
        answer = self.writing.call("POST", f"{self.path}/points/count", body, **params)
        return int(answer["count"])


def _floats(config: Mapping[str, Any]) -> int:
    """How many floats the dense vectors of a point have."""
    vectors = (config.get("params") or {}).get("vectors") or {}
    each = [vectors] if "size" in vectors else vectors.values()
    return sum(int(one["size"]) for one in each)
