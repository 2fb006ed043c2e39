"""Which backups, WAL and WAL keys may go. Pure: nothing is read and nothing is deleted here.

Backups are ordered by time, never by timeline: a promotion or an upgrade changes timelines. WAL is
judged by position alone: everything from the start of the first segment that any kept backup of the
same cluster needs. That keeps a little too much after a restore to an earlier moment, and never too
little.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

Reason = Literal["held", "window", "window_anchor", "keep_last", "minimum"]

#: A base backup's WAL may be older than the backup: a replica starts at its last restart point.
_KEY_MARGIN = timedelta(days=2)


@dataclass(frozen=True)
class WalStart:
    """Where the WAL begins that a base backup needs. ``segment_size`` in bytes."""

    system: str
    lsn: int
    segment_size: int

    @property
    def segment_start(self) -> int:
        """Recovery opens whole segments: it reads a segment's first page before any other."""
        return self.lsn - self.lsn % self.segment_size


@dataclass(frozen=True)
class BackupFact:
    """One restorable backup. ``time`` is its recovery point, ``started`` when it began.

    ``wal`` is None for a backup that has no PostgreSQL in it; one whose start is not known must not
    be judged at all. ``tenant`` is whose data alone it holds: such a backup is judged among its
    like, is none of the deployment's backups, and needs no WAL.
    """

    backup: str
    time: datetime
    started: datetime
    held: bool = False
    wal: WalStart | None = None
    tenant: str | None = None


@dataclass(frozen=True)
class WalObject:
    """One stored chunk of WAL; ``end`` is exclusive, ``modified`` on the store's clock."""

    key: str
    system: str
    end: int
    modified: datetime


@dataclass(frozen=True)
class Policy:
    """Keep what lies in the last ``window_days`` days and the backup before them (so that every
    moment of the window can be restored), the newest ``keep_last``, and never fewer than
    ``minimum``."""

    window_days: int
    keep_last: int
    minimum: int

    def __post_init__(self) -> None:
        if self.window_days < 0 or self.keep_last < 1 or self.minimum < 1:
            raise ValueError("a policy keeps at least one backup")


@dataclass(frozen=True)
class Decision:
    """``reasons`` says why it is kept; empty for one that may go."""

    backup: BackupFact
    reasons: tuple[Reason, ...]

    @property
    def keep(self) -> bool:
        return bool(self.reasons)


def decide(backups: Iterable[BackupFact], policy: Policy, now: datetime) -> list[Decision]:
    """One decision for each backup, oldest first; the policy holds for every scope by itself."""
    scopes: dict[str | None, list[BackupFact]] = {}
    for fact in backups:
        scopes.setdefault(fact.tenant, []).append(fact)
    decisions = [one for facts in scopes.values() for one in _decide(facts, policy, now)]
    return sorted(decisions, key=lambda one: (one.backup.time, one.backup.backup))


def _decide(backups: Iterable[BackupFact], policy: Policy, now: datetime) -> list[Decision]:
    ordered = sorted(backups, key=lambda fact: (fact.time, fact.backup))
    border = now - timedelta(days=policy.window_days)
    older = [fact for fact in ordered if fact.time <= border]
    anchor = older[-1] if older and policy.window_days else None
    newest = ordered[-policy.keep_last :]
    decisions = []
    for fact in ordered:
        reasons: list[Reason] = []
        if fact.held:
            reasons.append("held")
        if fact.time > border:
            reasons.append("window")
        if fact is anchor:
            reasons.append("window_anchor")
        if fact in newest:
            reasons.append("keep_last")
        decisions.append(Decision(fact, tuple(reasons)))
    return _at_least(decisions, policy.minimum)


def expendable_wal(
    wal: Iterable[WalObject], decisions: Sequence[Decision]
) -> tuple[WalObject, ...]:
    """The chunks that no kept backup needs, for itself or for any moment after it.

    WAL of a cluster without a kept backup goes when it is older than every kept backup; without
    any kept backup nothing goes.
    """
    kept = _kept_whole(decisions)
    if not kept:
        return ()
    oldest = min(fact.started for fact in kept)
    starts: dict[str, int] = {}
    for fact in kept:
        if fact.wal is not None:
            start = fact.wal.segment_start
            starts[fact.wal.system] = min(start, starts.get(fact.wal.system, start))

    def goes(chunk: WalObject) -> bool:
        start = starts.get(chunk.system)
        return chunk.end <= start if start is not None else chunk.modified < oldest - _KEY_MARGIN

    return tuple(chunk for chunk in wal if goes(chunk))


def expendable_key_days(days: Iterable[date], decisions: Sequence[Decision]) -> tuple[date, ...]:
    """The days whose WAL identity nobody needs any more, because all its WAL may go.

    Judged by when the kept backups began, never by the age of stored objects: a copied repository
    has new dates on old WAL.
    """
    kept = _kept_whole(decisions)
    if not kept:
        return ()
    border = (min(fact.started for fact in kept) - _KEY_MARGIN).astimezone(UTC).date()
    return tuple(day for day in days if day < border)


def _kept_whole(decisions: Sequence[Decision]) -> list[BackupFact]:
    """The kept backups of the deployment: a tenant's says nothing of what WAL is needed."""
    return [one.backup for one in decisions if one.keep and one.backup.tenant is None]


def _at_least(decisions: Sequence[Decision], minimum: int) -> list[Decision]:
    """The newest of those that would go are kept after all, as many as are missing."""
    missing = max(0, minimum - sum(decision.keep for decision in decisions))
    going = [decision.backup.backup for decision in decisions if not decision.keep]
    saved = set(going[len(going) - min(missing, len(going)) :])
    return [
        Decision(decision.backup, ("minimum",)) if decision.backup.backup in saved else decision
        for decision in decisions
    ]
