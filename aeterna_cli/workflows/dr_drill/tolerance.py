"""Whether a probe's answer is what was wanted, in words for the evidence."""

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from aeterna_cli.workflows.dr_drill.scenario import Tolerance

_PART = re.compile(r"\.?([A-Za-z0-9_@$-]+)|\[(\d{1,9})\]")
_LONGEST = 300
_SEARCHED = 4096  # characters that a pattern is applied to


@dataclass(frozen=True)
class Judged:
    """``wanted`` and ``found`` are words for people; ``found`` is cut where it is long."""

    held: bool
    wanted: str
    found: str


class NoSuchPart(ValueError):
    """The answer has nothing at the path."""


def judge(tolerance: Tolerance, value: Any) -> Judged:
    wanted = words(tolerance)
    try:
        found = at(value, tolerance.at)
    except NoSuchPart as error:
        return Judged(False, wanted, f"{error}, in {shown(value)}")
    return Judged(_holds(tolerance, found), wanted, shown(found))


def at(value: Any, path: str) -> Any:
    """The part of a JSON value at a path like ``result.peers[0].state``; ``NoSuchPart``."""
    rest = path.removeprefix("$")
    while rest:
        match = _PART.match(rest)
        if match is None:
            raise NoSuchPart(f"{path!r} is not a path like a.b[0]")
        key, index = match.groups()
        if key is not None and isinstance(value, dict) and key in value:
            value = value[key]
        elif index is not None and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        else:
            raise NoSuchPart(f"there is nothing at {path!r}")
        rest = rest[match.end() :]
    return value


def words(tolerance: Tolerance) -> str:
    prefix = f"{tolerance.at} " if tolerance.at else ""
    if tolerance.one_of is not None:
        return f"{prefix}one of {shown(tolerance.one_of)}"
    if tolerance.range is not None:
        low, high = tolerance.range
        parts = [f"at least {low:g}" if low is not None else "",
                 f"at most {high:g}" if high is not None else ""]  # fmt: skip
        return prefix + (" and ".join(part for part in parts if part) or "a number")
    if tolerance.regex is not None:
        return f"{prefix}matches {tolerance.regex}"
    return f"{prefix}equals {shown(tolerance.equals)}"


def shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _holds(tolerance: Tolerance, value: Any) -> bool:
    if tolerance.one_of is not None:
        return any(_same(one, value) for one in tolerance.one_of)
    if tolerance.range is not None:
        return _between(tolerance.range, value)
    if tolerance.regex is not None:
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        return re.search(tolerance.regex, text[:_SEARCHED]) is not None
    return _same(tolerance.equals, value)


def _same(wanted: Any, found: Any) -> bool:
    """1 is not true, and "1" is not 1."""
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    return bool(wanted == found)


def _between(limits: list[float | None], value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return False
    low, high = limits
    return (low is None or value >= low) and (high is None or value <= high)
