"""Faults in a lab's servers, and taking them back."""

import time
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from aeterna_cli.errors import RefusedError
from aeterna_cli.workflows.dr_drill.limits import Limit
from aeterna_cli.workflows.dr_drill.scenario import Part
from aeterna_cli.workflows.dr_drill.surroundings import Surroundings

if TYPE_CHECKING:
    from aeterna_cli.workflows.dr_drill.lab_faults import LabFaults


class Fault(Part):
    """``target`` is a node or part of the lab, or ``ROLE:STORE`` with the role primary,
    synchronous, replica, replicas (all of them) or random; several are parted by commas for a
    choice by the seed."""

    kind: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,39}$")]
    target: Annotated[str, Field(pattern=r"^[a-z0-9:, -]{1,200}$")]


class Heal(Part):
    """Everything that was broken in this lab, or one target of it."""

    target: Annotated[str, Field(pattern=r"^[a-z0-9:-]{1,60}$")] | None = None


def faults_of(around: Surroundings) -> "LabFaults":
    """``RefusedError('not_a_lab')`` for a deployment that is none."""
    from aeterna_cli.profiles import lab_directory
    from aeterna_cli.workflows.dr_drill.lab_faults import LabFaults

    settings = around.ctx.profile.server_control
    if settings.kind != "lab":
        raise RefusedError("not_a_lab", "faults are injected into labs only")
    return LabFaults(settings.lab_dir or lab_directory())


def inject(around: Surroundings, asked: Fault, _limit: Limit) -> Any:
    """What was broken, and how."""
    faults = faults_of(around)
    targets = faults.resolve(around.ctx, asked.target, around.random)
    around.say("target_chosen", asked=asked.target, targets=targets)
    around.fault_began = time.monotonic()
    return {"kind": asked.kind, "targets": faults.inject(asked.kind, targets)}


def heal(around: Surroundings, asked: Heal, _limit: Limit) -> Any:
    """Everything answers again that was broken; may be repeated."""
    return faults_of(around).heal(asked.target)
