"""Background load by a program of others, and the two figures of its summary that matter."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from aeterna_cli.workflows.dr_drill.outcome import LoadOutcome
from aeterna_cli.workflows.dr_drill.programs import Program, filled
from aeterna_cli.workflows.dr_drill.scenario import Load

_LARGEST = 8 << 20  # bytes of a summary


class BackgroundLoad:
    """The programs of a scenario's ``load``; ``end`` may be repeated."""

    def __init__(
        self,
        asked: Sequence[Load],
        folder: Path,
        values: Mapping[str, str],
        say: Callable[..., None],
    ) -> None:
        self._folder = folder
        self._programs = [
            (one, Program(filled(one.command, values), folder, f"load-{number}", say))
            for number, one in enumerate(asked)
        ]
        self._codes: dict[int, int | None] = {}

    def start(self) -> None:
        for _asked, program in self._programs:
            program.start()

    def end(self) -> None:
        """Who still works is stopped: what it did until then is in its summary, if it keeps one."""
        for number, (_asked, program) in enumerate(self._programs):
            self._codes.setdefault(number, program.code)
            program.end()

    def outcomes(self) -> tuple[LoadOutcome, ...]:
        found = []
        for number, (asked, program) in enumerate(self._programs):
            code = self._codes.get(number)
            tree = _summary(self._folder / asked.summary) if asked.summary else None
            rate, p99 = figures(tree)
            told = tree is not None or asked.summary is None
            fine = code in (0, None) and told
            words = "stopped at the end" if code is None else f"exit {code}"
            if not told:
                words += f"; there is no readable {asked.summary}"
            if code not in (0, None):
                words += f": {' '.join(program.said().split())[-200:]}"
            found.append(
                LoadOutcome(asked.title, code, rate, p99, fine or not asked.must_pass, words)
            )
        return tuple(found)


def figures(tree: Any) -> tuple[float | None, float | None]:
    """Rate (a second) and p99 (milliseconds) of a k6 summary, old or new shape, or of any JSON
    object with ``rate`` and ``p99`` at its top."""
    if not isinstance(tree, dict):
        return None, None
    metrics = tree.get("metrics")
    if not isinstance(metrics, dict):
        return _number(tree, "rate"), _number(tree, "p99")
    requests = _values(metrics, "http_reqs") or _values(metrics, "iterations")
    times = _values(metrics, "http_req_duration") or _values(metrics, "iteration_duration")
    return _number(requests, "rate"), _number(times, "p(99)")


def _values(metrics: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = metrics.get(name)
    if not isinstance(found, dict):
        return {}
    inner = found.get("values")
    return inner if isinstance(inner, dict) else found


def _number(tree: Mapping[str, Any], key: str) -> float | None:
    value = tree.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return round(float(value), 3) if math.isfinite(value) else None


def _summary(path: Path) -> Any:
    try:
        if path.is_symlink() or path.stat().st_size > _LARGEST:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
