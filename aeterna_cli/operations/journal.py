"""The journal of one operation: what was meant before it was done, and what came of it.

Records are ``operations/<id>/<6 digits>.json``, each with the SHA-256 of the one before. A record
is written to the local state folder with fsync first, then to the repository, create-only: whoever
loses the race for a number learns that somebody else goes on with this operation. While the
repository is away a ``break_glass`` reason lets the local journal go on; it is uploaded later.
"""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aeterna_cli.errors import (
    AeternaError,
    ConflictError,
    FailedError,
    RefusedError,
    RemoteError,
    TransientError,
)
from aeterna_cli.operations.identifiers import is_uuid7
from aeterna_cli.operations.kill_points import kill_point
from aeterna_cli.stores.base.objects import ObjectStore

FOLDER = "operations"
NOTHING_BEFORE = "0" * 64
ENDED = frozenset({"finished", "abandoned"})
_SCHEMA = "aeterna.journal/1"
_NAME = re.compile(r"^([0-9]{6})\.json$")


@dataclass(frozen=True)
class Record:
    """One record. ``data`` is free JSON, by kind: started, intent, result, checkpoint, failed,
    interrupted, resumed, abandoned, finished."""

    sequence: int
    time: datetime
    kind: str
    data: Mapping[str, Any]
    previous: str


def record_key(operation: str, sequence: int) -> str:
    return f"{FOLDER}/{operation}/{sequence:06d}.json"


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
        self.pending = 0
        self._store = store
        self._folder = state_directory / FOLDER / operation
        self._clock = clock
        self._break_glass = break_glass
        self._head = NOTHING_BEFORE

    def append(self, kind: str, data: Mapping[str, Any]) -> Record:
        """The record is on this disk and in the repository when this returns.

        ``ConflictError('operation_taken_over')`` where the repository has another record of this
        number. ``TransientError`` where the repository is away, unless the glass is broken.
        """
        sequence = len(self.records)
        record = Record(sequence, self._clock().astimezone(UTC), kind, data, self._head)
        content = _as_bytes(self.operation, record)
        kill_point(f"journal:{sequence}:before")
        self._write_local(sequence, content)
        self._write_remote(sequence, content)
        self.records.append(record)
        self._head = hashlib.sha256(content).hexdigest()
        kill_point(f"journal:{sequence}:after")
        return record

    def load(self) -> None:
        """Everything that is known of this operation, here and in the repository, verified.

        Records that only lie here are uploaded. ``RefusedError('operation_unknown')``;
        ``RemoteError('journal_damaged')`` names the record that does not belong.
        """
        here = {number: path.read_bytes() for number, path in _local_files(self._folder)}
        there = self._remote()
        for number in sorted(here.keys() & there.keys()):
            if here[number] != there[number]:
                raise _taken_over(self.operation, number)
        contents = {**here, **there}
        if not contents:
            raise RefusedError(
                "operation_unknown",
                f"there is no operation {self.operation}",
                next_steps=["aeterna-cli operation list"],
            )
        for sequence in range(len(contents)):
            if sequence not in contents:
                raise _damaged(self.operation, sequence, "is missing")
            content = contents[sequence]
            self.records.append(_parsed(self.operation, sequence, content, self._head))
            self._head = hashlib.sha256(content).hexdigest()
            if sequence not in here:
                self._write_local(sequence, content)
            if sequence not in there:
                self._write_remote(sequence, content)

    def _remote(self) -> dict[int, bytes]:
        if self._store is None:
            return {}
        try:
            return dict(_remote_records(self._store, self.operation))
        except TransientError as error:
            if not self._break_glass:
                raise _wants_glass(error) from error
            return {}

    def _write_local(self, sequence: int, content: bytes) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._folder / f"{sequence:06d}.json"
            number, fresh = tempfile.mkstemp(dir=self._folder, prefix=".")
            with os.fdopen(number, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(fresh).replace(path)
            _sync(self._folder)
        except OSError as error:
            raise FailedError(
                "journal_not_written",
                f"cannot write the journal below {self._folder}: {error.strerror}",
                hint="nothing is done that cannot be written down first",
            ) from error

    def _write_remote(self, sequence: int, content: bytes) -> None:
        if self._store is None:
            self.pending += 1
            return
        key = record_key(self.operation, sequence)
        try:
            self._store.create(key, content)
        except ConflictError as error:
            if self._store.read(key) != content:
                raise _taken_over(self.operation, sequence) from error
        except TransientError as error:
            if not self._break_glass:
                raise _wants_glass(error) from error
            self.pending += 1


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
        contents = dict(_remote_records(store, operation)) if store and operation in remote else {}
        only_here = not contents
        contents |= {
            number: path.read_bytes()
            for number, path in _local_files(here / operation)
            if number not in contents
        }
        if contents:
            found.append(_summary(operation, contents, only_here))
    return found


def upload_pending(store: ObjectStore, state_directory: Path) -> int:
    """Put into the repository what was only written here; how many records.

    ``ConflictError('operation_taken_over')`` where the repository has another record.
    """
    here = state_directory / FOLDER
    uploaded = 0
    for folder in sorted(here.iterdir()) if here.is_dir() else ():
        if not is_uuid7(folder.name):
            continue
        there = {item.key for item in store.list(f"{FOLDER}/{folder.name}/")}
        for sequence, path in _local_files(folder):
            key = record_key(folder.name, sequence)
            if key in there:
                continue
            store.create(key, path.read_bytes())
            uploaded += 1
    return uploaded


def state_of(records: "list[Record]") -> str:
    """finished, abandoned, failed, interrupted, or running (as a dead process looks, too)."""
    last = records[-1].kind
    return last if last in ENDED or last in ("failed", "interrupted") else "running"


def _summary(operation: str, contents: Mapping[int, bytes], only_here: bool) -> OperationSummary:
    head, records = NOTHING_BEFORE, []
    for sequence in range(len(contents)):
        if sequence not in contents:
            raise _damaged(operation, sequence, "is missing")
        records.append(_parsed(operation, sequence, contents[sequence], head))
        head = hashlib.sha256(contents[sequence]).hexdigest()
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


def _remote_records(store: ObjectStore, operation: str) -> Iterator[tuple[int, bytes]]:
    for item in store.list(f"{FOLDER}/{operation}/"):
        match = _NAME.match(item.key.rpartition("/")[2])
        if match:
            yield int(match.group(1)), store.read(item.key)


def _local_files(folder: Path) -> list[tuple[int, Path]]:
    if not folder.is_dir():
        return []
    matches = ((_NAME.match(path.name), path) for path in folder.iterdir())
    return sorted((int(match.group(1)), path) for match, path in matches if match)


def _as_bytes(operation: str, record: Record) -> bytes:
    document = {
        "schema": _SCHEMA,
        "operation": operation,
        "sequence": record.sequence,
        "time": record.time.isoformat(timespec="milliseconds"),
        "kind": record.kind,
        "data": dict(record.data),
        "previous": record.previous,
    }
    return json.dumps(document, sort_keys=True, ensure_ascii=False).encode()


def _parsed(operation: str, sequence: int, content: bytes, head: str) -> Record:
    try:
        document = json.loads(content)
        record = Record(
            document["sequence"],
            datetime.fromisoformat(document["time"]),
            document["kind"],
            document["data"],
            document["previous"],
        )
        belongs = document["operation"] == operation and document["schema"] == _SCHEMA
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(operation, sequence, "is not a journal record") from error
    if not belongs or record.sequence != sequence or record.previous != head:
        raise _damaged(operation, sequence, "does not follow the record before it")
    return record


def _damaged(operation: str, sequence: int, what: str) -> RemoteError:
    key = record_key(operation, sequence)
    return RemoteError(
        "journal_damaged",
        f"{key} {what}",
        hint="it was changed by something else; do not resume this operation",
        operation=operation,
        details={"key": key},
    )


def _taken_over(operation: str, sequence: int) -> ConflictError:
    return ConflictError(
        "operation_taken_over",
        f"another process goes on with operation {operation} (record {sequence})",
        hint="leave it to that one",
        operation=operation,
        next_steps=[f"aeterna-cli operation show {operation}"],
    )


def _wants_glass(error: AeternaError) -> TransientError:
    return TransientError(
        error.code,
        error.message,
        hint="without the repository the journal can go on locally: --break-glass REASON",
        next_steps=error.next_steps,
        details=error.details,
    )


def _sync(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
