"""``restore run``: previewed, confirmed, journalled step by step, compared before it is served."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from aeterna_cli.context import Context
from aeterna_cli.errors import FindingsError
from aeterna_cli.operations.lease import LeaseRequest
from aeterna_cli.operations.plan import Danger, Plan, Step
from aeterna_cli.operations.runner import OperationOutcome, execute
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table, human_seconds
from aeterna_cli.workflows.leases import BACKUPS, RESTORE
from aeterna_cli.workflows.restore.choice import Choice
from aeterna_cli.workflows.restore.opened import OpenedBackup
from aeterna_cli.workflows.restore.plan import result as previewed
from aeterna_cli.workflows.restore.plan import view as preview_view
from aeterna_cli.workflows.restore.postgres_scratch_recovery import folders
from aeterna_cli.workflows.restore.preview import Preview, preview
from aeterna_cli.workflows.restore.steps import RestoreSteps
from aeterna_cli.workflows.restore.tenant_choice import TenantChoice

KIND = "restore.run"


@dataclass(frozen=True)
class Restored:
    """What a restore did. ``seconds`` is the command's own time: the measured RTO of the data.
    ``compared`` says store by store what was compared; drift is also the exit code (8)."""

    backup: str
    operation: str
    target: str
    recovery_point: datetime
    seconds: float
    compared: tuple[Mapping[str, Any], ...]
    replaced: str | None
    data_directory: str | None
    next_steps: tuple[str, ...]

    @property
    def drift(self) -> bool:
        return any(one["drift"] for one in self.compared)


def run(ctx: Context, choice: Choice | TenantChoice) -> Result:
    """The chosen stores hold the backup when this returns; see ``runbooks/restore.md``.

    Drift does not undo anything: the result is printed, then ``FindingsError('restore_drift')``.
    """
    if isinstance(choice, TenantChoice):
        from aeterna_cli.workflows.restore import tenant_run

        return tenant_run.run(ctx, choice)
    opened = OpenedBackup.open(ctx.deployment, choice.backup, choice.identity_file)
    target = ctx.deployment_of(choice.into) if choice.into else ctx.deployment
    choice = Choice(**{**asdict_shallow(choice), "backup": opened.id})
    found = preview(target, opened, choice)
    if ctx.flags.dry_run:
        return previewed(found)
    ctx.out.note(_text(preview_view(found)))
    steps = RestoreSteps(ctx, target, opened, choice, found.prepared)
    outcome = execute(
        plan(target.name, opened, choice, found, steps),
        ctx.run_environment(),
        replan=lambda: plan(target.name, opened, choice, preview(target, opened, choice), steps),
    )
    return finish(ctx, opened, choice, found.target, outcome)


def asdict_shallow(choice: Choice) -> dict[str, Any]:
    return {name: getattr(choice, name) for name in choice.__dataclass_fields__}


def plan(
    profile: str, opened: OpenedBackup, choice: Choice, found: Preview, steps: RestoreSteps
) -> Plan:
    return _plan(
        profile,
        opened,
        choice,
        steps,
        facts=found.facts(),
        destructive=found.destructive,
        prepared=found.prepared,
    )


def _plan(
    profile: str,
    opened: OpenedBackup,
    choice: Choice,
    steps: RestoreSteps,
    *,
    facts: Mapping[str, Any],
    destructive: bool,
    prepared: Path | None,
) -> Plan:
    stores = ", ".join(choice.stores)
    return Plan(
        kind=KIND,
        summary=f"restore {stores} of profile {profile} from backup {opened.id}",
        target=profile,
        danger=Danger.DESTRUCTIVE if destructive else Danger.REVERSIBLE,
        facts=facts,
        steps=_steps(choice, steps),
        leases=(LeaseRequest(RESTORE), LeaseRequest(BACKUPS, shared=True)),
        confirm_name=profile,
        parameters={
            "choice": _choice_document(choice),
            "prepared": str(prepared) if prepared else None,
            "destructive": destructive,
            "facts": dict(facts),
        },
        in_the_clear=tuple(map(str, folders(prepared))) if prepared else (),
    )


def _steps(choice: Choice, steps: RestoreSteps) -> tuple[Step, ...]:
    postgres, served = "postgres" in choice.stores, choice.data_dir is None
    found = [Step("start-servers", steps.start_servers)]
    if "qdrant" in choice.stores:
        found.append(Step("check-images", steps.check_images, note="before anything is dropped"))
    if postgres:
        found.append(Step("unpack-postgres", steps.unpack_postgres))
        found.append(Step("recover-postgres", steps.recover_postgres))
    if "redis" in choice.stores:
        found.append(Step("restore-redis", steps.restore_redis))
    if "qdrant" in choice.stores:
        found.append(Step("restore-qdrant", steps.restore_qdrant))
    found.append(Step("compare", steps.compare, note="against the manifest"))
    found.append(Step("hooks", steps.run_hooks, note="between data in place and serving"))
    if "qdrant" in choice.stores:
        found.append(Step("serve-qdrant", steps.serve_qdrant))
    if postgres and served:
        found.append(Step("serve-postgres", steps.serve_postgres))
    found.append(Step("clean-up", steps.clean_up))
    return tuple(found)


def rebuild(ctx: Context, first: Mapping[str, Any]) -> tuple[Plan, RestoreSteps]:
    """The same plan from record 0 of its journal, without looking at stores half replaced."""
    parameters = first["plan"]["parameters"]
    choice = _choice_from(parameters["choice"])
    opened = OpenedBackup.open(ctx.deployment, choice.backup, choice.identity_file)
    target = ctx.deployment_of(choice.into) if choice.into else ctx.deployment
    prepared = Path(parameters["prepared"]) if parameters["prepared"] else None
    steps = RestoreSteps(ctx, target, opened, choice, prepared)
    made = _plan(
        target.name,
        opened,
        choice,
        steps,
        facts=parameters["facts"],
        destructive=parameters["destructive"],
        prepared=prepared,
    )
    return made, steps


def finish(
    ctx: Context, opened: OpenedBackup, choice: Choice, target: str, outcome: OperationOutcome
) -> Result:
    """The result of a finished restore; drift ends the command with exit 8 after it was printed."""
    compared = tuple(outcome.results["compare"]["compared"])
    done = Restored(
        backup=opened.id,
        operation=outcome.operation,
        target=target,
        recovery_point=opened.manifest.recovery_point.time,
        seconds=round(outcome.seconds, 3),
        compared=compared,
        replaced=outcome.results.get("serve-postgres", {}).get("replaced"),
        data_directory=str(choice.data_dir) if choice.data_dir else None,
        next_steps=tuple(_next_steps(choice)),
    )
    shown = Result(
        "aeterna.restore.run/1", {**asdict(done), "drift": done.drift}, lambda: _view(done)
    )
    if done.drift:
        ctx.out.result(shown)
        raise FindingsError(
            "restore_drift",
            "the data are in place, but not everything is what the manifest says",
            hint="each finding above names what differs",
            operation=outcome.operation,
        )
    return shown


def _next_steps(choice: Choice) -> list[str]:
    if choice.data_dir is None:
        return [f"aeterna-cli restore verify --backup {choice.backup}"]
    return [
        f"stop PostgreSQL, put {choice.data_dir} in place of its data directory, start it",
        "check the configuration files in it: they are those of the backed up server",
    ]


def _view(done: Restored) -> Table:
    rows = []
    for one in done.compared:
        findings = [f"{f['severity']}: {f['subject']}: {f['message']}" for f in one["findings"]]
        details = ", ".join(
            f"{value:,} {name}" for name, value in one["details"].items() if isinstance(value, int)
        )
        state = "DRIFT" if one["drift"] else "equal"
        rows.append(
            [
                one["store"],
                f"{one['count']:,} {one['items']}",
                state,
                "\n".join([details, *findings]).strip(),
            ]
        )
    lines = [
        f"restored to {done.target} ({done.recovery_point.isoformat()})"
        f" in {human_seconds(done.seconds)}",
        *([f"the old data directory is kept: {done.replaced}"] if done.replaced else []),
        *(f"next: {step}" for step in done.next_steps),
    ]
    return Table(
        ["store", "compared", "result", "details"],
        rows,
        title=f"backup {done.backup}",
        footer="\n".join(lines),
    )


def _text(table: Table | str) -> str:
    from aeterna_cli.output.tables import as_plain

    return table if isinstance(table, str) else as_plain(table).rstrip()


def _choice_document(choice: Choice) -> dict[str, Any]:
    return {
        "backup": choice.backup,
        "at": choice.at.isoformat() if choice.at else None,
        "lsn": choice.lsn,
        "name": choice.name,
        "stores": list(choice.stores),
        "into": choice.into,
        "data_dir": str(choice.data_dir) if choice.data_dir else None,
        "allow_skew": choice.allow_skew,
        "identity_file": str(choice.identity_file) if choice.identity_file else None,
    }


def _choice_from(document: Mapping[str, Any]) -> Choice:
    return Choice(
        backup=document["backup"],
        at=datetime.fromisoformat(document["at"]) if document["at"] else None,
        lsn=document["lsn"],
        name=document["name"],
        stores=tuple(document["stores"]),
        into=document["into"],
        data_dir=Path(document["data_dir"]) if document["data_dir"] else None,
        allow_skew=document["allow_skew"],
        identity_file=Path(document["identity_file"]) if document["identity_file"] else None,
    )
