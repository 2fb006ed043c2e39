"""The switch by the contracts ``dual`` and ``reread``: all or nothing within a bound.

Nobody waits for work that could have been done before: a round and a look at what was written since
come first and say how long the hold will take. Then writes of this tenant are held, what is left is
mended, both ends are counted, and one change of one row switches. Whatever is not done within the
bound is undone by another change of that row, and tried again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, time
from typing import Any

from aeterna_cli.errors import ConflictError, TransientError
from aeterna_cli.operations.kill_points import kill_point
from aeterna_cli.stores.base.mover import Delta
from aeterna_cli.stores.base.placement import Placement, PlacementState
from aeterna_cli.stores.qdrant_mover import QdrantMover
from aeterna_cli.stores.qdrant_mover_rounds import never_settles
from aeterna_cli.workflows.tenant.move import TenantMove
from aeterna_cli.workflows.tenant.move_places import Spot

ATTEMPTS = 6
#: seconds that writes of one tenant are held at most
HOLD_LIMIT = {"dual": 0.2, "reread": 2.0}
#: Clocks of the application's machines may be wrong by so much, and a write may come so long after
#: its time was taken, in seconds.
_SKEW = 5.0
_WIDE_SKEW = 60.0
#: A rehearsal runs beside this tenant's writers, the hold does not: only what cannot be done in so
#: many times the bound is not even tried. The bound itself is kept whatever was predicted.
_HOPELESS = 4.0
_CHEAP = 500  # points: so many are looked at within the bound without a thought


@dataclass(frozen=True)
class Switched:
    """``hold`` is from before writes were held until the switch was committed, in seconds."""

    attempts: int
    hold: float
    predicted: float
    limit: float
    epoch: int
    repaired: int
    missed: tuple[str, ...]

    def as_document(self) -> dict[str, Any]:
        return {
            "attempts": self.attempts,
            "hold_seconds": round(self.hold, 4),
            "predicted_seconds": round(self.predicted, 4),
            "limit_seconds": self.limit,
            "epoch": self.epoch,
            "repaired_while_held": self.repaired,
            "missed": list(self.missed),
        }


class _Missed(Exception):
    """The bound would be broken; the reason is for people."""


class Cutover:
    """From ``leaving`` to ``going``; a rollback is the same with the ends swapped."""

    def __init__(self, move: TenantMove, *, back: bool = False) -> None:
        self._move = move
        self._dual = move.contract == "dual"
        ends = (move.target, move.source) if back else (move.source, move.target)
        self._leaving, self._going = ends
        wanted = move.place.profile.application.hold_limit
        self.limit = wanted if wanted is not None else HOLD_LIMIT[move.contract]
        self._mover = move.mover.swapped() if back else move.mover
        hasty = move.hasty(self.limit)
        self._hasty: QdrantMover = hasty.swapped() if back else hasty
        self._mending = 0.0  # seconds that a look at all ids takes, while writers wait

    def run(self, safe_point: Callable[[], None]) -> Switched:
        """The going place serves when this returns.

        ``TransientError('cutover_missed')`` after the last attempt: the leaving place serves as
        before, nothing of the tenant was changed.
        """
        missed: list[str] = []
        for number in range(1, ATTEMPTS + 1):
            safe_point()
            since, predicted = self._rehearsed()
            if predicted > _HOPELESS * self.limit:
                missed.append(f"{predicted:.3f} s of hold predicted, {self.limit:g} s allowed")
                continue
            safe_point()
            try:
                hold, delta, placement = self._attempt(since)
            except _Missed as reason:
                missed.append(str(reason))
                continue
            repaired = delta.upserted + delta.deleted
            return Switched(
                number, hold, predicted, self.limit, placement.epoch, repaired, tuple(missed)
            )
        raise TransientError(
            "cutover_missed",
            f"{ATTEMPTS} attempts missed the bound of {self.limit:g} s; nothing was changed",
            hint=missed[-1],
            next_steps=[
                f"aeterna-cli tenant migration cutover --tenant-id {self._move.tenant.id}",
                "raise application.hold_limit in the profile",
            ],
            details={"missed": missed},
        )

    def _rehearsed(self) -> tuple[float, float]:
        """A round and a look at what was written since, with nobody waiting: the moment from which
        on a hold must look, and how long it will take."""
        last = self._mover.round()
        if last.ahead:
            raise never_settles(1, last)
        skew = self._skew(last.started)
        looked = time()
        rehearsal = self._mover.delta(last.started - skew)
        self._hasty.source.prime(self._mover.source)
        self._hasty.target.prime(self._mover.target)
        self._mending = last.seconds if self._dual else self._hasty.sweep().seconds
        predicted = rehearsal.seconds
        if not (self._dual or rehearsal.equal):  # of deletions only a look at all ids tells
            predicted += self._mending
        self._move.note(prediction=predicted)
        return looked - skew, predicted

    def _skew(self, started: float) -> float:
        """Wide where that costs nothing."""
        from aeterna_cli.stores.qdrant_mover_delta import sample_time, written_since

        end = self._mover.source
        if end.time_sample is None:
            end.time_sample = sample_time(end)
        if end.time_sample is None:
            return _WIDE_SKEW
        condition = written_since(end.time_sample, started - _WIDE_SKEW)
        return _WIDE_SKEW if end.count([condition]) <= _CHEAP else _SKEW

    def _attempt(self, since: float) -> tuple[float, Delta, Placement]:
        """``_Missed`` with the row as it was before; so is it after any other error."""
        before = self._move.present_placement()
        began = monotonic()
        try:
            held = self._placed(before, self._leaving, "held", self.limit)
        except TransientError as error:
            raise _Missed(f"writes could not be held: {error.message}") from error
        change = monotonic() - began  # a commit; the one that switches will take as long
        try:
            kill_point("move:held")
            delta = self._settled(held, since, began)
            rest = self._rest(began, "counting", change)
            kill_point("move:settled")
            state: PlacementState = "dual" if self._dual else "serving"
            done = self._placed(held, self._going, state, rest)
            kill_point("move:switched")
            hold = monotonic() - began
        except BaseException as error:
            self._let_go(before, held)
            if isinstance(error, TransientError):
                raise _Missed(error.message) from error
            raise
        self._move.tell(done)
        return hold, delta, done

    def _let_go(self, before: Placement, held: Placement) -> None:
        """The row is as it was. Nothing is asked first: writers wait."""
        try:
            self._move.placed(
                before.primary, before.secondary, before.state, expected=held.epoch, tell=False
            )
        except ConflictError:
            self._move.let_go()  # the switch was committed after all, or somebody let go before us

    def _placed(
        self, now: Placement, primary: Spot, state: PlacementState, seconds: float
    ) -> Placement:
        other = self._going if primary is self._leaving else self._leaving
        return self._move.placed(
            primary.place,
            other.place if self._dual else None,
            state,
            expected=now.epoch,
            lock_timeout=seconds,
            tell=False,
        )

    def _settled(self, held: Placement, since: float, began: float) -> Delta:
        """Both ends are equal, and nobody writes."""
        if self._dual and not self._move.acknowledged(held.epoch, self._rest(began, "holding")):
            raise _Missed("instances of the application did not say in time that they hold")
        self._rest(began, "draining")
        delta = self._hasty.delta(since)
        if delta.equal:
            return delta
        if self._mending * 1.2 > self._rest(began, "mending"):
            raise _Missed(
                f"the ends count {delta.source:,} and {delta.target:,} points, and a look at all"
                f" ids ({self._mending:.2f} s) does not fit into what is left"
            )
        self._hasty.sweep()
        self._rest(began, "a look at all ids")
        again = self._hasty.delta(since)
        if not again.equal:
            raise _Missed(f"the ends still count {again.source:,} and {again.target:,} points")
        return again

    def _rest(self, began: float, after: str, kept: float = 0.0) -> float:
        rest = self.limit - kept - (monotonic() - began)
        if rest <= 0:
            raise _Missed(f"the bound of {self.limit:g} s was over after {after}")
        return rest


def after_switch(
    move: TenantMove, safe_point: Callable[[], None], *, back: bool = False
) -> dict[str, Any]:
    """The check in both directions: what the old primary has newer comes along (a second write that
    was lost before the switch), then the old primary follows the new one."""
    if move.contract != "dual":
        return {}
    found = move.present_placement()
    move.wait_for_instances(found.epoch)
    forward = move.mover.swapped() if back else move.mover
    rescued = forward.rescue()
    safe_point()
    followed = [forward.swapped().round()]
    while not followed[-1].clean and len(followed) < 3:
        safe_point()
        followed.append(forward.swapped().round())
    return {
        "rescued": rescued.upserted,
        "followed": [one.upserted + one.deleted for one in followed],
        "source": followed[-1].target,
        "target": followed[-1].source,
    }
