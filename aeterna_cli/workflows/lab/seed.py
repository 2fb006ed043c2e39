"""``lab seed``: tenants of different size with rows, points and keys; once."""

from aeterna_cli.context import Context
from aeterna_cli.errors import UsageError
from aeterna_cli.lab.seed.run import Seeded, seed_lab
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import human_seconds
from aeterna_cli.workflows.lab.up import here


def run(ctx: Context, scale: float, seed: int) -> Result:
    if not 0 < scale <= 1000:
        raise UsageError("scale_out_of_range", "--scale must be above 0 and at most 1000")
    done = seed_lab(here().place(), seed=seed, scale=scale, tell=ctx.out.note)
    return Result("aeterna.lab.seed/1", done, lambda: _view(done))


def _view(done: Seeded) -> str:
    if not done.fresh:
        return f"the lab holds this seed already ({done.seed}, scale {done.scale:g})"
    return (
        f"{done.tenants} tenants: {done.rows:,} rows, {done.points:,} points, {done.keys:,} keys,"
        f" {done.objects:,} objects in {human_seconds(done.seconds)}"
    )
