"""A tenant's points back: to where the tenant is now, by their ids, nobody else's touched."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import RefusedError
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.placement import PointsPlace
from aeterna_cli.stores.base.qdrant import CollectionDescription, ShardKey
from aeterna_cli.workflows.orphans import merge
from aeterna_cli.workflows.restore.tenant_slice import TenantSlice, blocks
from aeterna_cli.workflows.sorting import sorted_lines
from aeterna_cli.workflows.tenant.archive import POINTS, ArchivedCollection
from aeterna_cli.workflows.tenant.whereabouts import Whereabouts, placed_at

if TYPE_CHECKING:
    from aeterna_cli.datamap.collections import PointSelection
    from aeterna_cli.stores.qdrant_slice import Point, QdrantSlice

SHOWN = 20
_BATCH = 2000  # ids asked for at once


@dataclass(frozen=True)
class Target:
    """One live collection: what of the archive goes there, and the tenant's part of it now.

    ``selection`` is None where the collection is missing and will be made. ``key`` is where points
    go whose own shard key is not there.
    """

    collection: str
    archived: tuple[ArchivedCollection, ...]
    selection: "PointSelection | None"
    keys: tuple[ShardKey | None, ...]
    key: ShardKey | None

    @property
    def certain(self) -> bool:
        """Whether what is surplus may be deleted."""
        return all(one.certain for one in self.archived) and (
            self.selection is None or self.selection.certain
        )


@dataclass(frozen=True)
class PointsChange:
    """What a restore does (or did) to one collection, in points. ``others`` are everybody else's
    at that moment; ``equal``: nothing differs, nothing is done."""

    collection: str
    archived: int
    live: int
    new: int
    surplus: int
    equal: bool
    others: int
    conflicts: int = 0
    conflicting: tuple[str, ...] = ()


class TenantPoints:
    """The points of one restore. ``work`` is a private folder for sorted ids."""

    def __init__(
        self,
        place: Deployment,
        source: TenantSlice,
        whereabouts: Whereabouts,
        work: Path,
        check: Callable[[], None],
    ) -> None:
        self._place = place
        self._source = source
        self._whereabouts = whereabouts
        self._work = work
        self._check = check

    def targets(self) -> list[Target]:
        """Where everything goes. ``RefusedError``: ``collection_missing`` for a shared one,
        ``place_unclear`` where the tenant was moved and nothing tells which of several collections
        was its memories'."""
        described = {one.name: one for one in self._place.qdrant.describe()}
        live = {
            one.collection: one
            for one in self._whereabouts.selections(tuple(described.values())).mine
        }
        primary = placed_at(self._place, self._whereabouts.tenant)
        groups: dict[str, list[ArchivedCollection]] = {}
        for archived in self._source.facts.collections:
            groups.setdefault(self._goes_to(archived, primary), []).append(archived)
        for name in live.keys() - groups.keys():
            groups[name] = []
        return [
            self._target(name, groups[name], described.get(name), live.get(name), primary)
            for name in sorted(groups)
        ]

    def look(self, mode: str) -> list[PointsChange]:
        """What would be done; reads only."""
        with self._server() as server:
            found = [self._looked(server, one, mode) for one in self.targets()]
        return [one for one in found if one.archived or one.live]

    def apply(self, mode: str, done: Sequence[str], finished: Callable[[str], None]) -> list[Any]:
        """Every point of the archive is where the tenant is; ``done`` collections are skipped.

        May be repeated. ``RefusedError('points_taken')`` where an id is somebody else's by now.
        """
        changes = []
        with self._server() as server:
            for target in self.targets():
                if target.collection in done:
                    continue
                changes.append(self._applied(server, target, mode))
                finished(target.collection)
        return changes

    def compare(self, mode: str) -> list[Finding]:
        """The live points against the archive's digests; who writes meanwhile is seen too."""
        if mode == "missing":
            return []
        findings = []
        with self._server() as server:
            for target in self.targets():
                if not target.certain or target.selection is None:
                    continue
                found, wanted = server.digest(target.selection), _digest(target.archived)
                if (found.points, found.digest) != wanted:
                    message = f"{wanted[0]} points were restored, {found.points} are there"
                    if found.points == wanted[0]:
                        message = f"the {found.points} points are not those of the backup"
                    name = f"qdrant: {target.collection}"
                    findings.append(Finding("points_differ", "error", name, message))
        return findings

    # -- where things go

    def _goes_to(self, archived: ArchivedCollection, primary: PointsPlace | None) -> str:
        if primary is None or archived.name == primary.collection or not archived.certain:
            return archived.name
        if archived.placed:
            return primary.collection
        memories = [one for one in self._source.facts.collections if one.certain and one.points]
        if any(one.placed or one.name == primary.collection for one in memories):
            return archived.name
        if len(memories) == 1 and memories[0] == archived:
            return primary.collection
        if archived not in memories:
            return archived.name
        raise RefusedError(
            "place_unclear",
            f"the tenant is placed in {primary.collection} now, and the backup has its points in"
            f" {', '.join(one.name for one in memories)}",
            hint="nothing tells which of these were its memories: restore the other stores, or move"
            " the tenant back first",
        )

    def _target(
        self,
        name: str,
        archived: Sequence[ArchivedCollection],
        described: CollectionDescription | None,
        selection: "PointSelection | None",
        primary: PointsPlace | None,
    ) -> Target:
        key = primary.shard_key if primary is not None and primary.collection == name else None
        if described is None:
            own = [one for one in archived if one.name == name and one.whole]
            if not own:
                raise RefusedError(
                    "collection_missing",
                    f"there is no collection {name}, which several tenants share",
                    hint="restore it from a backup of the whole deployment first",
                )
            return Target(name, tuple(archived), None, own[0].description.shard_keys(), key)
        keys = described.shard_keys()
        if selection is None:
            selection = self._by_payload(name, archived, keys)
        return Target(name, tuple(archived), selection, keys, key)

    def _by_payload(
        self,
        name: str,
        archived: Sequence[ArchivedCollection],
        keys: tuple[ShardKey | None, ...],
    ) -> "PointSelection | None":
        """A collection whose name says nothing of this tenant any more: by the archive's rule."""
        for one in archived:
            classes = self._whereabouts.collections([one.description]).selections(
                self._whereabouts.tenant
            )
            for found in classes:
                return replace(found, collection=name, shard_keys=keys)
        return None

    # -- looking

    def _looked(self, server: "QdrantSlice", target: Target, mode: str) -> PointsChange:
        archived = sum(one.points for one in target.archived)
        if target.selection is None:
            return PointsChange(target.collection, archived, 0, archived, 0, False, 0)
        live = server.digest(target.selection)
        others = server.total(target.collection) - live.points
        if (live.points, live.digest) == _digest(target.archived):
            return PointsChange(target.collection, archived, live.points, 0, 0, True, others)
        self._refuse_keys(target)
        new, surplus = 0, 0
        taken: list[str] = []
        waiting: list[str] = []
        for side, name in self._difference(server, target):
            if side == "points":
                surplus += 1
                continue
            new += 1
            waiting.append(name)
            if len(waiting) >= _BATCH:
                taken += server.existing(target.collection, waiting)
                waiting = []
        taken += server.existing(target.collection, waiting)
        if mode == "missing" or not target.certain:
            surplus = 0
        return PointsChange(
            target.collection,
            archived,
            live.points,
            new,
            surplus,
            False,
            others,
            len(taken),
            tuple(taken[:SHOWN]),
        )

    def _difference(self, server: "QdrantSlice", target: Target) -> Iterator[tuple[str, str]]:
        """Ids of the archive that the tenant does not have (``rows``), and the other way round."""
        assert target.selection is not None  # noqa: S101 - the caller looked
        ours = sorted_lines((str(p["id"]) for p in self._points(target)), self._work)
        live = sorted_lines(server.ids(target.selection), self._work)
        yield from merge(ours, live)

    def _refuse_keys(self, target: Target) -> None:
        """Every shard key of the archive has a place here."""
        if target.keys == (None,) or target.key is not None:
            return
        missing = {
            str(point["shard_key"])
            for point in self._points(target)
            if point["shard_key"] not in target.keys
        }
        if missing:
            raise RefusedError(
                "shard_key_missing",
                f"{target.collection} has no shard key {', '.join(sorted(missing)[:5])}",
                hint="make the key again, or give the tenant a placement",
            )

    # -- writing

    def _applied(self, server: "QdrantSlice", target: Target, mode: str) -> PointsChange:
        change = self._looked(server, target, mode)
        refuse_taken([change])
        if change.equal or not (change.archived or change.live):
            return change
        if target.selection is None:
            description = next(
                one.description for one in target.archived if one.name == target.collection
            )
            self._place.qdrant.create_collection(description)
            server.write(target.collection, self._points(target), only_new=False)
            self._place.qdrant.finish(description, {})
            self._place.qdrant.set_aliases(description)
            return change
        if mode == "missing":
            server.write(target.collection, self._absent(server, target), only_new=True)
            return change
        server.write(target.collection, self._points(target), only_new=False)
        if change.surplus and target.certain:
            found = self._difference(server, target)
            server.delete(target.selection, (one for side, one in found if side == "points"))
        return change

    def _absent(self, server: "QdrantSlice", target: Target) -> Iterator["Point"]:
        page: list[Point] = []
        for point in self._points(target):
            page.append(point)
            if len(page) >= 250:
                yield from _without(page, server.existing(target.collection, _ids(page)))
                page = []
        yield from _without(page, server.existing(target.collection, _ids(page)))

    def _points(self, target: Target) -> Iterator["Point"]:
        """The archive's points, each with the shard key under which it goes there."""
        from aeterna_cli.stores.qdrant_image import lines_of
        from aeterna_cli.stores.qdrant_slice import read_lines

        for archived in target.archived:
            with self._source.open(POINTS, archived.volume) as stream:
                for point in read_lines(lines_of(blocks(stream))):
                    if point["shard_key"] not in target.keys:
                        point["shard_key"] = target.key
                    yield point

    def _server(self) -> "QdrantSlice":
        from aeterna_cli.stores.qdrant_slice import QdrantSlice

        return QdrantSlice(self._place.profile.qdrant, self._check)


def refuse_taken(changes: Iterable[PointsChange]) -> None:
    """``RefusedError('points_taken')`` where ids of the archive are somebody else's points now."""
    taken = [one for one in changes if one.conflicts]
    if taken:
        count = sum(one.conflicts for one in taken)
        raise RefusedError(
            "points_taken",
            f"{count} points that were saved have ids that somebody else's points have now: in "
            + ", ".join(one.collection for one in taken),
            hint="nothing was written; delete or re-identify those first",
            details={"points": {one.collection: list(one.conflicting) for one in taken}},
        )


def _digest(archived: Iterable[ArchivedCollection]) -> tuple[int, str]:
    from aeterna_cli.stores.base.qdrant import PointDigest
    from aeterna_cli.stores.qdrant_digests import combine

    total = combine(PointDigest(one.points, one.digest) for one in archived)
    return total.points, total.digest


def _ids(points: Iterable["Point"]) -> list[str]:
    return [str(one["id"]) for one in points]


def _without(points: Iterable["Point"], present: Iterable[str]) -> Iterator["Point"]:
    there = set(present)
    yield from (one for one in points if str(one["id"]) not in there)
