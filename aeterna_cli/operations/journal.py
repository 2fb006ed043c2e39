"""The journal of one operation: what was meant before it was done, and what came of it.

Records are ``operations/<id>/<6 digits>.json``, each with the SHA-256 of the one before. A record
is written to the local state folder with fsync first, then to the repository, both create-only:
whoever loses the race for a number learns that somebody else goes on with this operation. While the
repository is away a ``break_glass`` reason lets the local journal go on; it is uploaded later.
"""

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aeterna_cli.errors import AeternaError, ConflictError, FailedError, RefusedError
from aeterna_cli.operations.identifiers import is_uuid7
from aeterna_cli.operations.kill_points import kill_point
from aeterna_cli.operations.records import (
    ENDED,
    FOLDER,
    NOTHING_BEFORE,
    Record,
    as_bytes,
    chained,
    damaged,
    digest,
    local_records,
    parsed,
    record_key,
    remote_records,
    state_of,
    taken_over,
)
from aeterna_cli.stores.base.objects import ObjectStore

__all__ = [
    "ENDED",
    "Journal",
    "OperationSummary",
    "Record",
    "list_operations",
    "record_key",
    "state_of",
    "upload_pending",
]

_UNSENT = "unsent"  # a file beside records that the repository does not have yet


class Journal:
    """Appends to one operation's journal. Not for two threads.

    ``records`` are those that are known; ``pending`` counts those that only lie here.
    """

    def __init__(
        self,
        store: ObjectStore | None,
        state_directory: Path,
        operation: str,
        *,
        clock: Callable[[], datetime],
        break_glass: str = "",
    ) -> None:
        if not is_uuid7(operation):
            raise RefusedError("operation_unknown", f"{operation!r} is not an operation id")
        self.operation = operation
        self.records: list[Record] = []
        self._store = store
        self._folder = state_directory / FOLDER / operation
        self._clock = clock
        self._break_glass = break_glass
        self._head = NOTHING_BEFORE
        self._unsent: list[tuple[int, bytes]] = []
        self._taken_over: ConflictError | None = None

    @property
    def pending(self) -> int:
        return len(self._unsent)

    def append(self, kind: str, data: Mapping[str, Any]) -> Record:
        """The record is on this disk and in the repository when this returns.

        ``FailedError('journal_not_written')`` where this disk does not take it: it does not exist.
        ``ConflictError('operation_taken_over')`` where somebody else wrote this number: from then
        on nothing is appended. Any other error of the repository is raised as it is, unless the
        glass is broken: the record lies here and is sent before the next one.
        """
        if self._taken_over is not None:
            raise self._taken_over
        sequence = len(self.records)
        record = Record(sequence, self._clock().astimezone(UTC), kind, data, self._head)
        content = as_bytes(self.operation, record)
        kill_point(f"journal:{sequence}:before")
        self._write_local(sequence, content)
        self._known(record, content)
        self._unsent.append((sequence, content))
        self._send()
        kill_point(f"journal:{sequence}:after")
        return record

    def load(self) -> None:
        """Everything that is known of this operation, here and in the repository, verified.

        Records that only lie here are uploaded. ``RefusedError('operation_unknown')``;
        ``RemoteError('journal_damaged')`` names the record that does not belong;
        ``ConflictError('operation_taken_over')`` where both places have a good one that differs.
        """
        here, there = self._local(), self._remote()
        total = len(here.keys() | there.keys())
        if not total:
            raise RefusedError(
                "operation_unknown",
                f"there is no operation {self.operation}",
                next_steps=["aeterna-cli operation list"],
            )
        for sequence in range(total):
            content = self._agreed(sequence, here.get(sequence), there.get(sequence))
            if sequence not in here:
                self._write_local(sequence, content, copy=True)
            if sequence not in there:
                self._unsent.append((sequence, content))
        self._send()

    def _agreed(self, sequence: int, here: bytes | None, there: bytes | None) -> bytes:
        """The record of this number, known from now on."""
        found: bytes | None = None
        if there is not None:
            record = parsed(self.operation, sequence, there, self._head, "repository")
            found = there
        if here is not None and here != there:
            record = parsed(self.operation, sequence, here, self._head, "state folder")
            if there is not None:
                raise taken_over(self.operation, sequence)
            found = here
        if found is None:
            raise damaged(self.operation, sequence, "is missing", "repository")
        self._known(record, found)
        return found

    def _known(self, record: Record, content: bytes) -> None:
        self.records.append(record)
        self._head = digest(content)

    def _local(self) -> dict[int, bytes]:
        try:
            return local_records(self._folder)
        except OSError as error:
            raise FailedError(
                "journal_not_readable",
                f"cannot read the journal below {self._folder}: {error.strerror}",
            ) from error

    def _remote(self) -> dict[int, bytes]:
        if self._store is None:
            return {}
        try:
            return dict(remote_records(self._store, self.operation))
        except AeternaError as error:
            if not self._break_glass:
                raise _wants_glass(error) from error
            return {}

    def _write_local(self, sequence: int, content: bytes, *, copy: bool = False) -> None:
        path = self._folder / f"{sequence:06d}.json"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            number, fresh = tempfile.mkstemp(dir=self._folder, prefix=".")
            try:
                with os.fdopen(number, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                path.hardlink_to(fresh)
            finally:
                Path(fresh).unlink()
            _sync(self._folder)
        except FileExistsError as error:
            # The process at work may have written the record that we were about to copy.
            if not (copy and path.read_bytes() == content):
                raise self._lost(sequence) from error
        except OSError as error:
            raise FailedError(
                "journal_not_written",
                f"cannot write the journal below {self._folder}: {error.strerror}",
                hint="nothing is done that cannot be written down first",
            ) from error

    def _send(self) -> None:
        """Everything that the repository does not have, in order."""
        while self._store is not None and self._unsent:
            sequence, content = self._unsent[0]
            try:
                same = _create_or_same(self._store, record_key(self.operation, sequence), content)
            except AeternaError as error:
                self._mark_unsent()
                if self._break_glass:
                    return
                raise _wants_glass(error) from error
            if not same:
                if len(self._unsent) == 1:  # nothing was done on its strength yet
                    (self._folder / f"{sequence:06d}.json").unlink(missing_ok=True)
                raise self._lost(sequence)
            self._unsent.pop(0)
        if not self._unsent:
            (self._folder / _UNSENT).unlink(missing_ok=True)

    def _mark_unsent(self) -> None:
        try:
            (self._folder / _UNSENT).touch(mode=0o600)
        except OSError as error:
            raise FailedError(
                "journal_not_written", f"cannot write below {self._folder}: {error.strerror}"
            ) from error

    def _lost(self, sequence: int) -> ConflictError:
        self._taken_over = taken_over(self.operation, sequence)
        return self._taken_over


@dataclass(frozen=True)
class OperationSummary:
    """One operation in a list. ``state`` is its last record's meaning: running or interrupted where
    it neither ended nor failed."""

    operation: str
    kind: str
    summary: str
    target: str
    actor: str
    started: datetime
    changed: datetime
    state: str
    restartable: bool
    local_only: bool


def list_operations(store: ObjectStore | None, state_directory: Path) -> list[OperationSummary]:
    """Every operation that this machine or the repository knows, oldest first.

    ``RemoteError('journal_damaged')`` where one is damaged.
    """
    here = state_directory / FOLDER
    local = {entry.name for entry in here.iterdir()} if here.is_dir() else set()
    remote = set(store.list_folders(f"{FOLDER}/")) if store is not None else set()
    found = []
    for operation in sorted(name for name in local | remote if is_uuid7(name)):
        there = dict(remote_records(store, operation)) if store and operation in remote else {}
        contents = {**local_records(here / operation), **there}
        if contents:  # a process that died before its first record leaves an empty folder
            found.append(_summary(operation, chained(operation, contents), not there))
    return found


def upload_pending(
    store: ObjectStore, state_directory: Path, *, clock: Callable[[], datetime]
) -> int:
    """Put into the repository what was only written here; of how many operations.

    The first error ends it: those of ``Journal.load`` and of the repository.
    """
    here = state_directory / FOLDER
    waiting = sorted(here.glob(f"*/{_UNSENT}"))
    for mark in waiting:
        Journal(store, state_directory, mark.parent.name, clock=clock).load()
    return len(waiting)


def _summary(operation: str, records: list[Record], only_here: bool) -> OperationSummary:
    first = records[0].data
    plan = first.get("plan", {})
    return OperationSummary(
        operation,
        plan.get("kind", ""),
        plan.get("summary", ""),
        plan.get("target", ""),
        first.get("actor", ""),
        records[0].time,
        records[-1].time,
        state_of(records),
        bool(plan.get("restartable", True)),
        only_here,
    )


def _create_or_same(store: ObjectStore, key: str, content: bytes) -> bool:
    """Whether the repository has exactly this; also where an earlier try got through unnoticed."""
    try:
        store.create(key, content)
    except ConflictError:
        return store.read(key) == content
    return True


def _wants_glass(error: AeternaError) -> AeternaError:
    way = "without the repository the journal can go on locally: --break-glass REASON"
    return type(error)(
        error.code,
        error.message,
        hint=f"{error.hint}; {way}" if error.hint else way,
        next_steps=error.next_steps,
        details=error.details,
    )


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
