"""Filling a lab, once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from aeterna_cli.errors import RefusedError
from aeterna_cli.lab.part import NotReady, Place
from aeterna_cli.lab.seed import keys, objects, points, rows
from aeterna_cli.lab.seed.schemas import SchemaName
from aeterna_cli.lab.seed.tenants import Tenant, tenants

DEFAULT_SEED = 1


@dataclass(frozen=True)
class Seeded:
    """What a seed wrote; zeros and ``fresh`` False where the same seed was there already."""

    seed: int
    scale: float
    tenants: int
    rows: int
    points: int
    keys: int
    objects: int
    seconds: float
    fresh: bool
    schema: SchemaName = "complete"


def seed_lab(
    place: Place,
    *,
    seed: int = DEFAULT_SEED,
    scale: float = 1.0,
    extra: int = 0,
    schema: SchemaName = "complete",
    tell: Callable[[str], None],
) -> Seeded:
    """The same data for the same parameters; does nothing where they are there already.

    ``extra`` small tenants join the usual ones; ``schema`` is a complete or a stuck database.
    Rows come last and all at once: a seed that was cut off is simply repeated.
    ``RefusedError('lab_not_empty')`` where something else is in the database.
    """
    began = monotonic()
    everyone = tenants(scale, extra)
    try:
        found = rows.seeded(place)
        if found == rows.parameters(seed, scale, extra, schema):
            seconds = monotonic() - began
            return Seeded(seed, scale, len(everyone), 0, 0, 0, 0, seconds, False, schema)
        if found is not None or rows.occupied(place):
            raise _not_empty(found)
        tell("writing points")
        count_points = points.write(place, seed, everyone)
        tell("writing keys")
        count_keys = keys.write(place, seed, everyone)
        tell("writing objects")
        count_objects = _write_objects(place, seed, everyone, tell)
        tell("writing rows")
        count_rows = rows.write(place, seed, scale, everyone, extra=extra, schema=schema)
    except NotReady as error:
        raise RefusedError(
            "lab_not_running",
            f"the lab does not answer: {error}",
            next_steps=["aeterna-cli lab up"],
        ) from error
    counts = (count_rows, count_points, count_keys, count_objects)
    return Seeded(seed, scale, len(everyone), *counts, monotonic() - began, True, schema)


def _not_empty(found: dict[str, Any] | None) -> RefusedError:
    return RefusedError(
        "lab_not_empty",
        "the lab's database holds other data already",
        hint=f"it was seeded with {found}" if found else "tables that no seed made",
        next_steps=["aeterna-cli lab reset --yes", "aeterna-cli lab up"],
    )


def _write_objects(
    place: Place, seed: int, everyone: Sequence[Tenant], tell: Callable[[str], None]
) -> int:
    """A lab that was made without S3 is seeded all the same, and says so."""
    try:
        return objects.write(place, seed, everyone)
    except NotReady as error:
        tell(f"no objects are written: {error}")
        return 0
