"""The audit trail: one line per change in the profile's state folder, for people and collectors."""

import fcntl
import hashlib
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from aeterna_cli.errors import FailedError

FILE = "audit.log"
NOTHING_BEFORE = "0" * 64
_TAIL = 1 << 20  # bytes: no line is longer


class AuditLog:
    """Appends to ``audit.log`` (mode 0600). Never holds a secret: only what is named below.

    ``previous`` of a line is the SHA-256 of the line before without its line end (zeros in the
    first one): a line that was changed or taken out is noticed, except at the end.
    """

    def __init__(self, state_directory: Path) -> None:
        self.path = state_directory / FILE

    def write(
        self,
        *,
        time: datetime,
        actor: str,
        profile: str,
        kind: str,
        target: str,
        operation: str,
        outcome: str,
        reason: str,
        change: str,
    ) -> None:
        """One line, on disk when this returns; ``FailedError('audit_failed')`` otherwise."""
        line: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds"),
            "actor": actor,
            "profile": profile,
            "kind": kind,
            "target": target,
            "operation": operation,
            "outcome": outcome,
            "reason": reason,
            "change": change,
        }
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            number = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(number, "r+b", buffering=0) as file:
                os.fchmod(number, 0o600)
                fcntl.flock(file, fcntl.LOCK_EX)
                _append(file, line)
                os.fsync(number)
        except OSError as error:
            raise FailedError(
                "audit_failed", f"cannot write {self.path}: {error.strerror}"
            ) from error


def _append(file: BinaryIO, line: dict[str, Any]) -> None:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL))
    before = file.read()
    last = before.rstrip(b"\n").rpartition(b"\n")[2]
    line["previous"] = hashlib.sha256(last).hexdigest() if last else NOTHING_BEFORE
    data = (json.dumps(line, ensure_ascii=False) + "\n").encode()
    if before and not before.endswith(b"\n"):
        data = b"\n" + data  # a full disk cut the line before
    while data:
        data = data[file.write(data) :]
