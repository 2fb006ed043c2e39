"""The rows of the seed, by subject: pure, the same for the same seed and tenants."""

from collections.abc import Iterator, Sequence

from aeterna_cli.lab.seed.load import Rows
from aeterna_cli.lab.seed.schemas import Schema
from aeterna_cli.lab.seed.tables import (
    governance,
    hierarchy,
    memory,
    operations,
    people,
    tenancy,
)
from aeterna_cli.lab.seed.tables.world import moment, worlds
from aeterna_cli.lab.seed.tenants import Tenant


def everything(seed: int, everyone: Sequence[Tenant], schema: Schema) -> Iterator[Rows]:
    """Rows of every table that the platform has; tables that a schema lacks are the loader's."""
    yield Rows(
        "_aeterna_migrations",
        "version name checksum applied_at",
        ((*migration, moment()) for migration in schema.migrations()),
    )
    yield tenancy.tenant_rows(seed, everyone)
    inhabited = worlds(seed, everyone)
    for subject in (tenancy, hierarchy, people, memory, governance, operations):
        yield from subject.rows(inhabited)
