"""Waiting for what servers say, never for a time to pass."""

from collections.abc import Callable
from time import monotonic, sleep

from aeterna_cli.errors import AeternaError, AuthenticationError
from aeterna_cli.operations.step_run import StepRun

_LOOK = 0.1  # seconds between two looks


def settled(found: Callable[[], bool], seconds: float, run: StepRun | None = None) -> bool:
    """Whether it became so within this time; faults of servers on the way are looks that failed.

    A signal and a lost lease are raised where ``run`` is given.
    """
    until = monotonic() + seconds
    while True:
        try:
            if found():
                return True
        except AuthenticationError:
            raise
        except AeternaError:
            pass  # they are in the middle of it: looked at again
        if run is not None:
            run.safe_point()
        if monotonic() >= until:
            return False
        sleep(_LOOK)
