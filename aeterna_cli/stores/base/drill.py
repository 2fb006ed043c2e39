"""Numbered markers of a drill in one store: what was acknowledged must be found again."""

from dataclasses import dataclass
from typing import Protocol

from aeterna_cli.errors import TransientError


class NotSentError(TransientError):
    """The marker never left: it is certain that it was not written."""


@dataclass(frozen=True)
class Written:
    """``server`` names who acknowledged it, "" where that cannot be told."""

    server: str


class DrillMarkers(Protocol):
    """One store as the application reaches it. Not for two threads at once.

    ``prepare`` makes what markers lie in, ``write`` returns when the marker is acknowledged as the
    application's writes are and raises in every other case: ``NotSentError`` where it is certain
    that it was not written, any other error where it may have been. ``read`` is every number that
    is there, ``clear`` removes those of this drill.
    """

    def prepare(self) -> None: ...
    def write(self, number: int) -> Written: ...
    def read(self) -> set[int]: ...
    def clear(self) -> None: ...
    def close(self) -> None: ...
