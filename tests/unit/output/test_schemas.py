"""What ``-o json`` promises: each result's fields and types are those of the committed snapshot.

A changed, removed or retyped field wants a new major in the schema's name; a new field is added to
the snapshot: ``WRITE_SCHEMAS=1 pytest tests/unit/output/test_schemas.py``.
"""

import dataclasses
import importlib
import json
import os
import re
import typing
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SNAPSHOTS = ROOT / "tests" / "data" / "schemas"

#: schema -> the type of its data; [..] where the data are a list of it
RESULTS = {
    "aeterna.backup.create/1": "workflows.backup.create:Created",
    "aeterna.backup.create.planned/1": "workflows.backup.create:Planned",
    "aeterna.backup.create.tenant/1": "workflows.backup.tenant_create:TenantCreated",
    "aeterna.backup.create.tenant.planned/1": "workflows.backup.tenant_create:TenantPlanned",
    "aeterna.backup.list/1": "workflows.backup.list:Listed[]",
    "aeterna.backup.prune/1": "workflows.backup.prune:Pruned",
    "aeterna.backup.show/1": "workflows.backup.show:Shown",
    "aeterna.backup.verify/1": "workflows.backup.verify:Verified",
    "aeterna.backup.wal.receive/1": "workflows.backup.wal_receive:Received",
    "aeterna.backup.wal.receive.planned/1": "workflows.backup.wal_receive:Planned",
    "aeterna.backup.wal.status/1": "workflows.backup.wal_status:Status",
    "aeterna.config.init/1": "workflows.config.init:Written",
    "aeterna.config.show/1": "workflows.config.show:Shown",
    "aeterna.config.test/1": "workflows.config.test:Answer[]",
    "aeterna.datamap.check/1": "workflows.datamap.check:Checked",
    "aeterna.datamap.show/1": "workflows.datamap.show:Shown",
    "aeterna.doctor/1": "workflows.doctor.doctor:Diagnosis",
    "aeterna.dr_drill.history/1": "workflows.dr_drill.history:History",
    "aeterna.dr_drill.list/1": "workflows.dr_drill.list:Listed[]",
    "aeterna.dr_drill.report.verified/1": "workflows.dr_drill.report:Checked",
    "aeterna.dr_drill.report.written/1": "workflows.dr_drill.report:Written",
    "aeterna.dr_drill.run/1": "workflows.dr_drill.verdict:Drill",
    "aeterna.dr_drill.run.planned/1": "workflows.dr_drill.run:Planned",
    "aeterna.lab.demo/1": "workflows.lab.demo:Demonstrated",
    "aeterna.lab.down/1": "lab.deployment:DownReport",
    "aeterna.lab.reset/1": "lab.deployment:DownReport",
    "aeterna.lab.seed/1": "lab.seed.run:Seeded",
    "aeterna.lab.status/1": "lab.deployment:LabStatus",
    "aeterna.lab.workload/1": "lab.workload.verdict:Verdict",
    "aeterna.operation.abort/1": "workflows.operation.abort:Abandoned",
    "aeterna.operation.list/1": "operations.journal:OperationSummary[]",
    "aeterna.repository.init/1": "workflows.repository.init:Initialised",
    "aeterna.repository.init.planned/1": "workflows.repository.init:Planned",
    "aeterna.restore.plan.tenant/1": "workflows.restore.tenant_plan:TenantPlan",
    "aeterna.restore.run.tenant/1": "workflows.restore.tenant_run:TenantRestored",
    "aeterna.restore.run/1": "workflows.restore.run:Restored",
    "aeterna.tenant.classify/1": "workflows.tenant.classify:Classification",
    "aeterna.tenant.list/1": "workflows.tenant.view:TenantLine[]",
    "aeterna.tenant.show/1": "workflows.tenant.show:Shown",
    "aeterna.failover.run/1": "workflows.failover.switching:Switched",
    "aeterna.failover.status/1": "workflows.failover.status:FailoverStatus",
    "aeterna.failover.switchover/1": "workflows.failover.switching:Switched",
    "aeterna.shard.add/1": "workflows.shard.view:ShardChange",
    "aeterna.shard.drain/1": "workflows.shard.view:ShardChange",
    "aeterna.shard.list/1": "workflows.shard.list:ShardList",
    "aeterna.shard.remove/1": "workflows.shard.view:ShardChange",
    "aeterna.tenant.migrate/1": "workflows.tenant.move_result:MoveStatus",
    "aeterna.tenant.migration.cancel/1": "workflows.tenant.move_result:MoveStatus",
    "aeterna.tenant.migration.complete/1": "workflows.tenant.move_result:MoveStatus",
    "aeterna.tenant.migration.cutover/1": "workflows.tenant.move_result:MoveStatus",
    "aeterna.tenant.migration.rollback/1": "workflows.tenant.move_result:MoveStatus",
    "aeterna.tenant.migration.status/1": "workflows.tenant.move_result:MoveStatus",
    "aeterna.tenant.migration.verify/1": "workflows.tenant.move_result:MoveStatus",
}
#: results that are plain mappings: their keys are data, or tests on real servers look at them
MAPPINGS = {
    "aeterna.backup.prune.resumed/1", "aeterna.config.pin/1", "aeterna.doctor.grants/1",
    "aeterna.lab.env/1", "aeterna.operation.show/1",
    "aeterna.restore.plan/1", "aeterna.restore.verify/1",
}  # fmt: skip
#: documents inside the repository, not results; their own tests keep them
STORED = {
    "aeterna.manifest/1", "aeterna.journal/1", "aeterna.lease/1", "aeterna.error/1",
    "aeterna.tenant.move.certificate/1", "aeterna.drill/1",
}  # fmt: skip


def type_of(name: str) -> Any:
    """The dataclass behind an entry of ``RESULTS``."""
    module, _, kind = name.removesuffix("[]").partition(":")
    return getattr(importlib.import_module(f"aeterna_cli.{module}"), kind)


def shape(kind: Any) -> Any:
    """A type as JSON: dataclasses by field, containers with what is in them, the rest by name."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return {field.name: shape(hints[field.name]) for field in dataclasses.fields(kind)}
    inner = [shape(one) for one in typing.get_args(kind) if one is not Ellipsis]
    if typing.get_origin(kind) is typing.Literal:
        return {"one of": [str(one) for one in typing.get_args(kind)]}
    if not inner:
        return kind.__name__ if isinstance(kind, type) else str(kind)
    origin = typing.get_origin(kind)
    return {getattr(origin, "__name__", str(origin)): inner}


def snapshot(schema: str) -> Path:
    return SNAPSHOTS / f"{schema.replace('/', '-')}.json"


@pytest.mark.parametrize("schema", RESULTS)
def test_a_schema_keeps_what_it_promised(schema: str) -> None:
    name = RESULTS[schema]
    found: Any = shape(type_of(name))
    if name.endswith("[]"):
        found = [found]
    path = snapshot(schema)
    if os.environ.get("WRITE_SCHEMAS"):
        text = json.dumps({"schema": schema, "data": found}, indent=2)
        path.write_text(text + "\n", encoding="utf-8")
    promised = json.loads(path.read_text(encoding="utf-8"))
    assert promised == {"schema": schema, "data": found}


def test_every_schema_in_the_code_is_known_here() -> None:
    used: set[str] = set()
    for folder in ("aeterna_cli", "commands"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            used |= set(re.findall(r'"(aeterna\.[a-z_.]+/\d+)"', text))
    assert used - STORED == RESULTS.keys() | MAPPINGS


def test_no_snapshot_is_left_of_a_schema_that_is_gone() -> None:
    assert {path.name for path in SNAPSHOTS.iterdir()} == {snapshot(one).name for one in RESULTS}
