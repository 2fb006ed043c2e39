"""The parent's side of ``age_process``: pipes to a child that encrypts or decrypts one stream."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from io import FileIO
from typing import cast

from aeterna_cli.errors import FailedError
from aeterna_cli.repository.age_process import REFUSED

_CHILD = "aeterna_cli.repository.age_process"
_PIPE_BYTES = 1 << 20  # Linux' limit for anybody; fewer switches than the default of 64 KiB
_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
_KEPT_PREFIXES = ("PYTHON", "COVERAGE")
BLOCK = 1 << 20


class AgeProcess:
    """A running child. ``stop`` must be called at the end, whatever happened; it may be repeated.

    The child is in a process group of its own, so that Ctrl-C in a terminal ends it only through
    us. It ends by itself when this process dies: its input ends or its output breaks.
    """

    def __init__(self, arguments: Sequence[str], inherited: Sequence[int] = ()) -> None:
        command = [sys.executable, "-P", "-m", _CHILD, *arguments]
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                command,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                bufsize=0,
                pass_fds=tuple(inherited),
                env=_environment(),
                process_group=0,
            )
        except OSError as error:
            raise FailedError(
                "age_process_start", f"cannot start the age process: {error.strerror}"
            ) from error
        self._stdin = cast(FileIO, self._process.stdin)
        self.output = cast(FileIO, self._process.stdout)
        for end in (self._stdin, self.output):
            # as large as this kernel lets us; slower, not wrong, where it refuses
            with contextlib.suppress(OSError):
                fcntl.fcntl(end.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    @classmethod
    def encrypting(cls, recipients: Sequence[str]) -> "AgeProcess":
        return cls(["encrypt", *recipients])

    @classmethod
    def decrypting(cls, identity: str) -> "AgeProcess":
        """``identity`` reaches the child through a pipe that only the child inherits."""
        reading, writing = os.pipe()
        try:
            with os.fdopen(writing, "wb") as secret:
                secret.write(identity.encode("utf-8"))
            return cls(["decrypt", str(reading)], [reading])
        finally:
            os.close(reading)

    @property
    def pid(self) -> int:
        return self._process.pid

    def give(self, data: bytes) -> bool:
        """All of ``data`` to the child; False when it no longer listens."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._stdin.write(rest) :]
        except BrokenPipeError:
            return False
        return True

    def end_input(self) -> None:
        self._stdin.close()

    def refused(self) -> bool:
        """Waits for the end. True when the child could not open the stream; False when it did all.

        ``FailedError('age_process_died')`` when it ended in any other way.
        """
        code = self._process.wait()
        if code in (0, REFUSED):
            return code != 0
        died = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
        raise FailedError(
            "age_process_died",
            f"the age process ended {died} in the middle of its work{self._last_words()}",
            hint="did the machine run out of memory? nothing incomplete was committed",
        )

    def kill(self) -> None:
        """It is dying when this returns; no error when it has ended."""
        self._process.kill()

    def stop(self) -> None:
        """The child is gone and its pipes are closed when this returns."""
        self._process.kill()
        self._process.wait()
        for end in (self._stdin, self.output, self._process.stderr):
            if end is not None:
                end.close()

    def _last_words(self) -> str:
        stderr = self._process.stderr
        words = stderr.read(1000).decode("utf-8", "replace").strip() if stderr else ""
        return f": {words.splitlines()[-1]}" if words else ""


def _environment() -> dict[str, str]:
    """No secret of ours reaches a process that parses foreign data."""
    return {
        name: value
        for name, value in os.environ.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
