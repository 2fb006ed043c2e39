"""The Qdrant part of the census: every collection of every server that shards lie on."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from aeterna_cli.datamap.collections import CollectionClass
from aeterna_cli.stores.base.placement import PointsPlace
from aeterna_cli.stores.base.qdrant import CollectionDescription, ShardKey
from aeterna_cli.stores.base.tenant_counts import CollectionCount, Counted, PointsQuestion
from aeterna_cli.workflows.datamap.build import collections_of
from aeterna_cli.workflows.tenant.census import (
    MONTH,
    WEEK,
    Census,
    CountedCollection,
    Nobody,
    Owner,
    Share,
    Surroundings,
)

_NONE = Counted(0, 0)
#: how the platform's memories name their tenant, for shards whose collection no rule knows
_FIELD, _JSON_FIELD, _JSON_PATH, _CREATED = "tenant_id", "metadata", "tenant_id", "created_at"
_WHYS = {
    "codesearch": "code search: its name is no proof of a tenant",
    "tenant": "two tenants' collection by its name",
    "unknown": "no such tenant's collection",
    "infrastructure": "the deployment's collection",
    "ours": "this tool's collection",
}


@dataclass(frozen=True)
class Place:
    """Where a shard's points are, on which server."""

    server: str
    collection: str
    shard_key: ShardKey | None


def place_of(census: Census, points: PointsPlace) -> Place:
    server = next((one.server for one in census.shards if one.name == points.shard), "")
    return Place(server, points.collection, points.shard_key)


def servers(census: Census) -> list[str]:
    """The profile's own Qdrant, and those that a shard in use lies on. What lies on a shard that is
    offline is counted where a placement names it all the same."""
    placed = {
        points.shard
        for one in census.placements.values()
        for points in (one.primary, one.secondary)
        if points is not None
    }
    used = {one.server for one in census.shards if one.status != "offline" or one.name in placed}
    return sorted(used | {""})


def count(around: Surroundings, census: Census) -> None:
    """Every collection's points are in the shares when this returns, or nobody's."""
    copies = second_places(census)
    for server in servers(census):
        counter = around.place.qdrant_tenants(server)
        described = counter.outlines()
        classes = collections_of(described, census.rules, census.tenants)
        by_name = {one.collection: one for one in classes.classes}
        questions = _questions(census, server, classes.questions(), by_name, described)
        step = f"counting points on {server}" if server else "counting points"
        counts = counter.count(
            around.each(step, questions, "collections"),
            since=census.taken_at - WEEK if census.depth.week else None,
            longer=census.taken_at - MONTH,
            stop=around.stopped,
        )
        for question in questions:
            if question.collection in counts:
                one = by_name[question.collection]
                found = _counted(census, server, one, question, counts[one.collection])
                _share_out(census, found, copies)
        _ours(around, census, server, classes.classes)


# -- what is asked


def _questions(
    census: Census,
    server: str,
    questions: Sequence[PointsQuestion],
    classes: Mapping[str, CollectionClass],
    described: Sequence[CollectionDescription],
) -> list[PointsQuestion]:
    """A shard's collection that several tenants may lie in is told apart by its payloads, whatever
    its name is."""
    schemas = {one.name: one.payload_schema for one in described}
    placed = _placed_in(census, server)
    made = []
    for question in questions:
        found = classes[question.collection]
        strangers = placed.get(found.collection, set()) - set(found.tenants)
        registered = _registered(census, server, found.collection)
        if (found.kind in ("unclassified", "unknown") and registered) or (
            found.kind == "tenant" and strangers
        ):
            made.append(_by_payload(question, schemas[found.collection]))
        else:
            made.append(question)
    return made


def _by_payload(
    question: PointsQuestion, schema: Mapping[str, Mapping[str, str]]
) -> PointsQuestion:
    return replace(
        question,
        owner=None,
        field=_FIELD,
        json_field=_JSON_FIELD,
        json_path=_JSON_PATH,
        created=_CREATED,
        indexed=schema.get(_FIELD, {}).get("data_type") in ("keyword", "uuid"),
        created_indexed=schema.get(_CREATED, {}).get("data_type") == "integer",
    )


def _placed_in(census: Census, server: str) -> Mapping[str, set[str]]:
    """The tenants whose placement, or whose move's target, names a collection of this server."""
    found: dict[str, set[str]] = {}
    for one in census.placements.values():
        for points in (one.primary, one.secondary):
            place = place_of(census, points) if points is not None else None
            if place is not None and place.server == server:
                found.setdefault(place.collection, set()).add(one.tenant)
    for move in census.moves.values():
        target = _end(move.target)
        if target.server == server:
            found.setdefault(target.collection, set()).add(move.tenant)
    return found


def _registered(census: Census, server: str, collection: str) -> bool:
    return any((one.server, one.collection) == (server, collection) for one in census.shards)


def _is_memory(census: Census, server: str, found: CollectionClass) -> bool:
    return found.kind in ("shared", "tenant") or _registered(census, server, found.collection)


# -- whose it is


def _counted(
    census: Census,
    server: str,
    found: CollectionClass,
    question: PointsQuestion,
    counts: CollectionCount,
) -> CountedCollection:
    def owner(value: str) -> Owner:
        if question.owner is None:
            return census.owner(value)
        return value or Nobody(found.collection, _WHYS.get(found.kind, "unclassified collection"))

    def owned(values: Iterable[tuple[str, Counted]]) -> dict[Owner, Counted]:
        made: dict[Owner, Counted] = {}
        for value, counted in values:
            made[owner(value)] = made.get(owner(value), _NONE).plus(counted)
        return made

    by_owner = owned(counts.by_tenant.items())
    if counts.nameless.points:
        nobody = census.owner(None)
        by_owner[nobody] = by_owner.get(nobody, _NONE).plus(counts.nameless)
    return CountedCollection(
        server=server,
        name=found.collection,
        kind=found.kind,
        rule=found.rule.name if found.rule is not None else "",
        memory=_is_memory(census, server, found),
        method=counts.method,
        may_be=found.tenants if question.owner == "" else (),
        by_owner=by_owner,
        by_key={key: owned(values.items()) for key, values in counts.by_key.items()},
        bytes_per_point=counts.bytes_per_point,
    )


def _share_out(census: Census, found: CountedCollection, copies: Mapping[str, Place]) -> None:
    for owner, counted in found.by_owner.items():
        second = copies_in(found, owner, copies)
        first = Counted(
            counted.points - second.points,
            counted.recent - second.recent,
            counted.longer - second.longer,
        )
        share = Share(
            points=first.points,
            copies=second.points,
            point_bytes=counted.points * found.bytes_per_point,
            memory_points=first.points if found.memory else 0,
            memory_points_week=first.recent if found.memory else 0,
            memory_points_month=first.longer if found.memory else 0,
        )
        census.share(owner).add(share)
        census.total.add(share)
    census.collections.append(found)


def copies_in(found: CountedCollection, owner: Owner, copies: Mapping[str, Place]) -> Counted:
    """The owner's points here that are the second copies of a running move."""
    place = copies.get(owner) if isinstance(owner, str) else None
    if place is None or (place.server, place.collection) != (found.server, found.name):
        return _NONE
    if place.shard_key is None:
        return found.by_owner.get(owner, _NONE)
    return found.by_key.get(place.shard_key, {}).get(owner, _NONE)


def second_places(census: Census) -> Mapping[str, Place]:
    """Where an unfinished move has a tenant's points a second time: at the placement's secondary,
    and, where there is none (yet), at the end of the move that the tenant is not served from. Two
    shard keys of one collection need no care: the pass over it counts a point once."""
    found: dict[str, Place] = {}
    for move in census.moves.values():
        source, target = _end(move.source), _end(move.target)
        placement = census.placements.get(move.tenant)
        served = place_of(census, placement.primary) if placement else source
        _second(found, move.tenant, served, source if served == target else target)
    for one in census.placements.values():
        if one.secondary is not None:
            first, second = place_of(census, one.primary), place_of(census, one.secondary)
            _second(found, one.tenant, first, second)
    return found


def _end(document: Mapping[str, Any]) -> Place:
    return Place(document["server"], document["collection"], document.get("shard_key"))


def _second(found: dict[str, Place], tenant: str, first: Place, second: Place) -> None:
    if (first.server, first.collection) != (second.server, second.collection):
        found[tenant] = second


def _ours(
    around: Surroundings, census: Census, server: str, classes: Sequence[CollectionClass]
) -> None:
    """Our own collection is not asked for tenants, but it is there."""
    for found in classes:
        if found.kind == "ours":
            with around.place.qdrant_server(server) as opened:
                share = Share(points=opened.count(found.collection, None))
            census.share(Nobody(found.collection, _WHYS["ours"])).add(share)
            census.total.add(share)
