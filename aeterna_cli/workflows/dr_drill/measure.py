"""RTO and RPO from the writers' logs and what was found again. Durations are monotonic seconds.

RTO is the gap in acknowledged writes that the fault made, counted from the fault. RPO is the age
of the oldest acknowledged marker that was not found again, at the moment of the fault (or of the
last lost acknowledgement, where a primary that was cut off went on acknowledging). An attempt that
ended in an error is in doubt: it is no loss when it is gone, and none when it is there.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from itertools import pairwise

from aeterna_cli.workflows.dr_drill.marker_log import Event, MarkerHistory


@dataclass(frozen=True)
class Gap:
    """A time in which nothing was acknowledged. ``open``: nothing was until the writers stopped."""

    begin: float
    end: float
    open: bool

    @property
    def seconds(self) -> float:
        return self.end - self.begin


@dataclass(frozen=True)
class Measured:
    """One store. Times are seconds, None where they could not be measured.

    ``lost`` acknowledged markers were not found again, ``oldest_lost`` and ``newest_lost`` are
    their ages at the reference moment; ``unexpected`` are there and were never sent (or were sent
    after the moment that was restored). ``in_doubt`` of which ``in_doubt_found`` were there.
    ``servers`` acknowledged, in their order. ``how``: by writes, or by a restored copy.
    """

    store: str
    how: str
    attempts: int
    acknowledged: int
    refused: int
    in_doubt: int
    in_doubt_found: int
    lost: int
    lost_examples: tuple[int, ...]
    unexpected: int
    rto: float | None
    rpo: float | None
    newest_lost: float | None
    gap: float | None
    recovered: bool
    detection: float | None
    decision: float | None
    action: float | None
    verification: float | None
    servers: tuple[str, ...]
    rate: float
    write_p99: float | None


@dataclass(frozen=True)
class Moments:
    """Monotonic seconds. ``decided``: the first recovering action began; ``acted``: it ended;
    ``verified``: the steady state held again. None where there was none."""

    began: float
    fault: float | None
    ended: float
    decided: float | None = None
    acted: float | None = None
    verified: float | None = None


def worst_gap(history: MarkerHistory, moments: Moments) -> Gap | None:
    """The longest time without an acknowledgement that the fault lies in or before; None where
    nothing was acknowledged before the fault: then there is nothing to compare with."""
    fault = moments.fault
    times = sorted(event.mono for event in history.acknowledged.values())
    if fault is None or not times or times[0] > fault:
        return None
    gaps = [Gap(one, two, False) for one, two in pairwise(times) if two > fault]
    if moments.ended > times[-1]:
        gaps.append(Gap(times[-1], moments.ended, True))
    return max(gaps, key=lambda gap: gap.end - max(gap.begin, fault), default=None)


def of_writes(
    store: str, history: MarkerHistory, found: Set[int] | None, moments: Moments, rate: float
) -> Measured:
    """A store that went on serving: ``found`` is everything in it at the end, None where nobody
    could read it."""
    gap = worst_gap(history, moments)
    open_end = gap is not None and gap.open and gap.seconds > _patience(rate)
    measurable = gap is not None and moments.fault is not None
    rto = None
    if gap is not None and moments.fault is not None and not open_end:
        rto = gap.end - max(gap.begin, moments.fault)
    lost = _lost(history, found, None) if found is not None else None
    return _measured(
        store, "writes", history, moments, found=found, lost=lost,
        reference=moments.fault, rto=rto if measurable else None,
        gap=gap, recovered=measurable and not open_end and found is not None,
    )  # fmt: skip


def of_restore(
    store: str,
    history: MarkerHistory,
    found: Set[int] | None,
    moments: Moments,
    *,
    at: float | None,
    until: float,
    skew: float = 0.0,
) -> Measured:
    """A store brought back beside the real one: ``found`` is what the copy holds, ``at`` the
    monotonic moment that was to be restored (None: the failure), ``until`` when it was verified.

    ``skew`` (seconds) is how far the server's clock may lie from ours: markers that close to the
    moment are in neither count.
    """
    fault = moments.fault
    moment = at if at is not None else fault
    lost = None
    unexpected: set[int] = set()
    if found is not None and moment is not None:
        lost = _lost(history, found, moment - skew)
        if at is not None:
            late = {n for n, one in history.intended.items() if one.mono > moment + skew}
            unexpected = set(found) & late
    return _measured(
        store, "restore", history, moments, found=found, lost=lost,
        reference=moment, rto=until - fault if fault is not None and found is not None else None,
        gap=None, recovered=found is not None, more_unexpected=unexpected,
    )  # fmt: skip


def _lost(history: MarkerHistory, found: Set[int], until: float | None) -> list[Event]:
    """Acknowledged (before ``until``) and not there, oldest acknowledgement first."""
    gone = [
        event
        for number, event in history.acknowledged.items()
        if number not in found and (until is None or event.mono <= until)
    ]
    return sorted(gone, key=lambda event: event.mono)


def _measured(
    store: str,
    how: str,
    history: MarkerHistory,
    moments: Moments,
    *,
    found: Set[int] | None,
    lost: list[Event] | None,
    reference: float | None,
    rto: float | None,
    gap: Gap | None,
    recovered: bool,
    more_unexpected: Set[int] = frozenset(),
) -> Measured:
    rpo, newest = _ages(history, lost, reference)
    if not history.acknowledged:
        rpo = None
    doubt = history.in_doubt
    strangers = (set(found or ()) - set(history.intended)) | more_unexpected
    phases = _phases(history, moments, gap)
    return Measured(
        store=store, how=how, attempts=len(history.intended),
        acknowledged=len(history.acknowledged), refused=len(history.refused),
        in_doubt=len(doubt), in_doubt_found=len(doubt & set(found or ())),
        lost=len(lost or ()), lost_examples=tuple(one.number for one in (lost or ())[:10]),
        unexpected=len(strangers), rto=_rounded(rto), rpo=_rounded(rpo),
        newest_lost=_rounded(newest), gap=_rounded(gap.seconds if gap else None),
        recovered=recovered, servers=_servers(history), rate=_rate(history),
        write_p99=_p99(history),
        **{name: _rounded(value) for name, value in phases.items()},
    )  # fmt: skip


def _ages(
    history: MarkerHistory, lost: list[Event] | None, reference: float | None
) -> tuple[float | None, float | None]:
    """Since the oldest lost marker was sent, and since the newest was acknowledged; 0 where none
    was lost, None where nobody knows."""
    if lost is None or reference is None:
        return None, None
    if not lost:
        return 0.0, None
    moment = max(reference, lost[-1].mono)
    sent = history.intended.get(lost[0].number, lost[0])
    return moment - sent.mono, moment - lost[-1].mono


def _phases(
    history: MarkerHistory, moments: Moments, gap: Gap | None
) -> Mapping[str, float | None]:
    """Detection: the fault to the first failed attempt. Decision: from there to the first
    recovering action of the method. Action: to its end, or to the first acknowledgement where the
    cluster helps itself. Verification: from there until the steady state held."""
    fault = moments.fault
    if fault is not None and gap is not None:
        fault = max(fault, gap.begin)  # of several faults, this store's own
    failures = [e.mono for e in history.events if e.kind in "EN" and fault and e.mono >= fault]
    if fault is None:
        return dict.fromkeys(("detection", "decision", "action", "verification"))
    noticed = failures[0] if failures else None
    start = noticed if noticed is not None else fault
    decided = moments.decided
    done = moments.acted if decided is not None else (gap.end if gap and noticed else None)
    return {
        "detection": noticed - fault if noticed is not None else None,
        "decision": max(0.0, decided - start) if decided is not None else None,
        "action": max(0.0, done - (decided if decided is not None else start)) if done else None,
        "verification": max(0.0, moments.verified - done) if done and moments.verified else None,
    }


def _patience(rate: float) -> float:
    """A time between two writes that is none of the fault's: three intervals, at least 1 s."""
    return max(1.0, 3 / rate)


def _servers(history: MarkerHistory) -> tuple[str, ...]:
    names: list[str] = []
    for event in history.events:
        if event.kind == "A" and event.word not in ("", "-", *names[-1:]):
            names.append(event.word)
    return tuple(names[:20])


def _rate(history: MarkerHistory) -> float:
    times = [event.mono for event in history.acknowledged.values()]
    spread = max(times) - min(times) if times else 0.0
    return round((len(times) - 1) / spread, 2) if spread else 0.0


def _p99(history: MarkerHistory) -> float | None:
    waits = sorted(
        event.mono - history.intended[number].mono
        for number, event in history.acknowledged.items()
        if number in history.intended
    )
    return _rounded(waits[min(len(waits) - 1, int(len(waits) * 0.99))]) if waits else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
