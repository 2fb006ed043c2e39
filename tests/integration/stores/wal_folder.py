"""A WAL receiver that keeps segment files in a folder; as a program it can be killed.

Run as ``python -m tests.integration.stores.wal_folder FOLDER HOST PORT USER SLOT``.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from aeterna_cli.settings import PostgresSettings
from aeterna_cli.stores.postgres import PostgresServer

SEGMENT = 1 << 20
_FLUSH = 96 << 10  # an odd size: flushes fall everywhere in a segment


class WalFolder:
    """A ``WalSink``: ``flushed`` is what a file says that is written after the WAL was synced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.timeline = 0
        self.position = self.flushed = 0
        self.begun: list[tuple[int, int]] = []
        self.lazy = False  # true: nothing is ever flushed
        self._dirty: set[Path] = set()

    def resume(self) -> tuple[int, int] | None:
        """The timeline and position that an earlier receiver flushed."""
        state = self.folder / "flushed"
        if not state.exists():
            return None
        timeline, position = state.read_text().split()
        return int(timeline), int(position)

    def begin(self, timeline: int, start: int) -> None:
        self.flush()
        self.timeline, self.position, self.flushed = timeline, start, start
        self.begun.append((timeline, start))

    def write(self, start: int, data: memoryview) -> None:
        assert start == self.position, f"{start:X} came instead of {self.position:X}"
        while data:
            room = SEGMENT - self.position % SEGMENT
            path = self.folder / f"{self.timeline:08X}{self.position >> 32:08X}{self._number:08X}"
            with path.open("r+b" if path.exists() else "wb") as file:
                file.seek(self.position % SEGMENT)
                self.position += file.write(data[:room])
            self._dirty.add(path)
            data = data[room:]
        if self.position - self.flushed >= _FLUSH:
            self.flush()

    @property
    def _number(self) -> int:
        return (self.position & 0xFFFFFFFF) // SEGMENT

    def tick(self) -> None:
        self.flush()

    def flush(self) -> None:
        if self.lazy or not self._dirty:
            return
        for path in self._dirty:
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        self._dirty.clear()
        fresh = self.folder / "flushed.new"
        fresh.write_text(f"{self.timeline} {self.position}")
        fresh.rename(self.folder / "flushed")
        self.flushed = self.position

    def history(self, timeline: int, filename: str, content: bytes) -> None:
        assert filename == f"{timeline:08X}.history"
        (self.folder / filename).write_bytes(content)

    def segments(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in self.folder.iterdir() if len(p.name) == 24}


class Receiver:
    """``stream_wal`` in a thread; leaving the block ends it and raises what it raised."""

    def __init__(self, server: PostgresServer, sink: WalFolder, **asked: Any) -> None:
        self.sink = sink
        self.error: BaseException | None = None
        self.started = threading.Event()
        self.begin: tuple[int, int] = (0, 0)
        self._left = threading.Event()
        values = {"start": None, "timeline": None, "slot": None, **asked}
        self._ask: Callable[[], None] = partial(
            server.stream_wal, sink, until=self._left.is_set, on_start=self._on_start, **values
        )
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _on_start(self, timeline: int, position: int) -> None:
        self.begin = timeline, position
        self.started.set()

    def _run(self) -> None:
        try:
            self._ask()
        except BaseException as error:  # noqa: BLE001 - raised again by the one who asks
            self.error = error
        self.started.set()

    def leave(self) -> None:
        self._left.set()
        self.thread.join(20)
        assert not self.thread.is_alive(), "the stream did not end"

    def check(self) -> None:
        if self.error is not None:
            raise self.error


@contextmanager
def receiving(server: PostgresServer, sink: WalFolder, **asked: Any) -> Iterator[Receiver]:
    receiver = Receiver(server, sink, **asked)
    receiver.thread.start()
    try:
        assert receiver.started.wait(20)
        receiver.check()
        yield receiver
    finally:
        receiver.leave()
    receiver.check()


def main(folder: str, host: str, port: str, user: str, slot: str) -> None:
    server = PostgresServer(PostgresSettings(host=host, port=int(port), user=user))
    sink = WalFolder(Path(folder))
    timeline, start = sink.resume() or (None, None)
    server.stream_wal(sink, start=start, timeline=timeline, slot=slot, until=lambda: False)


if __name__ == "__main__":
    main(*sys.argv[1:])
