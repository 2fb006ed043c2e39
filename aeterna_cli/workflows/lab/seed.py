"""``lab seed``: tenants of different size with rows, points and keys; once."""

from dataclasses import dataclass

from aeterna_cli.context import Context
from aeterna_cli.errors import UsageError
from aeterna_cli.lab.seed.run import Seeded, seed_lab
from aeterna_cli.lab.seed.schemas import SCHEMA_NAMES, SchemaName
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import human_seconds
from aeterna_cli.workflows.lab.up import here

MOST_TENANTS = 100_000


@dataclass(frozen=True)
class Wanted:
    """What was asked for, unchecked. ``extra`` is the number of generated small tenants."""

    scale: float
    seed: int
    extra: int
    schema: str


def run(ctx: Context, wanted: Wanted) -> Result:
    schema = _checked(wanted)
    done = seed_lab(
        here().place(),
        seed=wanted.seed,
        scale=wanted.scale,
        extra=wanted.extra,
        schema=schema,
        tell=ctx.out.note,
    )
    return Result("aeterna.lab.seed/1", done, lambda: _view(done))


def _checked(wanted: Wanted) -> SchemaName:
    if not 0 < wanted.scale <= 1000:
        raise UsageError("scale_out_of_range", "--scale must be above 0 and at most 1000")
    if not 0 <= wanted.extra <= MOST_TENANTS:
        raise UsageError("tenants_out_of_range", f"--tenants must be 0 to {MOST_TENANTS}")
    for name in SCHEMA_NAMES:
        if name == wanted.schema:
            return name
    raise UsageError(
        "schema_unknown",
        f"there is no schema {wanted.schema!r}",
        hint="the lab knows " + ", ".join(SCHEMA_NAMES),
        next_steps=["aeterna-cli lab seed --schema complete"],
    )


def _view(done: Seeded) -> str:
    if not done.fresh:
        return f"the lab holds this seed already ({done.seed}, scale {done.scale:g})"
    return (
        f"{done.tenants} tenants: {done.rows:,} rows, {done.points:,} points, {done.keys:,} keys,"
        f" {done.objects:,} objects in {human_seconds(done.seconds)}; schema {done.schema}"
    )
