"""Results as JSON: dataclasses in, plain trees out, one envelope with a schema version."""

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any


def rfc3339(moment: datetime) -> str:
    """A moment with its offset. A naive one is a programming error."""
    if moment.tzinfo is None:
        raise ValueError("a time without an offset")
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def document(value: Any) -> Any:
    """The value as JSON-able data: dataclasses by field, times RFC 3339, durations in seconds."""
    match value:
        case datetime():
            return rfc3339(value)
        case timedelta():
            return round(value.total_seconds(), 3)
        case Enum():
            return value.value
        case Path():
            return str(value)
        case Mapping():
            return {str(key): document(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [document(item) for item in value]
        case bytes():
            raise TypeError("bytes have no place in a result")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: document(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    return value


def envelope(schema: str, data: Any) -> dict[str, Any]:
    """``{"schema": "aeterna.backup.list/1", "data": ...}``: additive within a major."""
    return {"schema": schema, "data": document(data)}


def dumps(tree: Any, *, indent: int | None = None) -> str:
    return json.dumps(tree, ensure_ascii=False, indent=indent, sort_keys=False)
