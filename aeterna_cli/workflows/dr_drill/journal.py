"""A drill's own journal: every event with its time, on this machine's disk before the next begins.

``journal.ndjson`` in the drill's folder; it outlives a kill, and it is part of the evidence.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from aeterna_cli.errors import FailedError
from aeterna_cli.output.documents import document, rfc3339
from aeterna_cli.workflows.dr_drill.escaping import clean

FILE = "journal.ndjson"
_LONGEST = 4000  # characters of one value


class DrillJournal:
    """Appends. ``seconds`` of an event count from ``began`` on the monotonic clock."""

    def __init__(self, folder: Path, clock: Callable[[], datetime]) -> None:
        self._path = folder / FILE
        self._clock = clock
        self.began = time.monotonic()

    def say(self, event: str, **fields: Any) -> None:
        """One event is on disk when this returns; ``FailedError('drill_journal_not_written')``."""
        now = time.monotonic()
        line = {
            "event": event,
            "time": rfc3339(self._clock()),
            "seconds": round(now - self.began, 4),
            "monotonic": round(now, 6),
            **{key: clean(_short(document(value))) for key, value in fields.items()},
        }
        data = (json.dumps(line, ensure_ascii=False, default=str) + "\n").encode()
        try:
            number = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(number, "wb", buffering=0) as file:
                file.write(data)
                os.fsync(file.fileno())
        except OSError as error:
            raise FailedError(
                "drill_journal_not_written", f"cannot write {self._path}: {error.strerror}"
            ) from error


def events(folder: Path) -> Iterator[dict[str, Any]]:
    """Every whole event of a drill's journal; none where there is no journal."""
    path = folder / FILE
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def _short(value: Any) -> Any:
    return value[:_LONGEST] if isinstance(value, str) else value
