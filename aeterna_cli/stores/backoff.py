"""Trying again: a bounded number of times, with growing pauses that do not beat in step."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from aeterna_cli.errors import TransientError

T = TypeVar("T")


@dataclass(frozen=True)
class Backoff:
    """How often and how patiently. Pauses double from ``first`` to ``ceiling`` seconds.

    Each pause is drawn from the upper half of its range, so that many clients that failed together
    do not come back together.
    """

    attempts: int = 6
    first: float = 0.2
    ceiling: float = 5.0

    def pauses(self) -> Iterator[float]:
        for number in range(self.attempts - 1):
            longest = min(self.ceiling, self.first * 2**number)
            yield random.uniform(longest / 2, longest)  # noqa: S311 - jitter, not a secret


#: the longest that a server's Retry-After is obeyed, in seconds
LONGEST_RETRY_AFTER = 30.0


def _asked(error: TransientError) -> float:
    """How long the server asked us to wait."""
    return min(float(error.details.get("retry_after", 0)), LONGEST_RETRY_AFTER)


def retried(
    call: Callable[[], T], backoff: Backoff, *, stopping: threading.Event | None = None
) -> T:
    """What ``call`` returns, tried again after each ``TransientError``; the last one is raised.

    Only for calls that may be repeated. A pause is never shorter than the server asked for. Once
    ``stopping`` is set there is no further attempt.
    """
    for shortest in backoff.pauses():
        try:
            return call()
        except TransientError as error:
            pause = max(shortest, _asked(error))
            if stopping is None:
                time.sleep(pause)
            elif stopping.wait(pause):
                raise
    return call()
