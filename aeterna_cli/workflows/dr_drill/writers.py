"""The numbered writers of a drill: one thread per store, through the application's way in."""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from aeterna_cli.errors import AeternaError
from aeterna_cli.settings import Profile
from aeterna_cli.stores.base.drill import DrillMarkers, NotSentError
from aeterna_cli.workflows.dr_drill.marker_log import MarkerLog, log_name
from aeterna_cli.workflows.dr_drill.scenario import StoreName, Writers

_AGAIN = 0.1  # seconds after a failed attempt


def open_markers(profile: Profile, store: StoreName, drill: str, timeout: float) -> DrillMarkers:
    """A connection of its own to one store; nothing is contacted yet."""
    if store == "postgres":
        from aeterna_cli.stores.drill_postgres import PostgresMarkers

        return PostgresMarkers(profile.postgres, drill, timeout)
    if store == "redis":
        from aeterna_cli.stores.drill_redis import RedisMarkers

        return RedisMarkers(profile.redis, drill, timeout)
    from aeterna_cli.stores.drill_qdrant import QdrantMarkers

    return QdrantMarkers(profile.qdrant, drill, timeout)


class Writer:
    """Writes markers at a rate until stopped. A number is used once: whether a failed attempt was
    written can then be told apart from one that was tried again."""

    def __init__(self, markers: DrillMarkers, path: Path, rate: float) -> None:
        self.acknowledged = 0
        self.attempts = 0
        self.last_code = ""
        self.broken: BaseException | None = None
        self._markers = markers
        self._path = path
        self._interval = 1 / rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drill-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, wait: float) -> None:
        """No attempt begins any more; the one at hand ends within ``wait`` seconds."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(wait)
        self._markers.close()

    def _run(self) -> None:
        try:
            with MarkerLog(self._path) as log:
                self._write(log)
        except BaseException as error:  # noqa: BLE001 - told by Writers.check: a silent writer lies
            self.broken = error

    def _write(self, log: MarkerLog) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self.attempts += 1
            number, pause = self.attempts, self._interval
            log.intent(number)
            try:
                written = self._markers.write(number)
            except NotSentError as error:
                log.refused(number, error.code)
                self.last_code, pause = error.code, max(pause, _AGAIN)
            except AeternaError as error:
                log.failed(number, error.code)
                self.last_code, pause = error.code, max(pause, _AGAIN)
            else:
                log.acknowledged(number, written.server)
                self.acknowledged += 1
            due = max(due + pause, time.monotonic())
            self._stop.wait(max(0.0, due - time.monotonic()))


class DrillWriters:
    """All writers of a drill. ``stop`` may be repeated."""

    def __init__(self, profile: Profile, drill: str, asked: Writers, folder: Path) -> None:
        self.asked = asked
        self._profile = profile
        self._drill = drill
        self._folder = folder
        self._writers: dict[StoreName, Writer] = {}

    def start(self) -> None:
        """What markers lie in is there, and every store's writer runs. Errors of the stores."""
        for store in self.asked.stores:
            self._prepare(store)
        for store in self.asked.stores:
            markers = open_markers(self._profile, store, self._drill, self.asked.timeout)
            path = self._folder / log_name(store)
            self._writers[store] = Writer(markers, path, self.asked.rate)
            self._writers[store].start()

    def _prepare(self, store: StoreName) -> None:
        markers = open_markers(self._profile, store, self._drill, 10)
        try:
            markers.prepare()
        finally:
            markers.close()

    @property
    def warm(self) -> bool:
        """Every store has acknowledged as many as the scenario wants before anything is broken."""
        return all(one.acknowledged >= self.asked.warm_up for one in self._writers.values())

    def check(self) -> None:
        """Raises what ended a writer: it measures nothing any more."""
        for one in self._writers.values():
            if one.broken is not None:
                raise one.broken

    def counts(self) -> Mapping[StoreName, int]:
        return {store: one.acknowledged for store, one in self._writers.items()}

    def words(self) -> str:
        """Where each is, for whoever waits."""
        return ", ".join(
            f"{store} {one.acknowledged} acknowledged"
            + (f" ({one.last_code})" if one.last_code else "")
            for store, one in self._writers.items()
        )

    def stop(self) -> None:
        for one in self._writers.values():
            one.stop(self.asked.timeout + 5)

    def read(self) -> dict[StoreName, set[int]]:
        """Every marker that is in the stores now. Errors of the stores."""
        found: dict[StoreName, set[int]] = {}
        for store in self.asked.stores:
            markers = open_markers(self._profile, store, self._drill, 30)
            try:
                found[store] = markers.read()
            finally:
                markers.close()
        return found

    def clear(self) -> list[str]:
        """The markers are gone from every store that answers; the others, in words."""
        left = []
        for store in self.asked.stores:
            markers = open_markers(self._profile, store, self._drill, 30)
            try:
                markers.clear()
            except AeternaError as error:
                left.append(f"{store}: {error.message}")
            finally:
                with suppress(AeternaError):
                    markers.close()
        return left
