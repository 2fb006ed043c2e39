"""Operation ids: UUID version 7, so that they sort by time. Source: RFC 9562, section 5.7."""

import secrets
import threading
import uuid
from datetime import UTC, datetime
from time import time_ns

_lock = threading.Lock()
_last = 0


def uuid7() -> str:
    """A new id; within one process each is greater than the last, also when the clock jumps."""
    global _last  # noqa: PLW0603 - one counter per process is what makes ids monotonic
    with _lock:
        # 48 bits of milliseconds and 12 bits of fraction: RFC 9562 method 3
        moment = time_ns() * 4096 // 1_000_000
        _last = max(moment, _last + 1)
        stamp = _last
    milliseconds, fraction = stamp >> 12, stamp & 0xFFF
    value = milliseconds << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))


def is_uuid7(text: str) -> bool:
    """Whether ``text`` is such an id in its usual form."""
    try:
        found = uuid.UUID(text)
    except ValueError:
        return False
    return str(found) == text and found.version == 7


def uuid7_time(text: str) -> datetime:
    """When the id was made; ``ValueError`` for anything else."""
    if not is_uuid7(text):
        raise ValueError(f"not an operation id: {text!r}")
    return datetime.fromtimestamp((uuid.UUID(text).int >> 80) / 1000, UTC)
