"""``failover switchover``: planned; everything is well and stays so."""

from aeterna_cli.context import Context
from aeterna_cli.output.result import Result
from aeterna_cli.workflows.failover import switching
from aeterna_cli.workflows.failover.wanted import Wanted

KIND = "failover.switchover"


def run(ctx: Context, component: str, to: str | None, *, probe: bool) -> Result:
    """See ``switching.run``. ``to`` None: the node that is best."""
    return switching.run(ctx, Wanted(component, "switchover", to, probe=probe), KIND)
