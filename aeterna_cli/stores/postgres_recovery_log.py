"""What a recovering server says in its log: how far it is, and why it gave up.

The server writes the log in English (``lc_messages = C``), so its sentences can be told apart.
Source: PostgreSQL 15 to 18, src/backend/access/transam/xlogrecovery.c and xlog.c.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from aeterna_cli.errors import AeternaError, FailedError, RefusedError, RemoteError

_LSN = re.compile(r"(?:current LSN:|redo starts at|redo done at) ([0-9A-F]+)/([0-9A-F]+)")
_LAST_COMMIT = re.compile(r"last completed transaction was at log time (.+)$")
_TOO_SMALL = re.compile(r"(max_\w+) = \d+ is a lower setting than on the primary.* was (\d+)")
_WORST = re.compile(r"(?:FATAL|PANIC):  (.*)$")
_READY = "database system is ready to accept"
_SHOWN = 20  # lines of the log that a person gets to see


@dataclass(frozen=True)
class _Cause:
    pattern: str
    error: type[AeternaError]
    code: str
    hint: str


_CAUSES = (
    _Cause(
        "requested recovery stop point is before consistent recovery point",
        RefusedError,
        "target_before_backup_end",
        "choose an older backup, or a later moment",
    ),
    _Cause(
        r"recovery target timeline .* does not exist|is not a child of this server's history",
        RefusedError,
        "timeline_unknown",
        "the archive has no history file for that timeline, or it branched off before this backup",
    ),
    _Cause(
        r"could not restore file .* from archive",
        FailedError,
        "restore_command_failed",
        "whatever serves the WAL failed or went away; see its own message",
    ),
    _Cause(
        r"different database system|system identifier",
        RemoteError,
        "wal_foreign",
        "the WAL belongs to another cluster than the base backup",
    ),
    _Cause(
        r"could not locate required checkpoint record|WAL ends before end of online backup"
        r"|WAL ends before consistent recovery point|could not find redo location",
        RemoteError,
        "wal_missing",
        "the archive lacks WAL between the start and the end of the base backup",
    ),
    _Cause(
        r"resource manager with ID \d+ not registered",
        RefusedError,
        "extension_library_missing",
        "an extension with a WAL format of its own must be installed here and preloaded",
    ),
    _Cause("No space left on device", FailedError, "disk_full", "free space and run it again"),
    _Cause(
        "could not create shared memory|could not map anonymous shared memory",
        FailedError,
        "memory_missing",
        "the machine has too little free memory for a scratch server",
    ),
)


class RecoveryLog:
    """The log file of one server start; ``read`` takes in what was appended since."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self._rest = b""
        self._lines: list[str] = []
        self._worst: list[str] = []
        self.lsn = 0  # the newest position mentioned
        self.last_commit = ""  # as the server prints it
        self.ready = False
        self.target_reached = False
        self.too_small: dict[str, str] = {}  # setting -> what the primary had

    def read(self) -> bool:
        """Whether there was anything new."""
        with self._path.open("rb") as log:
            log.seek(self._offset)
            fresh = log.read()
        self._offset += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        for line in lines:
            self._take(line.decode("utf-8", "replace"))
        return bool(fresh)

    def _take(self, line: str) -> None:
        self._lines = [*self._lines[-_SHOWN:], line]
        if position := _LSN.search(line):
            self.lsn = max(self.lsn, int(position[1], 16) << 32 | int(position[2], 16))
        if moment := _LAST_COMMIT.search(line):
            self.last_commit = moment[1]
        if setting := _TOO_SMALL.search(line):
            self.too_small[setting[1]] = setting[2]
        if worst := _WORST.search(line):
            self._worst.append(worst[1])
        self.ready = self.ready or _READY in line
        self.target_reached = self.target_reached or "recovery stopping" in line

    def failure(self, target: str) -> AeternaError:
        """Why the server ended, as the error to raise; ``target`` is for the person who asked."""
        self.read()
        text = "\n".join(self._worst or self._lines)
        details = {"log": self._lines[-_SHOWN:], "last_lsn": self.lsn}
        if "recovery ended before configured recovery target was reached" in text:
            return self._not_reached(target, details)
        for cause in _CAUSES:
            if re.search(cause.pattern, text):
                said = next((line for line in self._worst if re.search(cause.pattern, line)), text)
                return cause.error(cause.code, said, hint=cause.hint, details=details)
        said = self._worst[0] if self._worst else "it said nothing"
        return RemoteError(
            "scratch_server_failed",
            f"the scratch server ended: {said}",
            hint=f"its log: {self._path}",
            details=details,
        )

    def _not_reached(self, target: str, details: dict[str, object]) -> AeternaError:
        latest = f", of {self.last_commit}" if self.last_commit else ""
        return RefusedError(
            "target_not_reached",
            f"the stored WAL ends before {target}: the last position is"
            f" {self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}{latest}",
            hint="choose that moment or an earlier one, or wait until later WAL is stored",
            details={**details, "last_commit": self.last_commit},
        )
