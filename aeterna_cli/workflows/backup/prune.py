"""``backup prune``: deletes what the policy no longer keeps, and says why of every backup."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import UsageError
from aeterna_cli.operations.lease import LeaseRequest
from aeterna_cli.operations.plan import Danger, Plan, Step
from aeterna_cli.operations.runner import execute, resume
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table, human_bytes
from aeterna_cli.repository.retention import Policy
from aeterna_cli.workflows.backup.prune_choice import Choice, Judged, choose
from aeterna_cli.workflows.backup.prune_steps import PruneSteps
from aeterna_cli.workflows.leases import BACKUPS

KIND = "backup.prune"
_SCHEMA = "aeterna.backup.prune/1"


@dataclass(frozen=True)
class Pruned:
    """What goes and what stays; with ``dry_run`` nothing went. ``deleted_objects`` is what was
    really deleted, by kind. ``wal_kept_because`` is empty where WAL was judged as well."""

    dry_run: bool
    operation: str
    backups: tuple[Judged, ...]
    unfinished: tuple[str, ...]
    unfinished_kept: tuple[str, ...]
    wal_chunks: int
    wal_bytes: int
    wal_key_days: tuple[date, ...]
    wal_kept_because: str
    deleted_objects: Mapping[str, int] = field(default_factory=dict)


def run(ctx: Context, window: int | None, keep: int | None, minimum: int | None) -> Result:
    """Everything that the policy lets go is gone when this returns, and nothing else.

    Killed in the middle, every backup is whole and listed, or not listed; ``operation resume``, or
    the next prune, goes on.
    """
    policy = _policy(ctx, window, keep, minimum)
    repository = ctx.deployment.repository
    choice = choose(repository, policy)
    if ctx.flags.dry_run or choice.nothing:
        return _result(choice, dry_run=ctx.flags.dry_run)
    ctx.out.note(_text(choice))
    outcome = execute(
        plan(ctx, choice),
        ctx.run_environment(),
        replan=lambda: plan(ctx, choose(repository, policy)),
    )
    return _result(choice, operation=outcome.operation, results=outcome.results)


def plan(ctx: Context, choice: Choice) -> Plan:
    """The facts are all that the policy decided; WAL that arrives meanwhile does not move them."""
    return _plan(
        ctx,
        going=choice.going,
        unfinished=choice.unfinished,
        facts={
            "backups": {one.backup: one.keep for one in choice.judged},
            "pruned": list(choice.pruned),
            "unfinished": list(choice.unfinished),
            "wal": [len(choice.wal), choice.wal_bytes],
            "wal_key_days": [day.isoformat() for day in choice.key_days],
        },
    )


def _plan(
    ctx: Context, *, going: Sequence[str], unfinished: Sequence[str], facts: Mapping[str, Any]
) -> Plan:
    steps = PruneSteps(ctx, going, unfinished)
    return Plan(
        kind=KIND,
        summary=f"delete {len(going)} backups of {ctx.profile_name} for good",
        target=ctx.deployment.id,
        danger=Danger.REVERSIBLE,
        facts=facts,
        steps=(
            Step("catalogue", steps.record, note="no longer listed from here on"),
            Step("backups", steps.delete_backups, note="manifest first, wrapped keys next"),
            Step("unfinished", steps.delete_unfinished),
            Step("wal", steps.delete_wal),
            Step("wal-keys", steps.delete_wal_keys),
            Step("uploads", steps.drop_stale_uploads),
        ),
        leases=(LeaseRequest(BACKUPS),),
        parameters={"going": list(going), "unfinished": list(unfinished), "facts": dict(facts)},
    )


def resumed(ctx: Context, operation: str, first: Mapping[str, Any]) -> Result:
    """Go on with a prune that was cut off: what it decided then is not decided again."""
    asked = first["plan"]["parameters"]
    made = _plan(ctx, going=asked["going"], unfinished=asked["unfinished"], facts=asked["facts"])
    outcome = resume(operation, lambda _first: made, ctx.run_environment())
    done = {name: _count(found) for name, found in outcome.results.items()}
    data = {"operation": operation, "pruned": asked["going"], "deleted_objects": done}
    text = f"pruned {', '.join(asked['going']) or 'no backup'}; {sum(done.values()):,} objects gone"
    return Result("aeterna.backup.prune.resumed/1", data, lambda: text)


def _policy(ctx: Context, window: int | None, keep: int | None, minimum: int | None) -> Policy:
    asked = ctx.profile.retention
    try:
        return Policy(
            asked.window_days if window is None else window,
            asked.keep_last if keep is None else keep,
            asked.minimum if minimum is None else minimum,
        )
    except ValueError as error:
        raise UsageError(
            "policy_invalid",
            str(error),
            hint="--window-days from 0, --keep-last and --minimum from 1",
        ) from error


def _result(
    choice: Choice,
    *,
    dry_run: bool = False,
    operation: str = "",
    results: Mapping[str, Any] | None = None,
) -> Result:
    done = Pruned(
        dry_run,
        operation,
        choice.judged,
        (*choice.pruned, *choice.unfinished),
        choice.too_young,
        len(choice.wal),
        choice.wal_bytes,
        choice.key_days,
        choice.wal_kept_because,
        {name: _count(found) for name, found in (results or {}).items()},
    )
    return Result(_SCHEMA, done, lambda: _view(choice, done))


def _count(result: Any) -> int:
    return int(result["deleted"])


def _view(choice: Choice, done: Pruned) -> Table:
    word = "would go" if done.dry_run else ("gone" if done.operation else "goes")
    rows = [
        [
            one.backup,
            _moment(one.recovery_point),
            one.scope or "",
            human_bytes(one.stored_bytes),
            "kept" if one.keep else word,
            "; ".join(one.reasons),
        ]
        for one in choice.judged
    ]
    return Table(
        ["backup", "recovery point", "tenant", "size", "what", "why"],
        rows,
        right=frozenset({"size"}),
        footer="\n".join(_rest(choice, done, word)),
    )


def _rest(choice: Choice, done: Pruned, word: str) -> list[str]:
    days = ", ".join(day.isoformat() for day in choice.key_days)
    lines = [
        *(f"{word}: {one}, pruned before, not deleted to the end" for one in choice.pruned),
        *(f"{word}: {one}, never finished" for one in choice.unfinished),
        *(
            f"kept: {one}, unfinished and younger than a day: it may still be running"
            for one in choice.too_young
        ),
        *([f"{word}: {done.wal_chunks:,} pieces of WAL, {human_bytes(done.wal_bytes)}, older than"
           " every kept backup needs"] if choice.wal else []),
        *([f"kept: all WAL, because {choice.wal_kept_because}"] if choice.wal_kept_because else []),
        *([f"{word}: the WAL keys of {days}"] if days else []),
    ]  # fmt: skip
    if done.operation:
        lines.append(f"{sum(done.deleted_objects.values()):,} objects deleted")
    elif choice.nothing:
        lines.append("nothing to prune")
    return lines


def _moment(time: datetime | None) -> str:
    return time.isoformat(timespec="seconds") if time else "unknown"


def _text(choice: Choice) -> str:
    from aeterna_cli.output.tables import as_plain

    shown = _result(choice).view()
    return shown if isinstance(shown, str) else as_plain(shown).rstrip()
