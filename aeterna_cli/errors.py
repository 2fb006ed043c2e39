"""Every way this tool ends: one tree of typed errors, one table of exit codes.

An error is raised where it is understood, with a stable ``code`` for machines, a sentence for
people and the next step. It becomes text and an exit code in ``main.py`` and nowhere else.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, ClassVar


class ExitCode(IntEnum):
    """The exit codes, stable within a major version. ``MEANINGS`` is what every help shows."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    CONFLICT = 3
    TRANSIENT = 4
    REMOTE = 5
    AUTHENTICATION = 6
    REFUSED = 7
    FINDINGS = 8
    DEGRADED = 9
    INTERRUPTED = 130
    TERMINATED = 143


MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "failed",
    ExitCode.USAGE: "wrong usage or configuration",
    ExitCode.CONFLICT: "conflict: locked, or somebody else changed it",
    ExitCode.TRANSIENT: "transient: try again",
    ExitCode.REMOTE: "a remote system failed",
    ExitCode.AUTHENTICATION: "authentication or permission refused",
    ExitCode.REFUSED: "refused before anything changed",
    ExitCode.FINDINGS: "findings: the check ran and found something",
    ExitCode.DEGRADED: "done, but degraded",
    ExitCode.INTERRUPTED: "interrupted (SIGINT)",
    ExitCode.TERMINATED: "terminated (SIGTERM)",
}


class AeternaError(Exception):
    """Something ended this command, and what to do about it is known.

    ``code`` is stable snake_case for scripts; ``message`` says what is wrong; ``hint`` says why or
    how to mend it; ``next_steps`` are commands to type. None of them may hold a secret.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: str = "",
        next_steps: Sequence[str] = (),
        operation: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.next_steps = tuple(next_steps)
        self.operation = operation
        self.details = details or {}

    def as_document(self) -> dict[str, Any]:
        """The error as one JSON object, the shape of ``aeterna.error/1``."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "exit_code": int(self.exit_code),
            "operation": self.operation,
            "next_steps": list(self.next_steps),
            "details": self.details,
        }


class FailedError(AeternaError):
    """The work was tried and failed for a reason that trying again will not change."""


class UsageError(AeternaError):
    """The command line or the configuration is wrong; nothing was contacted."""

    exit_code = ExitCode.USAGE


class ConflictError(AeternaError):
    """Somebody else holds the lease, won the race, or changed the thing meanwhile."""

    exit_code = ExitCode.CONFLICT


class TransientError(AeternaError):
    """A fault that is expected to pass: the same command may be run again as it is."""

    exit_code = ExitCode.TRANSIENT


class RemoteError(AeternaError):
    """A server answered in a way that it should not, or cannot do what is needed."""

    exit_code = ExitCode.REMOTE


class AuthenticationError(AeternaError):
    """Credentials or privileges were refused by a server."""

    exit_code = ExitCode.AUTHENTICATION


class RefusedError(AeternaError):
    """A precondition does not hold; nothing was changed."""

    exit_code = ExitCode.REFUSED


class FindingsError(AeternaError):
    """A judging command ran to its end and found something."""

    exit_code = ExitCode.FINDINGS


class DegradedError(AeternaError):
    """The work is done, but something beside it is not as it should be."""

    exit_code = ExitCode.DEGRADED


class InterruptedByUser(AeternaError):
    """SIGINT: the work stopped at a safe point."""

    exit_code = ExitCode.INTERRUPTED


class TerminatedBySignal(AeternaError):
    """SIGTERM: the work stopped at a safe point."""

    exit_code = ExitCode.TERMINATED
