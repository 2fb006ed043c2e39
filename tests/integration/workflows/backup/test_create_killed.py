"""kill -9 at every point of a backup: nothing torn is ever listed, and the next backup works."""

import pytest

from aeterna_cli.context import Context, Flags
from aeterna_cli.operations.runner import kill_points
from aeterna_cli.output.console import Output
from aeterna_cli.repository.manifest import load
from aeterna_cli.workflows.backup import create
from aeterna_cli.workflows.backup.preflight import preflight
from aeterna_cli.workflows.backup.running import RunningBackup
from tests.integration.deployment import Practice

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


def points(*stores: str) -> list[str]:
    """Every kill point, enumerated from the workflow's own plan."""
    ctx = Context(Flags(), Output(), None)
    asked = create.options(stores, None, "", "0")
    ready = preflight(ctx.deployment, asked.stores)
    found = list(kill_points(create.plan(ctx, asked, RunningBackup(ctx, asked, ready), ready)))
    ctx.close()
    return found


def test_every_point_of_a_small_backup(practice: Practice) -> None:
    survived = []
    for point in points("redis"):
        killed = practice.killed_at(point, "backup", "create", "--store", "redis")
        listed = [entry.backup for entry in practice.open().repository.backups()]
        if not killed:
            survived.append(point)
        for backup in listed:
            load(practice.open().repository, backup)
    # steps without a checkpoint have no middle
    assert all(point.endswith(":middle") for point in survived)
    practice.backup("--store", "redis")
    committed = practice.open().repository.backups()
    states = {one["state"] for one in practice.operations()}
    assert states == {"abandoned", "finished"}
    assert committed[-1].catalogued


@pytest.mark.parametrize("step", ["postgres", "markers", "images", "recovery-point"])
def test_the_long_steps_of_a_whole_backup(practice: Practice, step: str) -> None:
    assert practice.killed_at(f"step:{step}:after", "backup", "create")
    assert practice.open().repository.backups() == []
    with practice.sql() as connection:  # nothing of ours holds WAL back
        slots = connection.execute(
            "SELECT slot_name FROM pg_replication_slots WHERE temporary"
        ).fetchall()
    assert slots == []
    work = practice.open().cache_directory / "work"
    left = {path.name for path in work.glob("scratch-*")}
    assert left, "a killed command cannot clean up"
    made = practice.backup()
    load(practice.open().repository, made["backup"])
    assert list(work.glob("scratch-*")) == [], "the next one removes what held data in the clear"
