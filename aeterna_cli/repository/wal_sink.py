"""Takes streamed WAL and stores it as chunks; ``flushed`` only counts what the repository has."""

from collections.abc import Callable
from time import monotonic

from aeterna_cli.errors import ConflictError, RemoteError
from aeterna_cli.repository.wal_archive import chunk_key, history_key
from aeterna_cli.stores.base.objects import ObjectStore

MAX_CHUNK = 4 << 20  # bytes of WAL in one chunk
MAX_AGE = 2.0  # seconds that received WAL may wait for its chunk to fill


class ChunkSink:
    """Stores the WAL of one timeline after another below ``folder``.

    ``seal`` turns plain bytes into the stored form (zstd, age). A chunk ends at ``MAX_CHUNK``, at a
    segment's border, or ``MAX_AGE`` seconds after its first byte (``tick`` must be called for that
    to happen on a quiet server). Nothing is counted as flushed before the repository has it; a
    fault of the repository leaves ``flushed`` where it was and is raised.
    """

    def __init__(
        self,
        store: ObjectStore,
        folder: str,
        *,
        segment_size: int,
        seal: Callable[[bytes], bytes],
        on_chunk: Callable[[str, int, int, bytes], None] | None = None,
    ) -> None:
        self._store = store
        self._folder = folder
        self._segment_size = segment_size
        self._seal = seal
        self._on_chunk = on_chunk
        self._timeline = 0
        self._start = 0
        self._pending = bytearray()
        self._since = 0.0
        self.flushed = 0
        self.received = 0  # bytes of WAL taken since this sink was made
        self.stored = 0  # bytes written to the repository

    @property
    def timeline(self) -> int:
        return self._timeline

    @property
    def position(self) -> int:
        """The end of what was received; what lies between ``flushed`` and here is still ours."""
        return self._start + len(self._pending)

    def begin(self, timeline: int, start: int) -> None:
        """A stream of ``timeline`` begins at ``start``; what was pending before is stored first."""
        self.flush()
        self._timeline, self._start, self.flushed = timeline, start, start

    def write(self, start: int, data: memoryview) -> None:
        """The next bytes, at LSN ``start``. A hole or a step back is a fault of the server."""
        if start != self._start + len(self._pending):
            raise RemoteError(
                "wal_out_of_order",
                f"WAL arrived at {start:X}, expected {self._start + len(self._pending):X}",
            )
        self.received += len(data)
        while data:
            position = self._start + len(self._pending)
            border = position - position % self._segment_size + self._segment_size
            room = min(MAX_CHUNK - len(self._pending), border - position)
            if not self._pending:
                self._since = monotonic()
            taken, data = data[:room], data[room:]
            self._pending += taken
            if len(self._pending) >= MAX_CHUNK or position + len(taken) >= border:
                self.flush()

    def tick(self) -> None:
        """Store what has waited long enough. To be called at least once a second."""
        if self._pending and monotonic() - self._since >= MAX_AGE:
            self.flush()

    def flush(self) -> None:
        """Everything received is in the repository when this returns."""
        if not self._pending:
            return
        plain = bytes(self._pending)
        end = self._start + len(plain)
        key = chunk_key(self._folder, self._timeline, self._start, end, self._segment_size)
        sealed = self._seal(plain)
        try:
            self._store.create(key, sealed)
        except ConflictError as error:
            # The same range of the same timeline was stored before a crash: the same bytes.
            if error.code != "object_exists":
                raise
            sealed = self._store.read(key)
        if self._on_chunk is not None:
            self._on_chunk(key, self._start, end, sealed)
        self.stored += len(sealed)
        self._pending.clear()
        self._start = self.flushed = end

    def history(self, timeline: int, _filename: str, content: bytes) -> None:
        """Store a timeline's history file, once."""
        key = history_key(self._folder, timeline)
        sealed = self._seal(content)
        try:
            self._store.create(key, sealed)
        except ConflictError as error:
            if error.code != "object_exists":
                raise
            sealed = self._store.read(key)
        if self._on_chunk is not None:
            self._on_chunk(key, 0, 0, sealed)
