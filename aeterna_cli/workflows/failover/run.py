"""``failover run``: the primary is gone, or must be taken for gone."""

from aeterna_cli.context import Context
from aeterna_cli.errors import UsageError
from aeterna_cli.output.result import Result
from aeterna_cli.workflows.failover import switching
from aeterna_cli.workflows.failover.wanted import Wanted

KIND = "failover.run"


def run(ctx: Context, component: str, to: str | None, accept_loss: int | None) -> Result:
    """See ``switching.run``. Fence first, promote after: without the profile's ``failover.fence``
    it demands that the loss is accepted, in bytes."""
    if component == "all":
        raise UsageError("component_needed", "a failover is of one component: name it")
    return switching.run(ctx, Wanted(component, "failover", to, accept_loss), KIND)
