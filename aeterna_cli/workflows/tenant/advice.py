"""How large a tenant is, where its points lie, and where they should.

A large tenant should be alone on a shard; the others share one that is active and has room. Advice
is given to the largest first, and what it would take is taken: the advice for all of them can be
followed together.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from aeterna_cli.errors import UsageError
from aeterna_cli.settings import TenantSettings
from aeterna_cli.stores.base.placement import ShardRecord
from aeterna_cli.workflows.tenant.census import Census, CountedCollection
from aeterna_cli.workflows.tenant.census_points import Place, copies_in, place_of, second_places

SizeClass = Literal["small", "medium", "large"]
CLASSES: tuple[SizeClass, ...] = ("small", "medium", "large")


@dataclass(frozen=True)
class Advice:
    """``shard`` is where the tenant's points are served from, None where that is no registered
    shard; ``placed`` tells that its placement says so. ``collection`` and ``shard_key`` are where
    most of its memories lie, None for a tenant without points. ``why`` is said of either answer."""

    size: SizeClass
    shard: str | None
    placed: bool
    server: str
    collection: str | None
    shard_key: str | None
    recommended_shard: str | None
    move: bool
    why: str
    command: str | None


def size_class(memories: int, limits: TenantSettings) -> SizeClass:
    if memories <= limits.small:
        return "small"
    return "medium" if memories <= limits.medium else "large"


def checked(limits: TenantSettings) -> TenantSettings:
    """``UsageError('thresholds_inverted')`` where no tenant could be medium."""
    if limits.small >= limits.medium:
        raise UsageError(
            "thresholds_inverted",
            f"small tenants have up to {limits.small:,} memories, medium ones {limits.medium:,}",
            hint="tenants.small must be below tenants.medium",
            next_steps=["aeterna-cli config show"],
        )
    return limits


def advise(census: Census, limits: TenantSettings) -> Mapping[str, Advice]:
    """For every tenant, by id."""
    adviser = _Adviser(census, limits)
    ordered = sorted(census.tenants, key=lambda one: (-census.shares[one.id].memories, one.id))
    return {one.id: adviser.advise(one.id) for one in ordered}


@dataclass
class _Fill:
    """A shard as it would be once all advice so far was followed. ``tenants`` are their points;
    ``shared_by_rule``: its collection is one that the platform itself shares out."""

    record: ShardRecord
    points: int
    tenants: dict[str, int] = field(default_factory=dict)
    shared_by_rule: bool = False

    @property
    def empty(self) -> bool:
        return not self.points and not self.tenants

    @property
    def room(self) -> float:
        return self.record.capacity - self.points if self.record.capacity else float("inf")

    def leave(self, tenant: str, points: int) -> None:
        self.points -= self.tenants.pop(tenant, points)

    def enter(self, tenant: str, points: int) -> None:
        self.tenants[tenant] = points
        self.points += points


class _Adviser:
    def __init__(self, census: Census, limits: TenantSettings) -> None:
        self._census = census
        self._limits = limits
        self._copies = second_places(census)
        self._collections = {(one.server, one.name): one for one in census.collections}
        self._main = _main_places(census, self._copies)
        self._fills = {one.name: self._fill(one) for one in census.shards}
        for one in census.placements.values():
            for points in (one.primary, one.secondary):
                if points is not None and points.shard in self._fills:
                    self._fills[points.shard].tenants.setdefault(one.tenant, 0)

    def advise(self, tenant: str) -> Advice:
        memories = self._census.shares[tenant].memories
        size = size_class(memories, self._limits)
        placement = self._census.placements.get(tenant)
        place = place_of(self._census, placement.primary) if placement else self._main.get(tenant)
        shard = placement.primary.shard if placement else self._shard_at(place)
        if placement is not None and placement.secondary is not None:
            why = f"a move is running: it is also on {placement.secondary.shard}"
            chosen, move = None, False
        else:
            here = self._fills.get(shard or "")
            chosen, move, why = self._judge(tenant, size, memories, place, here)
            if move:
                self._follow(tenant, memories, here, chosen)
        command = _command(tenant, chosen) if move and chosen else None
        key = place.shard_key if place is not None else None
        return Advice(
            size=size,
            shard=shard,
            placed=placement is not None,
            server=place.server if place is not None else "",
            collection=place.collection if place is not None else None,
            shard_key=None if key is None else str(key),
            recommended_shard=chosen,
            move=move,
            why=why,
            command=command,
        )

    # -- judging

    def _judge(
        self, tenant: str, size: SizeClass, memories: int, place: Place | None, here: _Fill | None
    ) -> tuple[str | None, bool, str]:
        """The recommended shard, whether to move there, and why."""
        if place is None:
            found = self._shared(tenant, memories) if size != "large" else self._dedicated(memories)
            return found, False, "it has no points yet"
        away = self._away(here)
        if size == "large":
            return self._judge_large(tenant, memories, place, here, away)
        if not away and (here is None or here.room >= 0):
            name = here.record.name if here else None
            if not self._alone(tenant, place):
                return name, False, f"{size}: a shared place is right"
            return name or self._shared(tenant, memories), False, f"{size}, in a place of its own"
        assert here is not None  # noqa: S101  # only a registered shard is left or full
        why = away or f"{here.record.name} holds more than its capacity"
        found = self._shared(tenant, memories)
        return found, True, why if found else f"{why}; no active shared shard has room"

    def _judge_large(
        self, tenant: str, memories: int, place: Place, here: _Fill | None, away: str
    ) -> tuple[str | None, bool, str]:
        if not away and self._alone(tenant, place):
            return (here.record.name if here else None), False, "large, and alone where it is"
        why = away or f"large, and not alone in {place.collection}"
        found = self._dedicated(memories)
        return found, True, why if found else f"{why}; no active shard is empty and large enough"

    def _away(self, here: _Fill | None) -> str:
        if here is None or here.record.status in ("active", "provisioning"):
            return ""
        return f"{here.record.name} is {here.record.status}"

    def _alone(self, tenant: str, place: Place) -> bool:
        """Whether nobody else's points lie there, whoever they may be."""
        found = self._collections.get((place.server, place.collection))
        owners = _owners(found, place) if found is not None else {}
        return all(one == tenant or not points for one, points in owners.items())

    def _dedicated(self, memories: int) -> str | None:
        able = [
            one
            for one in self._fills.values()
            if one.record.status == "active"
            and one.empty
            and not one.shared_by_rule
            and one.room >= memories
        ]
        return min((one.record.name for one in able), default=None)

    def _shared(self, tenant: str, memories: int) -> str | None:
        """The active shared shard with most room; an empty one that nothing marks as shared last,
        it may be wanted for a large tenant."""
        able = [
            one
            for one in self._fills.values()
            if one.record.status == "active"
            and not self._dedicated_to_one(one)
            and one.room >= memories
            and tenant not in one.tenants
        ]
        best = min(able, key=self._preference, default=None)
        return best.record.name if best else None

    def _dedicated_to_one(self, fill: _Fill) -> bool:
        (points, *others) = fill.tenants.values() or (0,)
        return not others and size_class(points, self._limits) == "large"

    @staticmethod
    def _preference(fill: _Fill) -> tuple[bool, float, str]:
        return (fill.empty and not fill.shared_by_rule, -fill.room, fill.record.name)

    def _follow(self, tenant: str, memories: int, here: _Fill | None, chosen: str | None) -> None:
        if here is not None:
            here.leave(tenant, memories)
        if chosen is not None:
            self._fills[chosen].enter(tenant, memories)

    # -- where things are

    def _shard_at(self, place: Place | None) -> str | None:
        for one in self._census.shards:
            if place == Place(one.server, one.collection, one.shard_key):
                return one.name
        return None

    def _fill(self, record: ShardRecord) -> _Fill:
        found = self._collections.get((record.server, record.collection))
        if found is None:
            return _Fill(record, 0)
        owners = _owners(found, Place(record.server, record.collection, record.shard_key))
        tenants = {one: points for one, points in owners.items() if isinstance(one, str) and points}
        shared = found.kind == "shared" and found.rule != ""
        return _Fill(record, sum(owners.values()), tenants, shared_by_rule=shared)


def _owners(found: CountedCollection, place: Place) -> Mapping[object, int]:
    counts = found.by_owner if place.shard_key is None else found.by_key.get(place.shard_key, {})
    return {owner: counted.points for owner, counted in counts.items()}


def _main_places(census: Census, copies: Mapping[str, Place]) -> Mapping[str, Place]:
    """Where most of a tenant's memories lie."""
    best: dict[str, tuple[int, Place]] = {}
    for found in census.collections:
        if not found.memory:
            continue
        for key, owners in found.by_key.items():
            for owner, counted in owners.items():
                if not isinstance(owner, str) or copies_in(found, owner, copies).points:
                    continue
                if counted.points > best.get(owner, (0, None))[0]:
                    best[owner] = (counted.points, Place(found.server, found.name, key))
    return {owner: place for owner, (_points, place) in best.items()}


def _command(tenant: str, shard: str) -> str:
    words: Sequence[str] = (
        "aeterna-cli", "tenant", "migrate", "--tenant-id", tenant, "--to-shard", shard,
    )  # fmt: skip
    return shlex.join(words)
