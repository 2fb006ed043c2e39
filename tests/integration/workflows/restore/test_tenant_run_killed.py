"""kill -9 at every point of a tenant's restore: gone on with, it ends with the same data."""

from collections.abc import Sequence

import pytest

from aeterna_cli.context import Context, Flags
from aeterna_cli.operations.runner import kill_points
from aeterna_cli.output.console import Output
from aeterna_cli.workflows.restore import tenant_run
from aeterna_cli.workflows.restore.tenant_choice import choose
from aeterna_cli.workflows.restore.tenant_open import opened_tenant
from aeterna_cli.workflows.restore.tenant_steps import TenantSteps
from tests.integration.deployment import Practice
from tests.integration.workflows import tenant_damage
from tests.integration.workflows.tenant_lab import look

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1800)]
TENANT = "initech"


def points(*stores: str, backup: str) -> list[str]:
    """Every kill point, enumerated from the workflow's own plan."""
    nothing = dict.fromkeys(("at", "allow_skew", "identity"))
    choice = choose(TENANT, backup, mode="replace", store=stores, unusable={}, **nothing)
    ctx = Context(Flags(), Output(), None)
    try:
        with opened_tenant(ctx, choice) as opened:
            steps = TenantSteps(ctx, opened)
            return list(kill_points(tenant_run._plan(ctx, opened, steps)))
    finally:
        ctx.close()


def go_on(practice: Practice, words: Sequence[str]) -> None:
    """What an operator does: resume what was cut off, or start anew where nothing was begun."""
    unfinished = practice.operations("--unfinished")
    if unfinished:
        practice.cli.ok("operation", "resume", unfinished[-1]["operation"], "--confirm", TENANT)
    else:
        practice.cli.ok(*words)


@pytest.mark.soak
def test_every_point_of_a_small_restore(practice: Practice) -> None:
    backup = practice.backup("--tenant-id", TENANT)["backup"]
    before = look(practice, TENANT)
    words = (
        "restore", "run", "--tenant-id", TENANT, "--backup", backup, "--mode", "replace",
        "--store", "redis", "--confirm", TENANT,
    )  # fmt: skip
    survived = []
    for point in points("redis", backup=backup):
        if practice.killed_at(point, *words):
            go_on(practice, words)
        else:
            survived.append(point)
        assert practice.operations("--unfinished") == [], point
    assert all(point.endswith(":middle") for point in survived)
    assert look(practice, TENANT) == before


@pytest.mark.parametrize(
    "point",
    [
        pytest.param("step:check:after", marks=pytest.mark.soak),
        "step:rows:middle",  # committed, and not yet written down
        "step:rows:after",
        pytest.param("step:points:middle", marks=pytest.mark.soak),
        "step:points:after",
        "step:keys:after",
    ],
)
def test_where_it_hurts(practice: Practice, point: str) -> None:
    before = look(practice, TENANT)
    backup = practice.backup("--tenant-id", TENANT)["backup"]
    tenant_damage.damage(practice, TENANT)
    words = (
        "restore", "run", "--tenant-id", TENANT, "--backup", backup, "--mode", "replace",
        "--confirm", TENANT,
    )  # fmt: skip
    assert practice.killed_at(point, *words)
    go_on(practice, words)
    assert practice.operations("--unfinished") == []
    assert look(practice, TENANT) == before
