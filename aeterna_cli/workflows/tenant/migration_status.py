"""``tenant migration status``: what the last move of a tenant is at."""

from aeterna_cli.context import Context
from aeterna_cli.errors import RefusedError
from aeterna_cli.output.result import Result
from aeterna_cli.workflows.tenant.move import TenantMove, store_of
from aeterna_cli.workflows.tenant.move_result import result
from aeterna_cli.workflows.tenant.resolve import resolve


def run(ctx: Context, tenant_text: str) -> Result:
    """The unfinished move, else the last one; ``RefusedError('no_move')`` where there was none."""
    tenant = resolve(ctx.deployment, tenant_text)
    store = store_of(ctx)
    record = store.unfinished(tenant.id) or store.latest(tenant.id)
    if record is None:
        raise RefusedError(
            "no_move",
            f"{tenant.slug} was never moved",
            next_steps=[f"aeterna-cli tenant migrate --tenant-id {tenant.id} --to-shard SHARD"],
        )
    move = TenantMove(ctx, tenant, record)
    try:
        return result("aeterna.tenant.migration.status/1", move)
    finally:
        move.close()
