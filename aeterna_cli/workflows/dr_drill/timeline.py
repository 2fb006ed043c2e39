"""The timeline picture of a drill as SVG: steps, acknowledged writes, the gap that the fault made.

Only numbers and escaped words go into it; no script, no style of others, no address.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aeterna_cli.workflows.dr_drill.escaping import in_html as escaped
from aeterna_cli.workflows.dr_drill.escaping import plain

_WIDTH, _LEFT, _RIGHT = 1160, 190, 20
_ROW, _TOP = 26, 30
_BUCKETS = 240
_COLOURS = {"before": "#6b7c93", "method": "#3566a8", "after": "#6b7c93", "rollback": "#8a6d3b"}
_LONGEST = 27  # characters of a label


@dataclass(frozen=True)
class Lane:
    """Of one store: when writes were acknowledged and attempts failed, in seconds of the drill."""

    store: str
    acknowledged: Sequence[float]
    failed: Sequence[float]


def render(drill: Mapping[str, Any], lanes: Sequence[Lane]) -> str:
    """``<svg>``: one row a step, one row a store, an axis in seconds."""
    steps = drill["outcome"]["steps"]
    ends = [one["begun"] + one["seconds"] for one in steps]
    ends += [max(lane.acknowledged) for lane in lanes if lane.acknowledged]
    total = max([drill["outcome"]["seconds"], *ends, 1.0])
    height = _TOP + _ROW * (len(steps) + len(lanes)) + 40
    rows = _rows(drill, lanes, total)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img"'
        f' aria-label="timeline of the drill" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        *_axis(total, height), *rows, *_fault(drill, total, height), "</svg>",
    ])  # fmt: skip


def _x(seconds: float, total: float) -> float:
    share = min(1.0, max(0.0, seconds / total))
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _axis(total: float, height: int) -> Iterator[str]:
    step = next(s for s in (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 86400)
                if total / s <= 14)  # fmt: skip
    moment = 0.0
    while moment <= total:
        x = _x(moment, total)
        yield f'<line x1="{x}" y1="{_TOP - 6}" x2="{x}" y2="{height - 30}" stroke="#e3e6ea"/>'
        yield (
            f'<text x="{x}" y="{height - 12}" text-anchor="middle" fill="#555">{moment:g} s</text>'
        )
        moment += step


def _rows(drill: Mapping[str, Any], lanes: Sequence[Lane], total: float) -> Iterator[str]:
    y = _TOP
    for one in drill["outcome"]["steps"]:
        before = "" if one["part"] == "method" else f"{one['part']}: "
        yield _label(f"{before}{one['title']}", y)
        x = _x(one["begun"], total)
        width = max(3.0, _x(one["begun"] + one["seconds"], total) - x)
        colour = _COLOURS.get(one["part"], "#6b7c93") if one["passed"] else "#c0392b"
        words = escaped(f"{one['part']}: {one['title']}, {one['seconds']:.2f} s")
        yield (
            f'<rect x="{x}" y="{y + 4}" width="{width:.1f}" height="{_ROW - 9}" rx="2"'
            f' fill="{colour}"><title>{words}</title></rect>'
        )
        y += _ROW
    gaps = {one["store"]: one for one in drill["outcome"]["measured"]}
    for lane in lanes:
        yield _label(f"{lane.store}: writes", y)
        yield from _lane(lane, y, total)
        yield from _gap(drill, gaps.get(lane.store), y, total)
        y += _ROW


def _label(text: str, y: int) -> str:
    words = plain(text)
    short = words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}…"
    return (
        f'<text x="{_LEFT - 10}" y="{y + 17}" text-anchor="end" fill="#222">{escaped(short)}</text>'
    )


def _lane(lane: Lane, y: int, total: float) -> Iterator[str]:
    """Acknowledged writes as a band, failed attempts as ticks below it."""
    for moments, colour, top, height in (
        (lane.acknowledged, "#2e8b57", y + 4, _ROW - 14),
        (lane.failed, "#c0392b", y + _ROW - 9, 5),
    ):
        width = (_WIDTH - _LEFT - _RIGHT) / _BUCKETS
        for bucket in sorted(
            {int(min(1.0, max(0.0, m / total)) * (_BUCKETS - 1)) for m in moments}
        ):
            x = _LEFT + bucket * width
            yield (
                f'<rect x="{x:.1f}" y="{top}" width="{width + 0.3:.1f}" height="{height}"'
                f' fill="{colour}"/>'
            )


def _gap(
    drill: Mapping[str, Any], measured: Mapping[str, Any] | None, y: int, total: float
) -> Iterator[str]:
    fault = drill["outcome"]["fault"]
    if measured is None or measured["rto"] is None or fault is None:
        return
    x, end = _x(fault, total), _x(fault + measured["rto"], total)
    words = escaped(f"RTO {measured['rto']:.2f} s")
    yield (
        f'<line x1="{x}" y1="{y + _ROW - 2}" x2="{end}" y2="{y + _ROW - 2}" stroke="#c0392b"'
        f' stroke-width="2"><title>{words}</title></line>'
    )
    yield f'<text x="{end + 4}" y="{y + _ROW - 1}" font-size="10" fill="#c0392b">{words}</text>'


def _fault(drill: Mapping[str, Any], total: float, height: int) -> Iterator[str]:
    fault = drill["outcome"]["fault"]
    if fault is None:
        return
    x = _x(fault, total)
    yield (
        f'<line x1="{x}" y1="{_TOP - 8}" x2="{x}" y2="{height - 30}" stroke="#c0392b"'
        ' stroke-dasharray="5 3"/>'
    )
    yield (
        f'<text x="{x}" y="{_TOP - 13}" text-anchor="middle" fill="#c0392b">fault,'
        f" {fault:.1f} s</text>"
    )
