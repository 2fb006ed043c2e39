"""The two points of our own collection: who this deployment is, and the recovery point marker."""

from typing import Any
from uuid import UUID

IDENTITY_POINT = "a5e7e27a-0b5b-5c1e-9d0f-000000000001"
MARKER_POINT = "a5e7e27a-0b5b-5c1e-9d0f-000000000002"
VECTOR = [1.0]


def marker_number(identifier: int | str | UUID, payload: Any) -> int | None:
    """The marker that this point carries, None where it is another point."""
    if str(identifier) != MARKER_POINT or not isinstance(payload, dict):
        return None
    number = payload.get("number")
    return number if isinstance(number, int) else None
