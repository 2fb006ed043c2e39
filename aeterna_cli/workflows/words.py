"""Words of the command line as values: stores, times, durations, sizes, labels, positions."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime

from aeterna_cli.errors import UsageError
from aeterna_cli.stores.base.server_control import STORES, StoreName

_SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?(?:/s)?$", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_LABEL_KEY = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$")


def stores(asked: Sequence[str] | None) -> tuple[StoreName, ...]:
    """The stores that are meant, in their usual order; all of them for none."""
    return tuple(name for name in STORES if name in some_of(asked, STORES))


def some_of(asked: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """The ones of ``known`` that are asked for, in its order; all of them for none."""
    if not asked:
        return tuple(known)
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise UsageError(
            "store_unknown", f"there is no store {unknown[0]!r}", hint=f"one of {', '.join(known)}"
        )
    return tuple(name for name in known if name in asked)


def moment(text: str) -> datetime:
    """An RFC 3339 time. ``UsageError('time_without_offset')`` where it has no offset."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            "time_invalid", f"not a time: {text!r}", hint="like 2026-11-23T03:00:00Z"
        ) from error
    if found.tzinfo is None:
        raise UsageError(
            "time_without_offset",
            f"the time {text!r} has no offset",
            hint="an hour too early or too late restores other data: add Z or +01:00",
        )
    return found


def seconds(text: str) -> float:
    """A duration like ``90s``, ``5m``, ``1h30m``, in seconds."""
    pieces = _DURATION.findall(text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        raise UsageError("duration_invalid", f"not a duration: {text!r}", hint="like 90s or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in pieces)


def size(text: str) -> int:
    """A size like ``50M`` or ``1.5G`` in bytes, in binary units."""
    match = _SIZE.match(text.strip())
    if not match:
        raise UsageError("size_invalid", f"not a size: {text!r}", hint="like 500K, 50M or 1G")
    number, unit = match.groups()
    return int(float(number) * 1024 ** " KMGT".index(unit.upper() or " "))


def labels(asked: Sequence[str] | None) -> Mapping[str, str]:
    """``K=V`` pairs. Keys are short and plain; values are kept as they are, at most 256 long."""
    found: dict[str, str] = {}
    for text in asked or ():
        key, equals, value = text.partition("=")
        if not equals or not _LABEL_KEY.match(key) or len(value) > 256:
            raise UsageError("label_invalid", f"not a label: {text!r}", hint="like reason=upgrade")
        found[key] = value
    return found


def position(text: str) -> int:
    """An LSN like ``0/1A2B3C4D`` as a number."""
    from aeterna_cli.repository.wal_archive import lsn_number

    try:
        return lsn_number(text)
    except ValueError as error:
        raise UsageError("lsn_invalid", str(error), hint="like 0/1A2B3C4D") from error
