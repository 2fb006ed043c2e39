"""From the plan to a target that is ready to serve. Every step looks at the record's phase first:
what an earlier command has done is not done again, what was cut off goes on."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from aeterna_cli.errors import FailedError, RefusedError, TransientError
from aeterna_cli.operations.step_run import StepRun
from aeterna_cli.stores.base.mover import Comparison, Copied, Round
from aeterna_cli.stores.qdrant_mover_prepare import collection_facts, make_target
from aeterna_cli.stores.qdrant_mover_rounds import never_settles
from aeterna_cli.stores.qdrant_mover_warm import same_neighbours, wait_green
from aeterna_cli.workflows.tenant.move import TenantMove
from aeterna_cli.workflows.tenant.move_by_server import prepare_key
from aeterna_cli.workflows.tenant.move_phases import Phase
from aeterna_cli.workflows.tenant.move_places import settings_of
from aeterna_cli.workflows.tenant.move_preflight import indexes

ROUNDS = 8
_NOTE_SECONDS = 1.0  # between two notes of the copy's cursor: a crash costs no more than that
_SETTLED = 0.5  # a round that repairs more than this share of the one before gains nothing
_INDEXED_SECONDS = 600.0


class MoveSteps:
    """``move`` is made by the first step where it is new: ``begin`` gives it."""

    def __init__(self, begin: Callable[[], TenantMove]) -> None:
        self._begin = begin
        self._move: TenantMove | None = None

    @property
    def move(self) -> TenantMove:
        if self._move is None:
            self._move = self._begin()
            self._move.let_go()
        return self._move

    def record(self, _run: StepRun) -> dict[str, Any]:
        """The move is written down, before anything is made."""
        if self.move.phase is Phase.PLAN:
            self.move.note(phase=Phase.PREPARE)
        return {"move": self.move.record.id}

    # -- prepare

    def prepare(self, _run: StepRun) -> dict[str, Any]:
        """Target and placement are ready to be copied to; writers write twice where they do."""
        move = self.move
        if move.phase is not Phase.PREPARE:
            return {}
        if move.by_server:
            prepare_key(move)
        else:
            _make(move)
            _place(move)
        move.note(phase=Phase.COPY)
        return {"made": [list(one) for one in move.things_made]}

    # -- copy

    def copy(self, run: StepRun) -> dict[str, Any]:
        """Every point that was there at the beginning has been inserted."""
        move = self.move
        if move.phase is not Phase.COPY:
            return {}
        if move.by_server:  # copies when it switches: nothing is to be compared before
            move.note(phase=Phase.CATCH_UP)
            return {"by_server": True}
        before = int(move.record.checkpoint.get("copied", 0))
        spent = float(move.record.checkpoint.get("copy_seconds", 0.0))
        began = noted = monotonic()
        total = move.mover.source.count()

        def on_page(done: Copied) -> None:
            nonlocal noted
            move.ctx.out.progress("copying", before + done.items, total, "points")
            if done.done or monotonic() - noted >= _NOTE_SECONDS:
                noted = monotonic()
                seconds = spent + noted - began
                move.note(
                    checkpoint={
                        "cursor": done.cursor,
                        "copied": before + done.items,
                        "copy_seconds": seconds,
                    }
                )
                run.checkpoint({"copied": before + done.items})
            run.safe_point()

        done = move.mover.copy(move.record.checkpoint.get("cursor"), on_page)
        seconds = spent + monotonic() - began
        items = before + done.items
        rate = items / seconds if seconds else 0.0
        copied = {"points": items, "seconds": round(seconds, 3), "points_per_second": round(rate)}
        move.note(evidence={"copy": copied}, phase=Phase.CATCH_UP)
        return copied

    # -- catch up

    def catch_up(self, run: StepRun) -> dict[str, Any]:
        """The target differs by no more than what is written during a round."""
        move = self.move
        if move.phase is not Phase.CATCH_UP:
            return {}
        if move.by_server:
            move.note(phase=Phase.VERIFY)
            return {}
        rounds = settle(move, run.safe_point)
        move.note(phase=Phase.VERIFY)
        return {"rounds": rounds}

    # -- verify

    def verify(self, run: StepRun) -> dict[str, Any]:
        """Content was compared, vectors and payloads of every point."""
        move = self.move
        if move.phase is not Phase.VERIFY:
            return {}
        if move.by_server:
            move.note(phase=Phase.WARM)
            return {}
        found = proof(move)
        run.safe_point()
        move.note(phase=Phase.WARM)
        return found

    # -- warm

    def warm(self, _run: StepRun) -> dict[str, Any]:
        """The target is indexed and finds what the source finds."""
        move = self.move
        if move.phase is not Phase.WARM:
            return {}
        if move.by_server:
            move.note(phase=Phase.CUTOVER)
            return {}
        wait_green(move.mover.target, _INDEXED_SECONDS)
        found = same_neighbours(move.mover.source, move.mover.target)
        neighbours = {
            "samples": found.samples,
            "asked": found.asked,
            "agreed": found.agreed,
            "recall": round(found.recall, 4),
        }
        move.note(evidence={"neighbours": neighbours}, phase=Phase.CUTOVER)
        return neighbours


def _make(move: TenantMove) -> None:
    source = collection_facts(move.mover.source.writing.http, move.source.collection)
    if source is None:
        raise FailedError("source_gone", f"the collection {move.source.collection} is gone")
    wanted = indexes(move, source["payload_schema"])
    settings = settings_of(move.place, move.target.server)
    make_target(settings, move.target.collection, source["config"], wanted, move.made)
    if move.target.shard_key is None:
        return
    from aeterna_cli.stores.qdrant_mover_keys import make_key

    make_key(move.mover.target, move.made)


def _place(move: TenantMove) -> None:
    """A row that says who serves, and by contract ``dual`` the secondary, honoured by everybody.

    Where an instance does not answer the row is put back, and nobody has copied anything yet.
    """
    found = move.placement
    if found is None:
        found = move.placed(move.source.place, None, "serving", expected=None)
    if move.contract != "dual":
        return
    if found.secondary != move.target.place:
        move.made("secondary", move.target.shard)
        found = move.placed(move.source.place, move.target.place, "dual", expected=found.epoch)
    try:
        move.wait_for_instances(found.epoch)
    except TransientError as error:
        move.placed(move.source.place, None, "serving", expected=found.epoch)
        raise RefusedError(
            error.code, error.message, hint=error.hint, details=error.details
        ) from error
    move.note(evidence={"epoch_dual": found.epoch})


def settle(move: TenantMove, safe_point: Callable[[], None]) -> list[dict[str, Any]]:
    """Rounds until one is clean, or none gains anything over the one before: what is written during
    a round, and second writes that are lost for good, are the cutover's to mend.

    ``FailedError('rounds_do_not_settle')`` where the target has what the source cannot have had.
    """
    rounds: list[dict[str, Any]] = list(move.record.evidence.get("rounds", []))
    last = None
    for number in range(ROUNDS):
        done = move.mover.round()
        rounds.append(told(done))
        move.note(
            checkpoint={"last_round": done.started},
            evidence={"rounds": rounds[-ROUNDS:]},
            prediction=prediction(move, done),
        )
        safe_point()
        work = done.upserted + done.deleted
        if done.clean or (
            number and last is not None and work > last * _SETTLED and not done.ahead
        ):
            return rounds
        last = work
        if number == ROUNDS - 1 and done.ahead:
            raise never_settles(ROUNDS, done)
    return rounds


def told(done: Round) -> dict[str, Any]:
    return {
        "seconds": round(done.seconds, 4),
        "source": done.source,
        "target": done.target,
        "upserted": done.upserted,
        "deleted": done.deleted,
        "ahead": done.ahead,
    }


def prediction(move: TenantMove, done: Round) -> float:
    """How long writes will be held: by contract ``maintenance`` for a whole round, else for what
    was written since one, which a cutover measures itself before it holds anything."""
    return done.seconds if move.contract == "maintenance" else 0.0


def proof(move: TenantMove) -> dict[str, Any]:
    """Digests of both ends, written down with their time.

    Differences that a version explains are second writes on their way or lost: rounds mend them.
    ``FailedError('content_differs')`` where content changed without its version.
    """
    found = move.mover.compare()
    evidence = {**digests(found), "at": move.ctx.clock().isoformat()}
    move.note(evidence={"proof": evidence})
    if found.unexplained:
        raise FailedError(
            "content_differs",
            f"{found.unexplained:,} points have equal versions and different content",
            hint="the application changes points without a new version; a move cannot see that",
            next_steps=[f"aeterna-cli tenant migration cancel --tenant-id {move.tenant.id}"],
            details={"ids": list(found.examples)},
        )
    return evidence


def digests(found: Comparison) -> dict[str, Any]:
    return {
        "equal": found.equal,
        "source": {"points": found.source.points, "digest": found.source.digest},
        "target": {"points": found.target.points, "digest": found.target.digest},
        "differences": found.differences,
        "unexplained": found.unexplained,
        "examples": list(found.examples),
        "seconds": round(found.seconds, 3),
    }
