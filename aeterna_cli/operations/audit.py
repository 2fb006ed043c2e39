"""The audit trail: one line per change in the profile's state folder, for people and collectors."""

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from aeterna_cli.errors import FailedError

FILE = "audit.log"


class AuditLog:
    """Appends to ``audit.log`` (mode 0600). Never holds a secret: only what is named below."""

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
        data = (json.dumps(line, ensure_ascii=False) + "\n").encode()
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            number = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(number, data)
                os.fsync(number)
            finally:
                os.close(number)
        except OSError as error:
            raise FailedError(
                "audit_failed", f"cannot write {self.path}: {error.strerror}"
            ) from error
