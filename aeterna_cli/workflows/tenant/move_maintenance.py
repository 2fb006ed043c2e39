"""The switch by the contract ``maintenance``: the platform as it ships, which knows no placement.

Rounds of digests while it runs bring the target close; the length of the last one is the length of
the hold. Then the profile's program stops this tenant's writes, one more round mends the rest, the
switch program points the application at the target, and it may write again. Whatever fails before
the switch program began ends with the release program and nothing switched.
"""

from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from aeterna_cli.errors import AeternaError, FailedError
from aeterna_cli.operations.kill_points import kill_point
from aeterna_cli.operations.run import lease_is_lost
from aeterna_cli.workflows.tenant.move import TenantMove
from aeterna_cli.workflows.tenant.move_cutover import Switched
from aeterna_cli.workflows.tenant.move_hooks import run_hook
from aeterna_cli.workflows.tenant.move_places import Spot

_ROUNDS = 4  # while the platform runs, until one does not gain on the one before


class Maintenance:
    """From ``leaving`` to ``going``; a rollback is the same with the ends swapped."""

    def __init__(self, move: TenantMove, *, back: bool = False) -> None:
        self._move = move
        ends = (move.target, move.source) if back else (move.source, move.target)
        self._leaving, self._going = ends
        self._mover = move.mover.swapped() if back else move.mover

    def run(self, safe_point: Callable[[], None]) -> Switched:
        """The going place serves, and the application writes again, when this returns."""
        move = self._move
        if move.record.checkpoint.get("switching"):
            return self._go_on()
        if move.record.checkpoint.get("holding"):
            self._release()
        predicted = self._predict(safe_point)
        move.note(prediction=predicted)
        move.ctx.out.note(f"writes of {move.tenant.slug} will be held for about {predicted:.2f} s")
        safe_point()
        move.note(checkpoint={"holding": True})
        began = monotonic()
        try:
            run_hook(move, "hold", self._leaving, self._going)
            kill_point("move:held")
            last = self._mover.round()
            self._same_number()
            kill_point("move:settled")
            safe_point()
            move.note(checkpoint={"switching": True})
        except BaseException as error:
            # After a lost lease writers may be held by whoever has it now: hands off.
            if not lease_is_lost(error):
                with suppress(AeternaError):  # what failed first is what is raised
                    self._release()
            raise
        epoch = self._switch()
        hold = monotonic() - began
        return Switched(1, hold, predicted, 0.0, epoch, last.upserted + last.deleted, ())

    def _predict(self, safe_point: Callable[[], None]) -> float:
        """The length of a round that has little to mend, and of two programs."""
        last = None
        for _ in range(_ROUNDS):
            done = self._mover.round()
            safe_point()
            work = done.upserted + done.deleted
            if last is not None and work > last / 2:
                break
            last = work
            if done.clean:
                break
        return done.seconds

    def _same_number(self) -> None:
        left, right = self._mover.count("source"), self._mover.count("target")
        if left != right:
            raise FailedError(
                "ends_differ",
                f"after the last round the source has {left:,} points, the target {right:,}",
                hint="the program application.hold does not stop all writers of this tenant",
            )

    def _switch(self) -> int:
        """From here on the only way is forward: the program may have pointed the application at
        the new place although it failed."""
        try:
            run_hook(self._move, "switch", self._leaving, self._going)
        except AeternaError as error:
            error.next_steps = (
                *error.next_steps,
                "writes of this tenant are still held; mend the program, then:",
                f"aeterna-cli tenant migration cutover --tenant-id {self._move.tenant.id}",
            )
            raise
        kill_point("move:application-switched")
        found = self._move.present_placement()
        if found.primary != self._going.place:
            found = self._move.placed(self._going.place, None, "serving", expected=found.epoch)
        kill_point("move:switched")
        self._release()
        kill_point("move:released")
        return found.epoch

    def _go_on(self) -> Switched:
        """After a crash or a failed program during the switch, with writes still held.

        ``FailedError('switch_unknown')`` where the ends are no longer equal: somebody let writes
        go, and whether to the old or the new place nobody here can know.
        """
        began = monotonic()
        run_hook(self._move, "hold", self._leaving, self._going)
        if not self._mover.compare().equal:
            raise FailedError(
                "switch_unknown",
                "a switch was cut off, and the two places have differed since",
                hint="find out at which one the application writes: runbooks/tenant.md",
                details={"leaving": self._leaving.collection, "going": self._going.collection},
            )
        epoch = self._switch()
        predicted = self._move.record.prediction or 0.0
        return Switched(1, monotonic() - began, predicted, 0.0, epoch, 0, ("cut off once",))

    def _release(self) -> None:
        run_hook(self._move, "release", self._leaving, self._going)
        self._move.note(checkpoint={"holding": False, "switching": False})


def forget_holding(move: TenantMove, leaving: Spot, going: Spot) -> None:
    """Writers of the platform are not held by us when this returns."""
    if move.record.checkpoint.get("switching"):
        raise FailedError(
            "switch_unknown",
            "a switch of the application was cut off: whether it happened nobody here can know",
            next_steps=[f"aeterna-cli tenant migration cutover --tenant-id {move.tenant.id}"],
        )
    if move.record.checkpoint.get("holding"):
        run_hook(move, "release", leaving, going)
        move.note(checkpoint={"holding": False})
