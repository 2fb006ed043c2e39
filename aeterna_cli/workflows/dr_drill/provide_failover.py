"""Providers about failover: what a component says of itself, and a planned switchover."""

from typing import Annotated, Any

from pydantic import Field

from aeterna_cli.output.documents import document
from aeterna_cli.workflows.dr_drill.limits import Limit
from aeterna_cli.workflows.dr_drill.scenario import Part, StoreName
from aeterna_cli.workflows.dr_drill.surroundings import Surroundings


class Status(Part):
    component: StoreName


class Switchover(Part):
    component: StoreName
    to: Annotated[str, Field(max_length=100)] | None = None


def status(around: Surroundings, asked: Status, limit: Limit) -> Any:
    """Primary, nodes by role, and how many findings of each severity."""
    from aeterna_cli.workflows.failover.status import look

    (found,) = look(around.limited(limit), asked.component).components
    severities = [one.severity for one in found.findings]
    return {
        "primary": found.primary,
        "healthy": sum(one.healthy for one in found.nodes),
        "nodes": len(found.nodes),
        "roles": {
            role: sum(one.role == role for one in found.nodes)
            for role in sorted({one.role for one in found.nodes})
        },
        "errors": severities.count("error"),
        "warnings": severities.count("warning"),
    }


def switchover(around: Surroundings, asked: Switchover, limit: Limit) -> Any:
    """Done, and seen to be done. The drill's own writers measure the gap."""
    from aeterna_cli.workflows.failover import switchover as switching

    done = switching.run(around.limited(limit), asked.component, asked.to, probe=False).data
    return {"operation": done.operation, "plan": document(done.plan), "seconds": done.seconds}
