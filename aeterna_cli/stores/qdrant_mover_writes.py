"""Writing into one end of a move without ever undoing what the application wrote meanwhile.

What a server cannot do is not sent: a version that does not know ``update_filter`` or
``update_mode`` ignores it without a word and overwrites.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from aeterna_cli.errors import FailedError, RemoteError, TransientError
from aeterna_cli.stores.base.mover import PointId
from aeterna_cli.stores.qdrant_mover_end import QdrantEnd

UPDATE_FILTER = (1, 15, 5)  # documented with 1.16
UPDATE_MODE = (1, 17, 0)
#: Applied when the server answers, and in one order on all replicas.
APPLIED = {"wait": "true", "ordering": "strong"}
_BODY_BYTES = 16 << 20
#: Above, the server's number filters (64-bit floats) cannot tell two neighbours apart.
LARGEST_VERSION = 1 << 53

Point = dict[str, Any]


def can_condition(version: tuple[int, ...]) -> bool:
    """Whether the server compares before it writes."""
    return version >= UPDATE_FILTER


def older_than(version: int) -> dict[str, Any]:
    return {"key": "version", "range": {"lt": version}}


def not_newer_than(version: int) -> dict[str, Any]:
    return {"key": "version", "range": {"lte": version}}


class EndWrites:
    """Every write may be repeated, is applied when it returns, and touches this tenant only.

    An id that another tenant has there already is never overwritten: ``FailedError
    ('point_ids_taken')`` on servers that cannot compare; on others nothing is written, the point
    stays missing, and ``refuse_taken`` says why.
    """

    def __init__(self, end: QdrantEnd) -> None:
        self._end = end

    # -- points

    def insert(self, points: Sequence[Point]) -> None:
        """Those that are not there; what is there stays as it is (on servers before 1.15.5 it is
        overwritten: only where nobody else writes)."""
        version = self._end.version
        if version >= UPDATE_MODE:
            self._put(points, {"update_mode": "insert_only"})
        elif can_condition(version):
            self._put(points, {"update_filter": {"must": [{"has_id": []}]}})
        else:
            self.overwrite(points)

    def overwrite(self, points: Sequence[Point]) -> None:
        """As they are, whatever this tenant has there: only where nobody else writes."""
        if not self._end.tenant:
            self._put(points, {})
        elif can_condition(self._end.version):
            self._put(points, {"update_filter": {"must": self._end.tenant}})
        else:
            self.refuse_taken([point["id"] for point in points])
            self._put(points, {})

    def upsert_newer(self, points: Iterable[Point]) -> None:
        """Each where it is missing or older, by its payload's ``version``."""
        if not can_condition(self._end.version):
            self.overwrite(list(points))
            return
        groups: dict[int, list[Point]] = {}
        for point in points:
            groups.setdefault(point["payload"]["version"], []).append(_body_of(point))
        self._batch(
            [
                {
                    "upsert": self._end.addressed(
                        {
                            "points": group,
                            "update_filter": {"must": [*self._end.tenant, older_than(version)]},
                        }
                    )
                }
                for version, group in groups.items()
            ]
        )

    def refuse_taken(self, ids: Sequence[PointId]) -> None:
        """``FailedError('point_ids_taken')`` where another tenant has one of these ids here."""
        if not self._end.tenant or not ids:
            return
        body = {
            "filter": {"must": [{"has_id": list(ids)}], "must_not": self._end.tenant},
            "limit": 10,
            "with_payload": False,
        }
        path = f"{self._end.path}/points/scroll"
        found = self._end.writing.call("POST", path, self._end.addressed(body))["points"]
        if found:
            raise FailedError(
                "point_ids_taken",
                f"{len(found)} or more ids of this tenant belong to somebody else in"
                f" {self._end.description}",
                hint="nothing of theirs was touched; move to a collection without these ids",
                details={"ids": [point["id"] for point in found]},
            )

    def _put(self, points: Sequence[Point], condition: dict[str, Any]) -> None:
        """One request, or several where the points are too long for one."""
        if not points:
            return
        body = self._end.addressed({"points": [_body_of(one) for one in points], **condition})
        content = orjson.dumps(body)
        if len(content) > _BODY_BYTES and len(points) > 1:
            half = len(points) // 2
            self._put(points[:half], condition)
            self._put(points[half:], condition)
            return
        self._send("PUT", f"{self._end.path}/points", content)

    # -- deletes

    def delete_seen(self, seen: Iterable[tuple[PointId, int]]) -> None:
        """Each unless it is newer than the version that was seen."""
        groups: dict[int, list[PointId]] = {}
        for identifier, version in seen:
            groups.setdefault(version, []).append(identifier)
        self._batch(
            [
                self._deletion([{"has_id": group}, not_newer_than(version)])
                for version, group in groups.items()
            ]
        )

    def delete_ids(self, ids: Sequence[PointId]) -> None:
        """Whatever their content: only where nobody else writes."""
        if ids:
            self._batch([self._deletion([{"has_id": list(ids)}])])

    def _deletion(self, conditions: list[dict[str, Any]]) -> dict[str, Any]:
        condition = {"must": [*self._end.tenant, *conditions]}
        return {"delete": self._end.addressed({"filter": condition})}

    # -- the wire

    def _batch(self, operations: list[dict[str, Any]]) -> None:
        for first in range(0, len(operations), self._end.page):
            some = operations[first : first + self._end.page]
            content = orjson.dumps({"operations": some})
            self._send("POST", f"{self._end.path}/points/batch", content)

    def _send(self, method: str, path: str, content: bytes) -> None:
        self._end.writing.retried(lambda: self._once(method, path, content))

    def _once(self, method: str, path: str, content: bytes) -> None:
        """``TransientError('qdrant_not_applied')`` where the server only took note of it."""
        http = self._end.writing.http
        headers = {"content-type": "application/json"}
        answer = http.call(method, path, content=content, headers=headers, params=APPLIED)
        results = answer if isinstance(answer, list) else [answer]
        try:
            statuses = {one["status"] for one in results}
        except (KeyError, TypeError) as error:
            raise RemoteError(
                "qdrant_answer_unreadable",
                f"{self._end.description} does not say whether a write was applied",
            ) from error
        if statuses - {"completed"}:
            raise TransientError(
                "qdrant_not_applied",
                f"writes to {self._end.description} are {', '.join(sorted(statuses))},"
                " not yet applied",
            )


def _body_of(point: Point) -> Point:
    vector = point.get("vector")
    return {"id": point["id"], "vector": vector or {}, "payload": point.get("payload")}
