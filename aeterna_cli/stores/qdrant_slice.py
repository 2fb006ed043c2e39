"""A tenant's points in a live server: read in pages, written in batches, deleted by their ids."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any

import orjson

from aeterna_cli.errors import AeternaError, RemoteError
from aeterna_cli.settings import QdrantSettings
from aeterna_cli.stores.base.qdrant import PointDigest, ShardKey
from aeterna_cli.stores.qdrant_describe import exact_count
from aeterna_cli.stores.qdrant_digests import DigestSum
from aeterna_cli.stores.qdrant_http import QdrantHttp, part
from aeterna_cli.stores.qdrant_selection import PointTest, SelectedPoints

_PAGE = 250
_PAGE_OF_IDS = 2_000
_BATCH_BYTES = 8 << 20
_WAIT = {"wait": "true"}

Point = dict[str, Any]


def _nothing() -> None:
    return


class QdrantSlice:
    """The points that a selection names. Errors as of ``QdrantServer``; for one thread at a time.

    ``check`` is asked between pages and raises to end the work.
    """

    def __init__(self, settings: QdrantSettings, check: Callable[[], None] = _nothing) -> None:
        self._http = QdrantHttp(settings)
        self._check = check

    def __enter__(self) -> "QdrantSlice":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    # -- reading

    def points(self, selection: SelectedPoints) -> Iterator[Point]:
        """Every point with vectors, payload and ``shard_key``; one under two keys comes twice."""
        for key, page in self._pages(selection, vectors=True):
            for point in page:
                yield {
                    "id": point["id"],
                    "vector": point.get("vector"),
                    "payload": point.get("payload") or {},
                    "shard_key": key,
                }

    def ids(self, selection: SelectedPoints) -> Iterator[str]:
        for _key, page in self._pages(selection, vectors=False):
            yield from (str(point["id"]) for point in page)

    def digest(self, selection: SelectedPoints) -> PointDigest:
        digest = DigestSum()
        for point in self.points(selection):
            digest.add(point["id"], point["vector"], point["payload"])
        return digest.result()

    def total(self, collection: str) -> int:
        """Everybody's points, exact at that moment."""
        return exact_count(self._http, collection, None)

    def existing(self, collection: str, ids: Iterable[str]) -> Iterator[str]:
        """Those of these ids that are there, whoever's they are."""
        remaining = iter(ids)
        while batch := list(islice(remaining, _PAGE_OF_IDS)):
            self._check()
            body = {"ids": [_id(one) for one in batch], "with_payload": False}
            for point in self._http.call("POST", f"{_path(collection)}/points", body):
                yield str(point["id"])

    # -- writing

    def write(self, collection: str, points: Iterable[Point], *, only_new: bool) -> int:
        """Upsert these, each under its ``shard_key``; how many. Applied when this returns.

        ``only_new``: the caller knows that they are not there; servers from 1.17 on are told to
        insert only, so that one that came meanwhile is not overwritten.
        """
        done = 0
        for key, batch in _batches(points):
            self._check()
            body: dict[str, Any] = {"points": batch}
            if key is not None:
                body["shard_key"] = key
            if only_new:
                body["update_mode"] = "insert_only"
            self._http.upsert(collection, body)
            done += len(batch)
        return done

    def delete(self, selection: SelectedPoints, ids: Iterable[str]) -> int:
        """Delete these ids; how many were named. In a shared collection a point that became
        somebody else's meanwhile is left alone."""
        remaining, done = iter(ids), 0
        path = f"{_path(selection.collection)}/points/delete"
        while batch := list(islice(remaining, _PAGE_OF_IDS)):
            self._check()
            named = {"has_id": [_id(one) for one in batch]}
            for mine in _conditions(selection):
                for key in selection.shard_keys:
                    body: dict[str, Any] = {"filter": {"must": [named, *mine]}}
                    if key is not None:
                        body["shard_key"] = key
                    self._http.call("POST", path, body, params=_WAIT)
            done += len(batch)
        return done

    # -- pages

    def _pages(
        self, selection: SelectedPoints, *, vectors: bool
    ) -> Iterator[tuple[ShardKey | None, list[Point]]]:
        """By the server's filter; where strict mode forbids it (no index), everything is read."""
        test = PointTest.of(selection)
        for key in selection.shard_keys:
            try:
                yield from self._filtered(selection, test, key, vectors=vectors)
            except RemoteError as error:
                if "strict mode" not in error.message.lower():
                    raise
                for page in self._scroll(selection.collection, key, None, _wanted(vectors)):
                    yield key, [one for one in page if test(one.get("payload"))]

    def _filtered(
        self, selection: SelectedPoints, test: PointTest, key: ShardKey | None, *, vectors: bool
    ) -> Iterator[tuple[ShardKey | None, list[Point]]]:
        wanted = {"with_payload": vectors, "with_vector": vectors}
        unfiltered = selection.unfiltered()
        for page in self._scroll(selection.collection, key, selection.condition(), wanted):
            yield key, page
        if unfiltered is not None:
            for page in self._scroll(selection.collection, key, unfiltered, _wanted(vectors)):
                yield key, [one for one in page if test.by_text(one.get("payload"))]

    def _scroll(
        self,
        collection: str,
        key: ShardKey | None,
        condition: dict[str, Any] | None,
        wanted: dict[str, bool],
    ) -> Iterator[list[Point]]:
        limit = _PAGE if wanted["with_vector"] else _PAGE_OF_IDS
        body: dict[str, Any] = {"limit": limit, **wanted}
        if condition is not None:
            body["filter"] = condition
        if key is not None:
            body["shard_key"] = key
        while True:
            self._check()
            answer = self._http.call("POST", f"{_path(collection)}/points/scroll", body)
            if answer["points"]:
                yield answer["points"]
            following = answer.get("next_page_offset")
            if following is None:
                return
            if following == body.get("offset"):
                raise RemoteError("qdrant_scroll_stuck", f"scrolling {collection} does not advance")
            body["offset"] = following


def as_line(point: Point) -> bytes:
    """A point as the logical images have it: one line of JSON."""
    return orjson.dumps(point, option=orjson.OPT_APPEND_NEWLINE)


def collection_is_there(settings: QdrantSettings, collection: str) -> bool:
    http = QdrantHttp(settings)
    try:
        exact_count(http, collection, None)
    except AeternaError as error:
        if error.details.get("status") == 404:
            return False
        raise
    finally:
        http.close()
    return True


def _wanted(vectors: bool) -> dict[str, bool]:
    return {"with_payload": True, "with_vector": vectors}


def _conditions(selection: SelectedPoints) -> list[list[dict[str, Any]]]:
    """What must hold beside the id: the field names the tenant, or there is no field."""
    condition, unfiltered = selection.condition(), selection.unfiltered()
    if condition is None:
        return [[]]
    return [condition["must"], *([unfiltered["must"]] if unfiltered is not None else [])]


def _batches(points: Iterable[Point]) -> Iterator[tuple[ShardKey | None, list[Point]]]:
    batch: list[Point] = []
    key: ShardKey | None = None
    size = 0
    for point in points:
        found = point.get("shard_key")
        if batch and (found != key or len(batch) >= _PAGE or size >= _BATCH_BYTES):
            yield key, batch
            batch, size = [], 0
        key = found
        batch.append(
            {"id": point["id"], "vector": point["vector"] or {}, "payload": point["payload"]}
        )
        size += len(orjson.dumps(batch[-1]))
    if batch:
        yield key, batch


def _id(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _path(collection: str) -> str:
    return f"/collections/{part(collection)}"


def read_lines(lines: Iterable[bytes]) -> Iterator[Point]:
    """Points from lines as ``as_line`` writes them; ``RemoteError('points_damaged')``."""
    for line in lines:
        try:
            point = orjson.loads(line)
            known = {name: point[name] for name in ("id", "vector", "payload")}
        except (ValueError, KeyError, TypeError) as error:
            raise RemoteError("points_damaged", "a line of the backup is no point") from error
        yield {**known, "shard_key": point.get("shard_key")}
