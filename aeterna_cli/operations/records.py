"""Journal records as bytes and back, where they lie, and what is wrong with them."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from aeterna_cli.errors import ConflictError, RemoteError
from aeterna_cli.stores.base.objects import ObjectStore

FOLDER = "operations"
NOTHING_BEFORE = "0" * 64
ENDED = frozenset({"finished", "abandoned"})
Where = Literal["repository", "state folder"]
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


def state_of(records: Sequence[Record]) -> str:
    """finished, abandoned, failed, interrupted, or running (as a dead process looks, too)."""
    last = records[-1].kind
    return last if last in ENDED or last in ("failed", "interrupted") else "running"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def as_bytes(operation: str, record: Record) -> bytes:
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


def parsed(operation: str, sequence: int, content: bytes, head: str, where: Where) -> Record:
    """The record; ``RemoteError('journal_damaged')`` where it does not follow ``head``."""
    try:
        document = json.loads(content)
        record = Record(
            document["sequence"],
            datetime.fromisoformat(document["time"]),
            document["kind"],
            dict(document["data"]),
            document["previous"],
        )
        belongs = document["operation"] == operation and document["schema"] == _SCHEMA
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(operation, sequence, "is not a journal record", where) from error
    if not belongs or record.sequence != sequence or record.previous != head:
        raise damaged(operation, sequence, "does not follow the record before it", where)
    return record


def chained(
    operation: str, contents: Mapping[int, bytes], where: Where = "repository"
) -> list[Record]:
    """All records in their order, each verified against the one before."""
    head, records = NOTHING_BEFORE, []
    for sequence in range(len(contents)):
        if sequence not in contents:
            raise damaged(operation, sequence, "is missing", where)
        records.append(parsed(operation, sequence, contents[sequence], head, where))
        head = digest(contents[sequence])
    return records


def remote_records(store: ObjectStore, operation: str) -> Iterator[tuple[int, bytes]]:
    for item in store.list(f"{FOLDER}/{operation}/"):
        match = _NAME.match(item.key.rpartition("/")[2])
        if match:
            yield int(match.group(1)), store.read(item.key)


def local_records(folder: Path) -> dict[int, bytes]:
    if not folder.is_dir():
        return {}
    matches = ((_NAME.match(path.name), path) for path in folder.iterdir())
    return {int(match.group(1)): path.read_bytes() for match, path in matches if match}


def damaged(operation: str, sequence: int, what: str, where: Where) -> RemoteError:
    key = record_key(operation, sequence)
    return RemoteError(
        "journal_damaged",
        f"{key} {what} (in the {where})",
        hint="it was changed by something else; do not resume this operation",
        operation=operation,
        details={"key": key, "where": where},
    )


def taken_over(operation: str, sequence: int) -> ConflictError:
    return ConflictError(
        "operation_taken_over",
        f"another process goes on with operation {operation} (record {sequence})",
        hint="leave it to that one",
        operation=operation,
        next_steps=[f"aeterna-cli operation show {operation}"],
    )
