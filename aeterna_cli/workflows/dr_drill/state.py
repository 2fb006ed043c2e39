"""Drills on this machine: their folders, those that were cut off, evidence that waits."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import AeternaError, ConflictError
from aeterna_cli.operations.identifiers import is_uuid7
from aeterna_cli.operations.journal import ENDED, Journal, list_operations, state_of
from aeterna_cli.operations.lease import living_holders
from aeterna_cli.workflows.dr_drill import evidence
from aeterna_cli.workflows.leases import DRILL

KIND = "dr-drill.run"
_FOLDER = "drills"


@dataclass(frozen=True)
class Unfinished:
    """A drill whose process is gone; ``first`` is record 0 of its operation."""

    id: str
    scenario: str
    first: Mapping[str, Any]


def folder_of(ctx: Context, drill: str) -> Path:
    """The drill's own folder on this machine, made where it is not there."""
    folder = ctx.state_directory / _FOLDER / drill
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def unfinished(ctx: Context, *, reachable: bool) -> list[Unfinished]:
    """Drills that began, have no end, and that no living process works on. ``reachable`` False
    looks at this machine's journals only."""
    store = ctx.deployment.objects if reachable else None
    ids = [
        one.operation
        for one in list_operations(store, ctx.state_directory)
        if one.kind == KIND and one.state not in ENDED
    ]
    if not ids:
        return []
    alive = {one.operation for one in living_holders(store, DRILL)} if store else set()
    found = []
    for operation in ids:
        journal = Journal(store, ctx.state_directory, operation, clock=ctx.clock,
                          break_glass="" if store else "looking at this machine only")  # fmt: skip
        journal.load()
        if state_of(journal.records) in ENDED or operation in alive:
            continue
        first = journal.records[0].data
        found.append(Unfinished(operation, str(first["plan"]["target"]), first))
    return found


def offer(ctx: Context) -> None:
    """Say at once that a drill was cut off, and send evidence that waits. Never fails: who only
    looks must not be stopped by it."""
    for one in look(ctx):
        ctx.out.warn(
            f"the drill {one.scenario} ({one.id}) was cut off and is not rolled back:"
            f" aeterna-cli dr-drill run --rollback {one.id}"
        )
    try:
        for drill in send_waiting(ctx):
            ctx.out.note(f"the evidence of drill {drill} is in the repository now")
    except AeternaError as error:
        ctx.out.warn(f"evidence still waits for the repository: {error.message}")


def look(ctx: Context) -> list[Unfinished]:
    """As ``unfinished``; without the repository what this machine knows."""
    try:
        return unfinished(ctx, reachable=True)
    except AeternaError as error:
        ctx.out.warn(f"only drills of this machine are known now: {error.message}")
    try:
        return unfinished(ctx, reachable=False)
    except AeternaError as error:
        ctx.out.warn(f"whether a drill was cut off here cannot be told: {error.message}")
        return []


def refuse_unfinished(ctx: Context) -> None:
    """``ConflictError('drill_unfinished')``: who measures a broken place measures that."""
    for one in look(ctx):
        raise ConflictError(
            "drill_unfinished",
            f"the drill {one.scenario} was cut off and is not rolled back",
            hint="what it broke may still be broken",
            next_steps=[f"aeterna-cli dr-drill run --rollback {one.id}"],
            operation=one.id,
        )


def send_waiting(ctx: Context) -> Iterator[str]:
    """Put evidence into the repository that could not be stored when its drill ended."""
    for mark in sorted((ctx.state_directory / _FOLDER).glob(f"*/{evidence.UNSENT}")):
        drill = mark.parent.name
        if is_uuid7(drill):
            evidence.store(ctx.deployment.objects, drill, mark.parent / evidence.FOLDER)
            mark.unlink()
            yield drill


def forget_working_files(folder: Path) -> None:
    """What lay beside the evidence is in it; the evidence stays on this machine too."""
    for path in folder.iterdir():
        if path.is_dir() and path.name != evidence.FOLDER:
            shutil.rmtree(path, ignore_errors=True)
