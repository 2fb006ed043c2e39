"""How long one step of a drill may take, and that somebody may want it to stop."""

import time
from collections.abc import Callable

from aeterna_cli.errors import AeternaError, TransientError
from aeterna_cli.signals import Stop

_LOOK = 0.05  # seconds between two looks at a condition


class Limit(Stop):
    """A deadline that is asked wherever a stop is: nested work ends at its next safe point.

    ``outer`` None is for rollbacks: they are finished whatever was asked.
    """

    def __init__(self, seconds: float, outer: Stop | None, what: str) -> None:
        super().__init__()
        self._outer = outer
        self._seconds = seconds
        self._what = what
        self._deadline = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds, never negative."""
        return max(0.0, self._deadline - time.monotonic())

    @property
    def requested(self) -> bool:
        return self._outer is not None and self._outer.requested

    def error(self) -> AeternaError:
        if self._outer is None:
            return super().error()
        return self._outer.error()

    def check(self) -> None:
        """Raises when a signal came; ``TransientError('drill_step_timeout')`` when it is over."""
        if self.requested:
            raise self.error()
        if not self.left:
            raise TransientError(
                "drill_step_timeout", f"{self._what}: not done within {self._seconds:g} s"
            )

    def wait(self, condition: Callable[[], bool], every: float = _LOOK) -> None:
        """The condition holds when this returns; errors as of ``check``."""
        while not condition():
            self.check()
            time.sleep(min(every, max(self.left, 0.001)))

    def pause(self, seconds: float) -> None:
        """A duration that is part of the experiment."""
        until = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= until)
