"""``restore plan``: the preview, and nothing else."""

from aeterna_cli.context import Context
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table, human_bytes, human_seconds
from aeterna_cli.workflows.restore.choice import Choice
from aeterna_cli.workflows.restore.opened import OpenedBackup
from aeterna_cli.workflows.restore.preview import Preview, preview
from aeterna_cli.workflows.restore.tenant_choice import TenantChoice


def run(ctx: Context, choice: Choice | TenantChoice) -> Result:
    """Changes nothing. Raises what would end the restore before it changes anything."""
    if isinstance(choice, TenantChoice):
        from aeterna_cli.workflows.restore import tenant_plan

        return tenant_plan.run(ctx, choice)
    opened = OpenedBackup.open(ctx.deployment, choice.backup, choice.identity_file)
    found = preview(ctx.deployment_of(choice.into), opened, choice)
    return result(found)


def result(found: Preview) -> Result:
    return Result("aeterna.restore.plan/1", found.as_document(), lambda: view(found))


def view(found: Preview) -> Table:
    rows = [
        [
            one.store,
            human_bytes(one.bytes),
            one.how,
            one.overwrites or "nothing",
            f"{found.skew[one.store]} ms" if one.store in found.skew else "",
        ]
        for one in found.stores
    ]
    lines = [
        f"target: {found.target} (recovery point {found.recovery_point.isoformat()})",
        f"{human_bytes(found.bytes)} to restore, about {human_seconds(found.seconds_estimated)}"
        f" (a guess; the target is {human_seconds(found.rto_target)})",
        *([f"WAL without a gap until {found.wal_until}"] if found.wal_until else []),
        *(f"note: {note}" for note in found.notes),
        "overwrites data: --confirm with the profile's name is wanted"
        if found.destructive
        else "overwrites nothing",
    ]
    return Table(
        ["store", "size", "how", "overwrites", "behind target by"],
        rows,
        title=f"restore {found.backup} into profile {found.profile}",
        right=frozenset({"size"}),
        footer="\n".join(lines),
    )
