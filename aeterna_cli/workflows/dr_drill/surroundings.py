"""What the providers of a drill may use, and what they leave for those that come after."""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from aeterna_cli.context import Context
from aeterna_cli.workflows.dr_drill.limits import Limit

if TYPE_CHECKING:
    from aeterna_cli.workflows.dr_drill.writers import DrillWriters


@dataclass(frozen=True)
class RestoredStore:
    """A store that was brought back beside the real one. ``found`` are the drill's markers in it,
    None where nobody could read them; ``verified`` is monotonic seconds; ``at`` the wall time that
    was to be restored, None for a backup's own recovery point; ``skew`` in seconds."""

    store: str
    found: frozenset[int] | None
    verified: float
    at: float | None
    skew: float
    backup: str
    checks: Mapping[str, int]


@dataclass
class Surroundings:
    """One drill's. ``say`` writes an event into the drill's journal; ``random`` is the seeded
    choice of everything that the scenario leaves open. ``fault_began`` is set by a fault's provider
    once it knows what it breaks: looking for it is no part of the outage (monotonic seconds)."""

    ctx: Context
    drill: str
    folder: Path
    random: Random
    say: Callable[..., None]
    writers: "DrillWriters | None" = None
    restored: list[RestoredStore] = field(default_factory=list)
    backups: list[str] = field(default_factory=list)
    corrupted_at: datetime | None = None
    declared_lost: float | None = None
    fault_began: float | None = None

    @property
    def values(self) -> Mapping[str, str]:
        """What ``{name}`` in a program's words stands for."""
        return {"drill": self.drill, "folder": str(self.folder),
                "profile": self.ctx.profile_name}  # fmt: skip

    def limited(self, limit: Limit) -> Context:
        """This command's context for nested work: it stops where the step's time is over."""
        nested = copy.copy(self.ctx)
        nested.stop = limit
        nested.flags = replace(self.ctx.flags, yes=True, dry_run=False)
        return nested

    def declare_lost(self) -> None:
        """The application is down from now on: nothing is written any more."""
        self.declared_lost = self.fault_began = time.monotonic()
        if self.writers is not None:
            self.writers.stop()
