"""The bodies of a dual write's second request: nothing that is older ever covers what is newer.

Pure functions; the bodies go to Qdrant 1.16 or newer with ``?wait=true``. A version is an integer
that grows with every change of the point, a deletion included; the server compares it as a 64-bit
float, so it ends at 2^53.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aeterna_cli.stores.base.placement import PointsPlace

PointId = int | str
JsonObject = dict[str, Any]

_EXACT = 1 << 53


def shard_key_selector(place: PointsPlace) -> JsonObject:
    """What every request at ``place`` carries beside its own fields, reads too.

    Empty where the collection is one shard; a target with a fallback while the server itself moves
    the tenant between two keys.
    """
    if place.shard_key is None:
        return {}
    if place.fallback_key is None:
        return {"shard_key": place.shard_key}
    return {"shard_key": {"target": place.shard_key, "fallback": place.fallback_key}}


def conditional_upserts(
    place: PointsPlace, points: Sequence[Mapping[str, Any]], *, version_field: str = "version"
) -> JsonObject:
    """The body of ``POST /collections/{c}/points/batch``: each point is written where none is or
    where that is older by ``version_field`` of the payload.

    ``points`` are points as of ``PUT /points``, each with its version. One operation per point, for
    the bound is one per operation. ``ValueError`` for a point without a version.
    """
    return {
        "operations": [
            {
                "upsert": {
                    "points": [dict(point)],
                    "update_filter": {
                        "must": [{"key": version_field, "range": {"lt": _of(point, version_field)}}]
                    },
                    **shard_key_selector(place),
                }
            }
            for point in points
        ]
    }


def conditional_delete(
    place: PointsPlace, point: PointId, version: int, *, version_field: str = "version"
) -> JsonObject:
    """The body of ``POST /collections/{c}/points/delete``: the point goes if it is not newer than
    ``version``, the one that the deletion was decided on (or was given)."""
    return {"filter": _not_newer(point, version, version_field), **shard_key_selector(place)}


def conditional_deletes(
    place: PointsPlace, versions: Mapping[PointId, int], *, version_field: str = "version"
) -> JsonObject:
    """The same for several points: the body of ``POST /collections/{c}/points/batch``."""
    return {
        "operations": [
            {"delete": conditional_delete(place, point, version, version_field=version_field)}
            for point, version in versions.items()
        ]
    }


def _not_newer(point: PointId, version: int, field: str) -> JsonObject:
    bound = {"key": field, "range": {"lte": _exact(version)}}
    return {"must": [{"has_id": [point]}, bound]}


def _of(point: Mapping[str, Any], field: str) -> int:
    payload = point.get("payload") or {}
    if field not in payload:
        raise ValueError(f"point {point.get('id')!r} has no {field!r} in its payload")
    return _exact(payload[field])


def _exact(version: Any) -> int:
    if not isinstance(version, int) or isinstance(version, bool):
        raise ValueError(f"a version is an integer, not {version!r}")
    if not 0 <= version <= _EXACT:
        raise ValueError(f"a version lies between 0 and 2^53, {version} does not")
    return version
