"""Whose the points of every collection are: exact, one pass over each, no query per tenant.

The server's own index answers where the tenant's field has one (facet, Qdrant 1.12+) and has fewer
values than it may name at once; otherwise one scroll reads that field alone. A point that lies
under two shard keys is one point: facets and counts over several keys count it twice, scrolls do
not.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import orjson

from aeterna_cli.errors import AeternaError, InterruptedByUser, RemoteError
from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores.base.qdrant import CollectionDescription, ShardKey
from aeterna_cli.stores.base.tenant_counts import CollectionCount, Counted, PointsQuestion
from aeterna_cli.stores.qdrant_describe import outline_all, server_version
from aeterna_cli.stores.qdrant_http import QdrantHttp, part

#: values that a facet is asked to name
MOST_VALUES = 50_000
_PAGE = 5_000  # points of two or three payload fields
_SAMPLE = 100  # points
_REFUSALS = (400, 403, 405, 422)  # HTTP: this server does not answer such a question
_NONE = Counted(0, 0)

ByTenant = dict[str, Counted]


def _never() -> bool:
    return False


class QdrantTenants:
    """The points of a server, by tenant. Reads only; errors as of ``QdrantServer``."""

    def __init__(self, settings: QdrantSettings, *, most_values: int = MOST_VALUES) -> None:
        self._http = QdrantHttp(settings)
        self._most_values = most_values

    def close(self) -> None:
        self._http.close()

    def outlines(self) -> list[CollectionDescription]:
        """Every collection as the data map wants it, without its points; ``describe`` of
        ``QdrantServer`` counts them, which fails while a shard is being filled."""
        return outline_all(self._http)

    def names_tenants(self, question: PointsQuestion) -> bool | None:
        """Whether some of a collection's first points have the tenant's field, or its JSON text;
        None where there are no points. No proof: a small look at what the rule says."""
        fields = [name for name in (question.field, question.json_field) if name]
        body = {"limit": _SAMPLE, "with_payload": {"include": fields}, "with_vector": False}
        seen = False
        for key in question.shard_keys:
            asked = body if key is None else {**body, "shard_key": key}
            path = f"/collections/{part(question.collection)}/points/scroll"
            for point in self._http.call("POST", path, asked)["points"]:
                seen = True
                if point.get("payload"):
                    return True
        return False if seen else None

    def count(
        self,
        questions: Iterable[PointsQuestion],
        *,
        since: datetime | None = None,
        longer: datetime | None = None,
        stop: Callable[[], bool] = _never,
    ) -> Mapping[str, CollectionCount]:
        """Every collection's count; one that was dropped meanwhile is left out.

        ``recent`` are the points whose creation time is ``since`` or later; 0 without ``since``
        and for collections without such a time; ``longer`` counts since an earlier moment as well.
        Exact at its moment, which moves while points are written. A shard key that is still being
        filled is not asked. Memory: one page and one entry for every tenant value.
        """
        server_version(self._http)
        found: dict[str, CollectionCount] = {}
        for question in questions:
            moments = (since, longer)
            counter = _Counter(self._http, question, moments, self._most_values, stop)
            try:
                found[question.collection] = counter.result()
            except AeternaError as error:
                if error.details.get("status") != 404:
                    raise
        return found


class _Counter:
    """One collection."""

    def __init__(
        self,
        http: QdrantHttp,
        question: PointsQuestion,
        moments: tuple[datetime | None, datetime | None],
        most_values: int,
        stop: Callable[[], bool],
    ) -> None:
        self._http, self._asked, self._stop = http, question, stop
        self._path = f"/collections/{part(question.collection)}"
        limit = question.most_asked
        self._page = min(_PAGE, limit or _PAGE)
        self._most_values = min(most_values, limit or most_values)
        self._since, self._longer = (
            None if moment is None or not question.created else moment.timestamp()
            for moment in moments
        )

    def result(self) -> CollectionCount:
        size = self._asked.vector_bytes + self._payload_bytes()
        if self._asked.owner is not None:
            return self._whole(self._asked.owner, size)
        if self._asked.indexed and (not self._timed or self._asked.created_indexed):
            found = self._by_index(size)
            if found is not None:
                return found
        return self._by_scroll(size)

    # -- one tenant's collection

    def _whole(self, owner: str, size: int) -> CollectionCount:
        by_key = {key: self._exact(None, key) for key in self._asked.shard_keys}
        total = sum_of(by_key.values())
        if self._several_keys and total.points:
            total = self._distinct(None)
        keyed = {key: {owner: counted} for key, counted in by_key.items()}
        return self._told({owner: total}, keyed, _NONE, "count", size)

    # -- by the server's index

    def _by_index(self, size: int) -> CollectionCount | None:
        """None where the index has more values than it may name, or may not be asked."""
        by_key: dict[ShardKey | None, ByTenant] = {}
        for key in self._asked.shard_keys:
            facets = self._facets(key)
            if facets is None:
                return None
            by_key[key] = facets
        by_tenant: ByTenant = {}
        for value in {value for found in by_key.values() for value in found}:
            places = [found[value] for found in by_key.values() if value in found]
            once = len(places) == 1
            by_tenant[value] = places[0] if once else self._distinct(self._is(value))
        nameless = self._without_field(by_tenant, by_key)
        return self._told(by_tenant, by_key, nameless, "facet", size)

    def _facets(self, key: ShardKey | None) -> ByTenant | None:
        points = self._facet(key, None)
        recent, longer = (
            {} if moment is None else self._facet(key, {"must": [self._after(moment)]})
            for moment in (self._since, self._longer)
        )
        if points is None or recent is None or longer is None:
            return None
        return {
            value: Counted(number, recent.get(value, 0), longer.get(value, 0))
            for value, number in points.items()
        }

    def _facet(self, key: ShardKey | None, condition: Any) -> dict[str, int] | None:
        limit = self._most_values
        body = {"key": self._asked.field, "limit": limit, "exact": True, "filter": condition}
        try:
            hits = self._ask("facet", body, key)["hits"]
        except RemoteError as error:
            if error.details.get("status") not in _REFUSALS:
                raise
            return None  # strict mode, or an index that went away: the scroll needs neither
        if len(hits) >= limit:
            return None
        return {str(hit["value"]): int(hit["count"]) for hit in hits}

    def _without_field(
        self, by_tenant: ByTenant, by_key: dict[ShardKey | None, ByTenant]
    ) -> Counted:
        """Add the points whose tenant stands in JSON text alone; what remains names nobody."""
        empty = {"must": [{"is_empty": {"key": self._asked.field}}]}
        nameless = _NONE
        for key in self._asked.shard_keys:
            if self._exact(empty, key).points:
                found, unnamed = self._scan(empty, key)
                _add(by_key[key], found)
                if not self._several_keys:
                    _add(by_tenant, found)
                nameless = nameless.plus(unnamed)
        if self._several_keys and self._exact(empty, None).points:
            found, nameless = self._scan(empty, None)
            _add(by_tenant, found)
        return nameless

    # -- by reading

    def _by_scroll(self, size: int) -> CollectionCount:
        by_key: dict[ShardKey | None, ByTenant] = {}
        nameless = _NONE
        for key in self._asked.shard_keys:
            by_key[key], unnamed = self._scan(None, key)
            nameless = nameless.plus(unnamed)
        by_tenant: ByTenant = {}
        for found in by_key.values():
            _add(by_tenant, found)
        if self._several_keys:
            by_tenant, nameless = self._scan(None, None)
        return self._told(by_tenant, by_key, nameless, "scroll", size)

    def _scan(self, condition: Any, key: ShardKey | None) -> tuple[ByTenant, Counted]:
        """The values that these points name, and the points that name nobody."""
        totals: dict[str, list[int]] = {}
        asked, nameless = self._asked, [0, 0, 0]
        fields = [name for name in (asked.field, asked.json_field, asked.created) if name]
        for points in self._pages(condition, key, fields):
            for point in points:
                payload = point.get("payload") or {}
                value = self._named(payload)
                counted = nameless if value is None else totals.setdefault(value, [0, 0, 0])
                counted[0] += 1
                counted[1] += self._is_after(payload, self._since)
                counted[2] += self._is_after(payload, self._longer)
        return {value: Counted(*counted) for value, counted in totals.items()}, Counted(*nameless)

    def _named(self, payload: Mapping[str, Any]) -> str | None:
        """The tenant value of one point: its own field's, else the one inside its JSON text."""
        value = payload.get(self._asked.field)
        if value is None or value == []:
            text = payload.get(self._asked.json_field) if self._asked.json_field else None
            value = inside(text, self._asked.json_path)
        if isinstance(value, list):
            value = value[0] if len(value) == 1 else orjson.dumps(value).decode()
        return None if value in (None, "") else str(value)

    def _is_after(self, payload: Mapping[str, Any], moment: float | None) -> bool:
        created = payload.get(self._asked.created)
        if moment is None or not isinstance(created, int | float):
            return False
        return created >= moment

    # -- asking

    @property
    def _timed(self) -> bool:
        return self._since is not None or self._longer is not None

    @property
    def _several_keys(self) -> bool:
        return len(self._asked.shard_keys) > 1

    def _is(self, value: str) -> dict[str, Any]:
        return {"must": [{"key": self._asked.field, "match": {"value": value}}]}

    def _after(self, moment: float) -> dict[str, Any]:
        return {"key": self._asked.created, "range": {"gte": moment}}

    def _exact(self, condition: Any, key: ShardKey | None) -> Counted:
        counts = [self._count(condition, key)]
        for moment in (self._since, self._longer):
            if moment is None or not counts[0]:
                counts.append(0)
                continue
            must = [] if condition is None else condition["must"]
            try:
                counts.append(self._count({"must": [*must, self._after(moment)]}, key))
            except RemoteError as error:
                if error.details.get("status") not in _REFUSALS or self._asked.created_indexed:
                    raise
                return self._distinct(condition, key)  # strict mode: no filter without an index
        return Counted(*counts)

    def _count(self, condition: Any, key: ShardKey | None) -> int:
        body = {"exact": True, "filter": condition}
        return int(self._ask("points/count", body, key)["count"])

    def _distinct(self, condition: Any, key: ShardKey | None = None) -> Counted:
        """Points over all keys (or under this one), each once: only a scroll counts so."""
        counts = [0, 0, 0]
        fields = [self._asked.created] if self._timed else []
        for page in self._pages(condition, key, fields):
            counts[0] += len(page)
            for point in page if self._timed else ():
                payload = point.get("payload") or {}
                counts[1] += self._is_after(payload, self._since)
                counts[2] += self._is_after(payload, self._longer)
        return Counted(*counts)

    def _pages(
        self, condition: Any, key: ShardKey | None, fields: list[str]
    ) -> Iterator[list[dict[str, Any]]]:
        body: dict[str, Any] = {
            "limit": self._page,
            "with_payload": fields or False,
            "with_vector": False,
            "filter": condition,
        }
        while True:
            if self._stop():
                raise InterruptedByUser("interrupted", "stopped while points were counted")
            answer = self._ask("points/scroll", body, key)
            yield answer["points"]
            following = answer.get("next_page_offset")
            if following is None:
                return
            if following == body.get("offset"):
                raise RemoteError(
                    "qdrant_scroll_stuck", f"scrolling {self._asked.collection} does not advance"
                )
            body["offset"] = following

    def _payload_bytes(self) -> int:
        body = {"limit": min(_SAMPLE, self._page), "with_payload": True, "with_vector": False}
        points = self._ask("points/scroll", body, None)["points"]
        sizes = [len(orjson.dumps(point.get("payload") or {})) for point in points]
        return round(sum(sizes) / len(sizes)) if sizes else 0

    def _ask(self, what: str, body: dict[str, Any], key: ShardKey | None) -> Any:
        plain = {name: value for name, value in body.items() if value is not None}
        if key is not None:
            plain["shard_key"] = key
        return self._http.call("POST", f"{self._path}/{what}", plain)

    def _told(
        self,
        by_tenant: ByTenant,
        by_key: Mapping[ShardKey | None, ByTenant],
        nameless: Counted,
        method: Literal["count", "facet", "scroll"],
        size: int,
    ) -> CollectionCount:
        return CollectionCount(self._asked.collection, by_tenant, by_key, nameless, method, size)


def _add(target: ByTenant, found: Mapping[str, Counted]) -> None:
    for value, counted in found.items():
        target[value] = target.get(value, _NONE).plus(counted)


def sum_of(counts: Iterable[Counted]) -> Counted:
    total = _NONE
    for counted in counts:
        total = total.plus(counted)
    return total


def inside(text: Any, path: str) -> Any:
    """What stands at a path (``tenant_id``, ``a.b``) inside JSON text or an object; None for
    nothing, and for text that is no JSON."""
    document = text
    if isinstance(text, str):
        try:
            document = orjson.loads(text)
        except ValueError:
            return None
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document
