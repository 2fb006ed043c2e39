"""An operation as the requests that write it: the first time, and the second time elsewhere."""

from typing import Any

from aeterna_cli.lab.workload.model import Operation, Universe
from aeterna_cli.lab.workload.points import selector
from aeterna_cli.stores.base.placement import PointsPlace

#: method, path below the collection, body
Request = tuple[str, str, dict[str, Any]]


def first_write(universe: Universe, one: Operation, place: PointsPlace) -> Request:
    """Unconditional, as an application writes where it alone writes."""
    identity, where = universe.id(one.number), selector(place)
    if one.kind == "delete":
        return "POST", "/points/delete", {"points": [identity], **where}
    if one.kind == "payload":
        body = {"payload": universe.changing(one), "points": [identity], **where}
        return "POST", "/points/payload", body
    return "PUT", "/points", {"points": [_point(universe, one)], **where}


def second_write(universe: Universe, one: Operation, place: PointsPlace) -> Request:
    """Conditional on the version, as the client builds it.

    A payload update carries the whole point here: where an earlier second write is missing, fields
    alone would put the new version on an old vector, and no comparison of versions would find it.
    """
    from aeterna_cli.client.requests import conditional_delete, conditional_upserts

    if one.kind == "delete":
        body = conditional_delete(place, universe.id(one.number), one.version)
        return "POST", "/points/delete", body
    return "POST", "/points/batch", conditional_upserts(place, [_point(universe, one)])


def _point(universe: Universe, one: Operation) -> dict[str, Any]:
    """The whole point as it is after the operation."""
    return {
        "id": universe.id(one.number),
        "vector": universe.vectors([one.number], [one.embedded])[0],
        "payload": universe.payload(one),
    }
