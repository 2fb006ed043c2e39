"""``lab down``: no process of the lab runs afterwards; its data stays."""

from aeterna_cli.context import Context
from aeterna_cli.lab.deployment import DownReport
from aeterna_cli.output.result import Result
from aeterna_cli.output.tables import Table, human_seconds
from aeterna_cli.workflows.lab.up import here, said


def run(ctx: Context) -> Result:
    return result(here().down(said(ctx)), "aeterna.lab.down/1")


def result(report: DownReport, schema: str) -> Result:
    return Result(schema, report, lambda: _view(report))


def _view(report: DownReport) -> Table | str:
    if not report.parts:
        return "no lab was running"
    rows = [[part.part, part.how, human_seconds(part.seconds)] for part in report.parts]
    footer = f"{report.strays} stray processes ended" if report.strays else ""
    return Table(["part", "how", "took"], rows, right=frozenset({"took"}), footer=footer)
