"""One way to write JSON, so that equal documents are equal bytes and can be hashed and signed."""

import json
from typing import Any

from aeterna_cli.errors import RemoteError


def as_bytes(document: Any) -> bytes:
    """Sorted keys, no spaces, UTF-8; ``ValueError`` for NaN and infinities, which JSON lacks."""
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode("utf-8")


def from_bytes(data: bytes, *, code: str, key: str) -> dict[str, Any]:
    """The JSON object in ``data``; ``RemoteError(code)`` naming ``key`` for anything else."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RemoteError(code, f"{key} is not JSON", details={"key": key}) from error
    if not isinstance(found, dict):
        raise RemoteError(code, f"{key} is not a JSON object", details={"key": key})
    return found


def major_of(schema: Any, name: str) -> int | None:
    """The major version in ``<name>/<major>``, None for another document."""
    if not isinstance(schema, str):
        return None
    head, slash, version = schema.partition("/")
    return int(version) if head == name and slash and version.isdecimal() else None
