"""WAL for a recovering server, a bounded number of segments ahead.

``restore_command`` is a few lines of shell: it asks by creating a file, waits for the answer and
renames it into place. Our thread answers, reads ahead, and never starts a Python per segment. When
this process dies the shell sees its /proc entry gone and aborts the recovery (exit 255).
"""

import os
import re
import shutil
import threading
from pathlib import Path
from typing import Protocol

from aeterna_cli.errors import AeternaError, FailedError
from aeterna_cli.stores import unprivileged

POLL = 0.01  # seconds between looks at the folder of wishes
_SEGMENT = re.compile(r"^[0-9A-F]{24}$")
_HISTORY = re.compile(r"^([0-9A-F]{8})\.history$")

_SCRIPT = """#!/bin/sh
# $1: the file PostgreSQL asks for; $2: where it wants it
d='{spool}'
: > "$d/want/$1" || exit 255
while :; do
  if [ -f "$d/ready/$1" ]; then
    rm -f "$d/want/$1"
    mv "$d/ready/$1" "$2" && exit 0
    exit 255
  fi
  if [ -f "$d/none/$1" ]; then rm -f "$d/want/$1" "$d/none/$1"; exit 1; fi
  # the feeder is gone or has failed: end the recovery instead of waiting for ever
  if [ -f "$d/closed" ] || [ ! -d "/proc/{pid}" ]; then exit 255; fi
  sleep 0.02
done
"""


class SegmentSource(Protocol):
    """``repository.wal_archive.SegmentReader``."""

    def segment(self, name: str) -> bytes | None: ...
    def history(self, timeline: int) -> bytes | None: ...


class Feeder:
    """Serves WAL from ``source`` to one recovering server through the folder ``spool``.

    ``error`` holds what went wrong while feeding; the server then ends its recovery, and the caller
    should raise it in preference to the server's own message.
    """

    def __init__(
        self, source: SegmentSource, spool: Path, *, ahead: int, segment_size: int
    ) -> None:
        self._source = source
        self._spool = spool
        self._ahead = ahead
        self._per_id = 0x1_0000_0000 // segment_size
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wal-feeder", daemon=True)
        self.error: AeternaError | None = None
        self.segments = 0  # handed over so far
        self.bytes = 0

    @property
    def restore_command(self) -> str:
        """For ``restore_command``; %f and %p are PostgreSQL's."""
        quoted = str(self._spool).replace("%", "%%")
        return f"sh '{quoted}/fetch' %f %p"

    def __enter__(self) -> "Feeder":
        if "'" in str(self._spool):
            raise FailedError("spool_path", "the work folder's path must not hold a quote")
        for name in ("want", "ready", "none"):
            (self._spool / name).mkdir(parents=True, exist_ok=True)
        script = _SCRIPT.format(pid=os.getpid(), spool=self._spool)
        (self._spool / "fetch").write_text(script, encoding="utf-8")
        unprivileged.own(self._spool)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        shutil.rmtree(self._spool, ignore_errors=True)

    def _run(self) -> None:
        last: str | None = None
        try:
            while not self._stop.is_set():
                wanted = self._wishes()
                for name in wanted:
                    last = self._answer(name) or last
                if last is not None and not wanted:
                    last = self._read_ahead(last)
                self._stop.wait(POLL)
        except AeternaError as error:
            self.error = error
        except OSError as error:
            self.error = FailedError(
                "spool_failed",
                f"cannot hand WAL over through {self._spool}: {error.strerror}",
                hint="is the disk full?",
            )
        finally:
            (self._spool / "closed").touch()

    def _wishes(self) -> list[str]:
        asked = sorted(entry.name for entry in (self._spool / "want").iterdir())
        return [
            name
            for name in asked
            if not (self._spool / "ready" / name).exists()
            and not (self._spool / "none" / name).exists()
        ]

    def _answer(self, name: str) -> str | None:
        """Put the file there, or say that there is none. The name, where it is a segment."""
        history = _HISTORY.match(name)
        if history:
            self._put(name, self._source.history(int(history.group(1), 16)))
            return None
        if not _SEGMENT.match(name):
            self._put(name, None)
            return None
        self._put(name, self._source.segment(name))
        return name

    def _read_ahead(self, last: str) -> str | None:
        """One more segment, where fewer than the bound wait; None when there are no more."""
        ready = sorted(entry.name for entry in (self._spool / "ready").iterdir())
        if len(ready) >= self._ahead:
            return last
        following = self._next(max([last, *ready]))
        content = self._source.segment(following)
        if content is None:
            return None  # the end of what is known; a later wish starts again
        self._put(following, content)
        return following

    def _next(self, name: str) -> str:
        number = int(name[8:16], 16) * self._per_id + int(name[16:24], 16) + 1
        return f"{name[:8]}{number // self._per_id:08X}{number % self._per_id:08X}"

    def _put(self, name: str, content: bytes | None) -> None:
        if content is None:
            (self._spool / "none" / name).touch()
            return
        unfinished = self._spool / f"{name}.part"
        unfinished.write_bytes(content)
        unfinished.rename(self._spool / "ready" / name)
        if _SEGMENT.match(name):
            self.segments += 1
            self.bytes += len(content)
