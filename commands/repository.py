"""``aeterna-cli repository``: where backups are kept."""

from aeterna_cli.context import Context
from aeterna_cli.options import changing, group

app = group("repository")


@changing(app, "init")
def init_(ctx: Context) -> None:
    """Make a new repository for this deployment. An existing one is never touched.

    Example: aeterna-cli repository init --profile prod-eu
    """
    from aeterna_cli.workflows.repository import init

    ctx.out.result(init.run(ctx))
