"""``lab status``: every part as it answers now."""

from aeterna_cli.lab.deployment import Lab, LabStatus
from aeterna_cli.lab.names import TITLES
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table, human_bytes, human_seconds
from aeterna_cli.profiles import lab_directory

SCHEMA = "aeterna.lab.status/1"


def run() -> Result:
    """Changes nothing. Without a lab the result has no parts."""
    return result(Lab(lab_directory()))


def result(lab: Lab) -> Result:
    status = lab.status()
    return Result(
        SCHEMA, status or {"directory": lab.directory, "parts": []}, lambda: _view(status)
    )


def _view(status: LabStatus | None) -> Table | str:
    if status is None:
        return "no lab here\n  next: aeterna-cli lab up"
    rows = [
        [
            part.part,
            TITLES[part.part],
            part.state,
            str(part.port or ""),
            human_bytes(part.memory) if part.pid else "",
            human_seconds(part.seconds) if part.pid else "",
            part.detail,
        ]
        for part in status.parts
    ]
    notes = [*status.notes, *(f"stray process {pid}" for pid in status.strays)]
    return Table(
        ["part", "server", "state", "port", "memory", "up", "detail"],
        rows,
        title=f"lab in {status.directory}",
        right=frozenset({"port", "memory"}),
        footer="\n".join(notes),
    )
