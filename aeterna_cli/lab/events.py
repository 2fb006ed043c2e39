"""What the lab says while it works: plain data; whoever asked shows it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["starting", "adopted", "ready", "failed", "stopping", "stopped", "note"]


@dataclass(frozen=True)
class LabEvent:
    """One thing that happened. ``part`` is empty where the whole lab is meant; seconds are wall
    clock since that part's work began."""

    part: str
    phase: Phase
    message: str
    seconds: float = 0.0


Events = Callable[[LabEvent], None]


def ignore(_event: LabEvent) -> None:
    """For callers that do not want to hear."""
