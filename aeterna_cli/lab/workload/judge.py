"""The verdict on one tenant's points at rest, from the logs and the servers alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from aeterna_cli.lab.workload.adopted import digest
from aeterna_cli.lab.workload.history import History
from aeterna_cli.lab.workload.model import Operation, Universe
from aeterna_cli.lab.workload.points import PAGE, Servers, of_tenant
from aeterna_cli.lab.workload.verdict import AtRest, Finding
from aeterna_cli.stores.base.placement import PointsPlace

EXAMPLES = 10
#: The greatest difference of one float of a unit vector that is still the same vector. A server
#: that normalises anew changes the last bit of a float32; half precision changes 1e-5 and more.
TOLERANCE = 1e-6


@dataclass
class Findings:
    """Counts that grow, and the first examples of each sort."""

    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, sort: str, text: str, count: int = 1) -> None:
        self.counts[sort] = self.counts.get(sort, 0) + count
        kept = self.examples.setdefault(sort, [])
        if len(kept) < EXAMPLES:
            kept.append(text)

    def at_rest(self) -> AtRest:
        return AtRest(
            **{
                one.name: Finding(
                    self.counts.get(one.name, 0), tuple(self.examples.get(one.name, ()))
                )
                for one in fields(AtRest)
            }
        )


@dataclass(frozen=True)
class Case:
    """What is judged. ``exclusive``: the place is this tenant's alone, so every point of another
    tenant there is foreign. ``single``: no second copy under another shard key is allowed.
    ``emptied``: places where no point of this tenant may be left. ``adopted``: points from before
    the workload, by id, with their digests."""

    universe: Universe
    history: History
    place: PointsPlace
    exclusive: bool = False
    single: bool = True
    emptied: Sequence[PointsPlace] = ()
    adopted: Mapping[str, str] = field(default_factory=dict)


def judge(servers: Servers, case: Case) -> AtRest:
    """Compares every point at the place, content and vector, with what was acknowledged.

    Nothing may write meanwhile. Memory grows with the ids alone.
    """
    numbers = {case.universe.id(number): number for number in case.history.numbers()}
    findings = Findings()
    seen: set[str] = set()
    for page in servers.scan(case.place, of_tenant(case.universe.tenant)):
        seen |= _judge_page(case, numbers, page, findings)
    named = _judge_missing(servers, case, numbers, seen, findings)
    if case.exclusive:
        _judge_strangers(servers, case, named, findings)
    if case.single:
        _judge_copies(servers, case, findings)
    for place in case.emptied:
        left = servers.count(place, of_tenant(case.universe.tenant))
        if left:
            findings.add("leftover", f"{left} points at {place}", left)
    return findings.at_rest()


def _judge_page(
    case: Case, numbers: dict[str, int], page: list[dict[str, Any]], findings: Findings
) -> set[str]:
    """The ids of the page that are this tenant's."""
    seen: set[str] = set()
    same: list[tuple[dict[str, Any], Operation]] = []
    for point in page:
        identity = str(point["id"])
        number = numbers.get(identity)
        if number is None:
            _judge_unwritten(case, point, findings)
            seen.add(identity)
            continue
        seen.add(identity)
        state = _state_of(point, case.history.allowed(number))
        if state is not None:
            same.append((point, state))
            continue
        sort, text = _fault(point, case.history, number)
        findings.add(sort, text)
    for point, text in differences(case.universe, same):
        findings.add("wrong", f"{point['id']}: {text}")
    return seen


def _judge_unwritten(case: Case, point: dict[str, Any], findings: Findings) -> None:
    """A point that this workload never wrote is one from before it, or does not belong here."""
    known = case.adopted.get(str(point["id"]))
    if known is None:
        findings.add("foreign", f"{point['id']}: this tenant never wrote it")
    elif known != digest(point):
        findings.add("wrong", f"{point['id']}: was there before the workload and has changed")


def _state_of(point: dict[str, Any], allowed: Sequence[Operation | None]) -> Operation | None:
    version = (point.get("payload") or {}).get("version")
    for state in allowed:
        if state is not None and state.alive and state.version == version:
            return state
    return None


def _fault(point: dict[str, Any], history: History, number: int) -> tuple[str, str]:
    """The sort of a point whose version is none of those allowed."""
    version = (point.get("payload") or {}).get("version")
    certain = history.last.get(number)
    words = f"{point['id']} (number {number}): version {version} is there"
    if certain is not None and not certain.alive:
        return "resurrected", f"{words}, deleted as version {certain.version}"
    if certain is not None and isinstance(version, int) and version < certain.version:
        return "stale", f"{words}, version {certain.version} was acknowledged"
    return "wrong", f"{words}, which was never written"


def differences(
    universe: Universe, same: Sequence[tuple[dict[str, Any], Operation]]
) -> Iterator[tuple[dict[str, Any], str]]:
    """The points whose payload or vector is not what the operation wrote, and how."""
    import numpy as np

    if not same:
        return
    expected = universe.vectors(
        [state.number for _, state in same], [state.embedded for _, state in same]
    )
    for row, (point, state) in zip(expected, same, strict=True):
        wanted = universe.payload(state)
        if point["payload"] != wanted:
            fields_ = sorted(
                key
                for key in wanted.keys() | point["payload"].keys()
                if wanted.get(key) != point["payload"].get(key)
            )
            yield point, f"version {state.version} with another {', '.join(fields_)}"
            continue
        vector = point.get("vector")
        if not isinstance(vector, list) or len(vector) != universe.dimensions:
            yield point, f"version {state.version} without its vector"
        elif not np.abs(np.asarray(vector, dtype=np.float32) - row).max() <= TOLERANCE:
            yield point, f"version {state.version} with another vector"


def _judge_missing(
    servers: Servers, case: Case, numbers: dict[str, int], seen: set[str], findings: Findings
) -> set[str]:
    """A point that must be there and is not: lost, unless another tenant's name is on it; these
    are returned."""
    named: set[str] = set()
    missing = [
        identity
        for identity, number in numbers.items()
        if identity not in seen
        and all(state is not None and state.alive for state in case.history.allowed(number))
    ]
    missing += [identity for identity in case.adopted if identity not in seen]
    for start in range(0, len(missing), PAGE):
        batch = missing[start : start + PAGE]
        there = {one["id"]: one for one in servers.retrieve(case.place, batch)}
        for identity in batch:
            if identity in there:
                owner = (there[identity].get("payload") or {}).get("tenant_id")
                named.add(identity)
                findings.add("foreign", f"{identity}: it says that it belongs to {owner!r}")
            else:
                findings.add("lost", _lost(case, identity, numbers.get(identity)))
    return named


def _lost(case: Case, identity: str, number: int | None) -> str:
    if number is None:
        return f"{identity}: was there before the workload"
    state = case.history.allowed(number)[0]
    version = state.version if state else None
    return f"{identity} (number {number}): version {version} was acknowledged"


def _judge_strangers(servers: Servers, case: Case, named: set[str], findings: Findings) -> None:
    """Points of other tenants, but for those in ``named``, which were found already."""
    others = {"must_not": of_tenant(case.universe.tenant)["must"]}
    for page in servers.scan(case.place, others, vectors=False):
        for point in page:
            if str(point["id"]) not in named:
                findings.add("foreign", f"{point['id']}: another tenant's point in this place")


def _judge_copies(servers: Servers, case: Case, findings: Findings) -> None:
    """Ids that lie under more than one shard key of the collection."""
    keys = servers.shard_keys(case.place)
    if len(keys) < 2:
        return
    first: dict[str, str] = {}
    for key in keys:
        place = PointsPlace(case.place.shard, case.place.collection, key)
        for page in servers.scan(place, of_tenant(case.universe.tenant), vectors=False):
            for point in page:
                other = first.setdefault(str(point["id"]), key)
                if other != key:
                    findings.add("duplicate", f"{point['id']}: under {other!r} and {key!r}")
