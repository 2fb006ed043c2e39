"""The first SIGINT or SIGTERM stops at the next safe point; the second leaves at once.

A step asks ``Stop.check`` at every point where stopping loses nothing. Where none comes within
``GRACE`` seconds the stop error is raised wherever the main thread is: every step can be repeated,
so that loses time, not data.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from aeterna_cli.errors import (
    AeternaError,
    ExitCode,
    FailedError,
    InterruptedByUser,
    RemoteError,
    TerminatedBySignal,
    TransientError,
)

_FAILURES = (FailedError, RemoteError, TransientError)
GRACE = 10.0  # seconds from the first signal to the last moment we go on


class Stop:
    """Whether somebody asked this process to stop, and as what that is reported."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._raised = threading.Event()

    @property
    def requested(self) -> bool:
        return self._received is not None

    def request(self, number: int) -> None:
        self._received = number

    def error(self) -> AeternaError:
        """The error that ends this command; only after ``requested``."""
        self._raised.set()
        if self._received == signal.SIGTERM:
            return TerminatedBySignal("terminated", "stopped by SIGTERM at a safe point")
        return InterruptedByUser("interrupted", "stopped by Ctrl-C at a safe point")

    def told(self, error: AeternaError) -> AeternaError:
        """What to tell when ``error`` ended work: the stop, where it came first.

        A signal to all processes of a service or a job ends our helpers too, so what they were
        doing fails. What somebody else did, and what was found, stays what it is.
        """
        stops = (InterruptedByUser, TerminatedBySignal)
        if not self.requested or not isinstance(error, (*stops, *_FAILURES)):
            return error
        stop = self.error()
        if type(stop) is type(error):
            return error
        if not isinstance(error, stops):
            stop.hint = f"while stopping: {error.message} [{error.code}]"
        stop.operation, stop.next_steps = error.operation, error.next_steps
        return stop

    def check(self) -> None:
        """A safe point: raises the stop error when a signal came, else does nothing."""
        if self.requested:
            raise self.error()

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """What must be done whatever was asked: inside the block the first signal raises nothing
        by itself. Whoever asks ``check`` afterwards is told of it."""
        before = self._raised.is_set()
        self._raised.set()
        try:
            yield
        finally:
            if not before:
                self._raised.clear()

    def install(self) -> None:
        """Take over SIGINT and SIGTERM for this process; main thread only."""
        signal.signal(signal.SIGALRM, self._too_slow)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self.requested:
            # Second signal: leave without another line of Python; the journal is on disk already.
            interrupted = number == signal.SIGINT
            os._exit(ExitCode.INTERRUPTED if interrupted else ExitCode.TERMINATED)
        self.request(number)
        os.write(2, b"\nstopping at the next safe point (again: leave at once)\n")
        signal.setitimer(signal.ITIMER_REAL, GRACE)

    def _too_slow(self, _number: int, _frame: FrameType | None) -> None:
        if not self._raised.is_set():
            raise self.error()
