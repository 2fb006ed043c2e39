"""The phases of a move, and the one table of which may follow which."""

from enum import Enum

from aeterna_cli.errors import RefusedError


class Phase(Enum):
    """What a move is at. The three last ones end it."""

    PLAN = "plan"
    PREPARE = "prepare"
    COPY = "copy"
    CATCH_UP = "catch-up"
    VERIFY = "verify"
    WARM = "warm"
    CUTOVER = "cutover"  # ready, waiting for it
    SOAK = "soak"  # served by the target, the source is kept current
    CANCELLING = "cancelling"
    ROLLING_BACK = "rolling-back"
    COMPLETING = "completing"
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    ROLLED_BACK = "rolled-back"


_FORWARD = (Phase.PLAN, Phase.PREPARE, Phase.COPY, Phase.CATCH_UP, Phase.VERIFY, Phase.WARM,
            Phase.CUTOVER)  # fmt: skip

ALLOWED: dict[Phase, frozenset[Phase]] = {
    Phase.PLAN: frozenset({Phase.PREPARE, Phase.CANCELLING}),
    Phase.PREPARE: frozenset({Phase.COPY, Phase.CANCELLING}),
    Phase.COPY: frozenset({Phase.CATCH_UP, Phase.CANCELLING}),
    Phase.CATCH_UP: frozenset({Phase.VERIFY, Phase.CANCELLING}),
    # what verification finds is caught up with; so is what was written while a proof went stale
    Phase.VERIFY: frozenset({Phase.WARM, Phase.CATCH_UP, Phase.CANCELLING}),
    Phase.WARM: frozenset({Phase.CUTOVER, Phase.CATCH_UP, Phase.CANCELLING}),
    Phase.CUTOVER: frozenset({Phase.SOAK, Phase.CATCH_UP, Phase.CANCELLING}),
    Phase.SOAK: frozenset({Phase.COMPLETING, Phase.ROLLING_BACK}),
    Phase.CANCELLING: frozenset({Phase.CANCELLED}),
    # a rollback whose hold was missed leaves the target serving
    Phase.ROLLING_BACK: frozenset({Phase.ROLLED_BACK, Phase.SOAK}),
    Phase.COMPLETING: frozenset({Phase.COMPLETE}),
    Phase.COMPLETE: frozenset(),
    Phase.CANCELLED: frozenset(),
    Phase.ROLLED_BACK: frozenset(),
}

#: Before the switch: the source serves, and everything we made can be taken away again.
BEFORE_THE_SWITCH = frozenset(_FORWARD)
ENDED = frozenset({Phase.COMPLETE, Phase.CANCELLED, Phase.ROLLED_BACK})


def require(current: Phase, wanted: Phase) -> None:
    """``RefusedError('move_phase')`` unless ``wanted`` may follow."""
    if wanted not in ALLOWED[current]:
        possible = ", ".join(sorted(one.value for one in ALLOWED[current])) or "none"
        raise RefusedError(
            "move_phase",
            f"the move is in phase {current.value}: it cannot go to {wanted.value}",
            hint=f"possible from here: {possible}",
        )


def next_commands(phase: Phase, tenant: str) -> tuple[str, ...]:
    """What an operator may type next."""
    name = f"--tenant-id {tenant}"
    go_on = f"aeterna-cli tenant migrate {name} --to-shard SHARD"
    steer = "aeterna-cli tenant migration"
    if phase is Phase.CUTOVER:
        return (f"{steer} cutover {name}", f"{steer} verify {name}", f"{steer} cancel {name}")
    if phase in BEFORE_THE_SWITCH:
        return (go_on, f"{steer} cancel {name}")
    return {
        Phase.SOAK: (
            f"{steer} verify {name}",
            f"{steer} complete {name}",
            f"{steer} rollback {name}",
        ),
        Phase.CANCELLING: (f"{steer} cancel {name}",),
        Phase.ROLLING_BACK: (f"{steer} rollback {name}",),
        Phase.COMPLETING: (f"{steer} complete {name}",),
    }.get(phase, ())
