"""Every stored object of one backup against its manifest, and every volume opened with its key."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from aeterna_cli.errors import RefusedError, RemoteError
from aeterna_cli.repository import layout
from aeterna_cli.repository.wal_archive import (
    Chunk,
    covered,
    covers,
    history_key,
    list_chunks,
    lsn_number,
    lsn_text,
    timelines,
)
from aeterna_cli.stores.base.findings import Finding
from aeterna_cli.stores.base.objects import ObjectStore
from aeterna_cli.workflows.backup.running import own_wal_folder
from aeterna_cli.workflows.backup.verify_keys import (
    MEND,
    UNREADABLE,
    KeyCheck,
    slot_number,
    unreadable,
)

if TYPE_CHECKING:
    from aeterna_cli.repository.volume import VolumeRecord
    from aeterna_cli.workflows.restore.opened import OpenedBackup

WORKERS = 4  # volumes at once: each is a download, a hash, and an age process
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Checked:
    """What was looked at, in how many ``seconds``. ``opened`` is False where no key was at hand:
    hashed only. ``stored_bytes`` and ``objects`` are what the manifest names."""

    opened: bool
    volumes: int
    objects: int
    wal_chunks: int
    slots: int
    stored_bytes: int
    seconds: float
    findings: tuple[Finding, ...]


class ObjectCheck:
    """Checks one backup. ``stop`` is asked between blocks and ends the check by raising;
    ``on_bytes`` gets the stored bytes read so far."""

    def __init__(
        self,
        opened: "OpenedBackup",
        *,
        offline: bool,
        stop: Callable[[], None],
        on_bytes: Callable[[int], None],
    ) -> None:
        self._opened = opened
        self._offline = offline
        self._stop = stop
        self._ended = threading.Event()
        self._store = cast(ObjectStore, _Watched(opened.place.objects, self._safe_point, on_bytes))
        self._folder = layout.backup_folder(opened.id)
        self._identity: str | None = None

    def run(self) -> Checked:
        """All findings, those of the keys first. Faults of the repository itself are raised."""
        began, manifest = monotonic(), self._opened.manifest
        keys = KeyCheck(self._opened, self._store, offline=self._offline)
        found = keys.run()
        self._identity = keys.identity
        found += self._marker() if manifest.scope is None else []
        volumes = sorted(manifest.volumes(), key=lambda one: -one.stored_bytes)
        chunks = self._own_wal()
        tasks: list[Callable[[], list[Finding]]] = [
            *(lambda one=one: self._volume(one) for one in volumes),
            *(lambda one=one: self._chunk(one) for one in chunks),
        ]
        found += self._all(tasks)
        found += self._unbroken(chunks)
        found += self._unexpected(volumes, chunks)
        parts = [part for volume in volumes for part in volume.parts]
        return Checked(
            opened=self._identity is not None,
            volumes=len(volumes),
            objects=len(parts) + len(chunks),
            wal_chunks=len(chunks),
            slots=keys.count,
            stored_bytes=sum(p.size for p in parts) + sum(c["size"] for c in chunks),
            seconds=round(monotonic() - began, 3),
            findings=tuple(found),
        )

    def _safe_point(self) -> None:
        if self._ended.is_set():
            raise RemoteError("verify_ended", "another part of this check failed")
        self._stop()

    def _all(self, tasks: Sequence[Callable[[], list[Finding]]]) -> list[Finding]:
        """The findings of every task in the tasks' order; the first error ends all of them."""
        with ThreadPoolExecutor(WORKERS, "verify") as pool:
            running = [pool.submit(task) for task in tasks]
            try:
                for future in as_completed(running):
                    future.result()
            except BaseException:
                self._ended.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [finding for future in running for finding in future.result()]

    # -- objects

    def _marker(self) -> list[Finding]:
        key = layout.marker_key(self._opened.id)
        mend = "a restore does not need it: the manifest holds the same number"
        try:
            document = json.loads(self._store.read(key))
            number = document["marker"] if isinstance(document, dict) else None
        except RefusedError as error:
            if error.code != "object_missing":
                raise
            message = f"{key} is missing from the repository"
            return [Finding("object_missing", "error", key, message, mend)]
        except RemoteError as error:
            return [unreadable(error, key)]
        except (ValueError, KeyError):
            number = None
        wanted = self._opened.manifest.recovery_point.marker or 0
        if number == wanted:
            return []
        message = f"{key} does not say marker {wanted}, as the manifest does"
        return [Finding("object_damaged", "error", key, message, mend)]

    def _volume(self, record: "VolumeRecord") -> list[Finding]:
        """A volume opened to its end; every damaged part of it is named."""
        from aeterna_cli.repository.opening import open_volume

        self._safe_point()
        if self._identity is None:
            return self._bad_parts(record)
        try:
            with open_volume(self._store, record, self._identity) as stream:
                while stream.read(_BLOCK):
                    self._safe_point()
        except (RemoteError, RefusedError) as error:
            self._safe_point()
            if "key" not in error.details:
                raise
            parts = self._bad_parts(record)
            return parts or [_volume_damage(error, str(error.details["key"]))]
        return []

    def _bad_parts(self, record: "VolumeRecord") -> list[Finding]:
        """One by one: a part that cannot be read must not hide the next."""
        from aeterna_cli.repository.opening import verify_parts

        found: list[Finding] = []
        for part in record.parts:
            try:
                found += verify_parts(self._store, record.model_copy(update={"parts": (part,)}))
            except RemoteError as error:
                found.append(unreadable(error, part.key))
        return found

    # -- the backup's own WAL

    def _own_wal(self) -> list[dict[str, Any]]:
        part = self._opened.manifest.stores.get("postgres")
        return list(part.facts["wal"]) if part is not None else []

    def _chunk(self, chunk: dict[str, Any]) -> list[Finding]:
        """One chunk of WAL or history file: as listed, and what it says it is."""
        from aeterna_cli.repository.blobs import unseal

        self._safe_point()
        key, size = str(chunk["key"]), int(chunk["size"])
        try:
            sealed = self._at_most(key, size + 1)
        except RefusedError as error:
            if error.code != "object_missing":
                raise
            return [_damage("object_missing", key, "is missing from the repository")]
        except RemoteError as error:
            return [unreadable(error, key)]
        if len(sealed) < size:
            return [_damage("part_truncated", key, f"has {len(sealed)} bytes, not {size}")]
        if hashlib.sha256(sealed).hexdigest() != chunk["sha256"]:
            return [_damage("part_damaged", key, "does not hold the bytes that were stored")]
        if self._identity is None:
            return []
        try:
            plain = unseal(bytes(sealed), self._identity)
        except RemoteError:
            return [_damage("seal_broken", key, "is as it was stored, and does not open")]
        if chunk["end"] and len(plain) != chunk["end"] - chunk["start"]:
            what = f"holds {len(plain)} bytes of WAL, not what its name says"
            return [_damage("wal_chunk_damaged", key, what)]
        return []

    def _at_most(self, key: str, limit: int) -> bytearray:
        """The first ``limit`` bytes: a chunk that grew must not fill the memory."""
        data = bytearray()
        with self._store.reader(key) as source:
            while len(data) < limit and (block := source.read(limit - len(data))):
                data += block
        return data

    def _unbroken(self, listed: Sequence[dict[str, Any]]) -> list[Finding]:
        """From where the base backup starts to past the recovery point, without a hole."""
        part = self._opened.manifest.stores.get("postgres")
        if part is None:
            return []
        folder, facts = own_wal_folder(self._opened.id), part.facts
        chunks = [
            Chunk(int(timeline, 16), "", one["start"], one["end"], one["key"], one["size"])
            for one in listed
            if one["end"]
            for timeline in [str(one["key"]).removeprefix(f"{folder}/").partition("/")[0]]
        ]
        start = lsn_number(facts["start_lsn"])
        end = lsn_number(facts["restore_point_lsn"] or facts["end_lsn"])
        if covers(covered(chunks), facts["timeline"], start, end):
            return []
        message = (
            f"the backup's own WAL is not unbroken from {lsn_text(start)} to {lsn_text(end)}:"
            " PostgreSQL cannot be recovered to the recovery point from it"
        )
        return [Finding("wal_gap", "error", folder, message, "take a new backup")]

    def _unexpected(
        self, volumes: Sequence["VolumeRecord"], chunks: Sequence[dict[str, Any]]
    ) -> list[Finding]:
        """Objects that the backup did not write: a note, unless a recovery would read them."""
        backup, wal = self._opened.id, own_wal_folder(self._opened.id)
        known = {part.key for volume in volumes for part in volume.parts}
        known |= {str(chunk["key"]) for chunk in chunks}
        known |= {layout.manifest_key(backup), layout.signature_key(backup)}
        known.add(layout.marker_key(backup))
        read: set[str] = set()
        if "postgres" in self._opened.manifest.stores:
            read |= {chunk.key for chunk in list_chunks(self._store, wal)}
            read |= {history_key(wal, timeline) for timeline in timelines(self._store, wal)}
        found = []
        for key in [one.key for one in self._store.list(f"{self._folder}/")]:
            if key in known or slot_number(self._folder, key) is not None:
                continue
            harm = "; a recovery would read it and stop" if key in read else ""
            message = f"{key} is no part of this backup{harm}"
            mend = "find out who wrote it, then delete it"
            severity = "error" if harm else "info"
            found.append(Finding("object_unexpected", severity, key, message, mend))
        return found


def _damage(code: str, key: str, what: str) -> Finding:
    return Finding(code, "error", key, f"{key} {what}", MEND)


def _volume_damage(error: RemoteError | RefusedError, key: str) -> Finding:
    """Its parts are as stored, and do not open: the message need not name them."""
    message = error.message if key in error.message else f"{key}: {error.message}"
    return Finding(error.code, "error", key, message, error.hint, error.details)


@contextmanager
def _named(key: str) -> Iterator[None]:
    """A disk that cannot read one object says so of that object; the others are looked at."""
    try:
        yield
    except RemoteError as error:
        if error.code != "repository_io":
            raise
        message = f"{key} cannot be read: {error.message}"
        raise RemoteError(UNREADABLE, message, details={"key": key}) from error


class _Watched:
    """The reading half of an object store, asked to stop between blocks, and counted."""

    def __init__(
        self, store: ObjectStore, stop: Callable[[], None], on_bytes: Callable[[int], None]
    ) -> None:
        self._store = store
        self._stop = stop
        self._on_bytes = on_bytes
        self._mutex = threading.Lock()
        self._total = 0
        self.list = store.list

    def read(self, key: str) -> bytes:
        with _named(key):
            return self._store.read(key)

    @contextmanager
    def reader(self, key: str) -> Iterator["_WatchedStream"]:
        with _named(key), self._store.reader(key) as source:
            yield _WatchedStream(source, self._seen)

    def _seen(self, count: int) -> None:
        self._stop()
        with self._mutex:
            self._total += count
            self._on_bytes(self._total)


class _WatchedStream:
    def __init__(self, source: BinaryIO, seen: Callable[[int], None]) -> None:
        self._source = source
        self._seen = seen

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._seen(len(data))
        return data
