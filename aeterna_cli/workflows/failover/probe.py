"""Numbered writes to a store while it is switched: how long nothing was acknowledged, what is lost.

Each write goes the way an application's does (every host of the profile, the Sentinels) and
replaces the one before in a row and a key of our own. What is measured has the probe's own pace in
it: a gap of less than a write's usual length is none.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from time import monotonic
from typing import Protocol

from aeterna_cli.deployment import Deployment
from aeterna_cli.errors import AeternaError
from aeterna_cli.workflows.failover.component import ComponentName

PACE = 0.05  # seconds between two writes


class Marked(Protocol):
    """A store's row, key or point of our own with the highest number written."""

    def write_marker(self, number: int) -> None: ...
    def marker(self) -> int | None: ...


@dataclass(frozen=True)
class Gap:
    """``seconds`` is the longest time between two acknowledged writes, ``lost`` how many numbers
    were acknowledged beyond the one that was read back afterwards."""

    acknowledged: int
    refused: int
    seconds: float
    lost: int
    last_error: str


class WriteProbe:
    """Writes from its own thread between ``start`` and ``stop``; a refused write is tried again
    with the next number."""

    def __init__(self, store: Marked, pace: float = PACE) -> None:
        self._store = store
        self._pace = pace
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="write-probe", daemon=True)
        self._number = 0
        self._acknowledged: list[float] = []
        self._highest = 0
        self._refused = 0
        self._error = ""

    def start(self) -> None:
        """The first write is acknowledged when this returns; errors as of the store."""
        self._number = (self._store.marker() or 0) + 1
        self._store.write_marker(self._number)
        self._noted()
        self._thread.start()

    def stop(self) -> Gap:
        """One write more was acknowledged after the last gap; errors as of the store."""
        self._stop.set()
        self._thread.join()
        found = self._store.marker() or 0
        lost = max(0, self._highest - found)
        self._number += 1
        self._store.write_marker(self._number)
        self._noted()
        times = self._acknowledged
        longest = max((later - earlier for earlier, later in pairwise(times)), default=0.0)
        return Gap(len(times), self._refused, round(longest, 3), lost, self._error)

    def abandon(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._pace):
            self._number += 1
            try:
                self._store.write_marker(self._number)
            except AeternaError as error:
                self._refused += 1
                self._error = error.message
                continue
            self._noted()

    def _noted(self) -> None:
        self._acknowledged.append(monotonic())
        self._highest = self._number


def store_of(place: Deployment, name: ComponentName) -> tuple[Marked, Callable[[], None]] | None:
    """The store as an application would reach it, with short patience, and what closes it; None
    where the component proves itself (Qdrant)."""
    if name == "postgres":
        from aeterna_cli.stores.postgres import PostgresServer

        settings = place.profile.postgres.model_copy(
            update={"connect_timeout": 2, "statement_timeout": 5}
        )
        server = PostgresServer(settings)
        server.ensure_schema()
        return server, lambda: None
    if name == "redis":
        from aeterna_cli.stores.redis import RedisServer

        redis = RedisServer(place.profile.redis.model_copy(update={"timeout": 1}))
        return redis, redis.close
    return None
