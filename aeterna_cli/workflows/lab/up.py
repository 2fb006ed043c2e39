"""``lab up``: real servers on this machine, ready and in the profile."""

from collections.abc import Sequence

from aeterna_cli.context import Context
from aeterna_cli.errors import UsageError
from aeterna_cli.lab import names
from aeterna_cli.lab.deployment import Lab
from aeterna_cli.lab.events import LabEvent
from aeterna_cli.output.result import Result
from aeterna_cli.profiles import lab_directory
from aeterna_cli.workflows.lab.status import result


def here() -> Lab:
    """The lab of this folder: ``$AETERNA_LAB_DIR``, else ``.lab``."""
    return Lab(lab_directory())


def run(ctx: Context, without: Sequence[str], *, ha: bool) -> Result:
    """Every wanted part answers when this returns; what runs already is adopted."""
    left_out = {names.canonical(part) for part in without}
    lab = here()
    topology = "ha" if ha else lab.topology
    wanted = [part for part in names.PARTS_OF[topology] if part not in left_out]
    if not wanted:
        raise UsageError("lab_without_parts", "nothing is left to start")
    lab.up(
        wanted if left_out else None,
        said(ctx),
        topology=topology,
        stopped=lambda: ctx.stop.requested,
    )
    return result(lab)


def said(ctx: Context) -> "SaidEvents":
    """Lab events as lines for people."""
    return SaidEvents(ctx)


class SaidEvents:
    """Says what took time; what starts is only said while it takes long."""

    def __init__(self, ctx: Context) -> None:
        self._out = ctx.out

    def __call__(self, event: LabEvent) -> None:
        if event.phase in ("ready", "stopped", "failed"):
            self._out.note(f"  {event.message} ({event.seconds:.1f} s)", part=event.part)
        elif event.phase in ("adopted", "note"):
            self._out.note(f"  {event.message}", part=event.part)
