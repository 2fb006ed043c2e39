"""A hold on one tenant's writes, and where its points are: two small files that hooks change.

The writers of the ``none`` contract pass the gate for each write: they take the gate file's shared
lock and look for the hold file while they have it. ``hold`` makes the hold file and then takes the
lock for itself: when it returns, every write that had begun is over and none begins. Locks die with
their process, so a killed writer or hook never leaves the gate shut for good; the hold file stays
until ``release``. The place lies in a file of its own that is replaced as a whole.
"""

import fcntl
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from aeterna_cli.errors import RefusedError, UsageError
from aeterna_cli.stores.base.placement import PointsPlace

#: How often a writer looks whether a hold is over, in seconds.
LOOK_SECONDS = 0.002


class Stopped(Exception):
    """The workload was stopped while a writer waited; no error of anybody."""


class Gate:
    """The gate of one tenant in a folder, which exists. ``index`` names its files."""

    def __init__(self, folder: Path, index: int) -> None:
        self._lock = folder / f"tenant-{index}.gate"
        self._hold = folder / f"tenant-{index}.hold"
        self._place = folder / f"tenant-{index}.place"
        self._threads = threading.local()
        self._descriptors: list[int] = []

    # The hooks' side

    def hold(self) -> None:
        """When this returns no write of this tenant is under way and none begins."""
        self._hold.touch()
        with self._lock.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)

    def release(self) -> None:
        self._hold.unlink(missing_ok=True)

    def switch(self, place: PointsPlace) -> None:
        """Reads and writes that begin after this go to the place."""
        fresh = self._place.with_suffix(".place.new")
        fresh.write_text(json.dumps(asdict(place)), encoding="utf-8")
        fresh.replace(self._place)

    # The application's side

    def place(self) -> PointsPlace:
        """``RefusedError('workload_without_place')`` where none was ever set."""
        try:
            return PointsPlace(**json.loads(self._place.read_text(encoding="utf-8")))
        except OSError as error:
            raise RefusedError(
                "workload_without_place", f"{self._place} does not say where the points are"
            ) from error
        except (ValueError, TypeError) as error:
            raise UsageError(
                "workload_place_unreadable", f"{self._place} is not a place: {error}"
            ) from error

    @contextmanager
    def passed(self, stop: threading.Event, *, obey: bool) -> Iterator[None]:
        """One write goes through; waits while the gate is held, if it obeys. ``Stopped``."""
        if not obey:
            yield
            return
        descriptor = self._descriptor()
        while True:
            while self._hold.exists():
                if stop.wait(LOOK_SECONDS):
                    raise Stopped
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            if not self._hold.exists():
                break
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _descriptor(self) -> int:
        """Each thread has a file description of its own: a lock belongs to that."""
        if not hasattr(self._threads, "descriptor"):
            opened = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._threads.descriptor = opened
            self._descriptors.append(opened)
        descriptor: int = self._threads.descriptor
        return descriptor

    def close(self) -> None:
        """After the last thread."""
        while self._descriptors:
            os.close(self._descriptors.pop())
