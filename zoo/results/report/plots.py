"""The plots of the report: inline SVG as text, from numbers alone.

Coordinates are rounded to a tenth of a pixel, so that the same records draw the same bytes. Colours
come from the page's style sheet, by the class of the verdict; the verdict also stands there as text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760

_LABELS, _STRIP_END, _ROW = 330, 640, 20
_LIMITS = (0.2, 0.5, 1.0)

_LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 50, WIDTH - 20, 15, 340, 385


@dataclass(frozen=True, slots=True)
class Delta:
    """One row of the strip plot.

    Attributes:
        label: the entry and its metric.
        value: measured minus published, in AP points.
        bands: half widths of the intervals the verdict was decided by, the narrowest first.
        verdict: of the row.
    """

    label: str
    value: float
    bands: tuple[float, ...]
    verdict: str


@dataclass(frozen=True, slots=True)
class Point:
    """One model of the scatter plot; `compared` is False for partial splits and other weights."""

    label: str
    href: str
    latency: float
    ap: float
    compared: bool


def strip_plot(deltas: Sequence[Delta]) -> str:
    """Measured minus published, a line for each row, with the bands that make it EXACT or NUMERIC.

    The axis ends at ±1 AP at the latest; what lies beyond is an arrow at the edge with its number.
    """
    widest = max((abs(value) for delta in deltas for value in (delta.value, *delta.bands)), default=0.0)
    limit = next((limit for limit in _LIMITS if widest <= limit), _LIMITS[-1])
    bottom = _ROW * len(deltas) + 8
    parts = [_strip_row(delta, limit, 4 + _ROW * row) for row, delta in enumerate(deltas)]
    for tick in (-limit, -limit / 2, 0.0, limit / 2, limit):
        x = strip_x(tick, limit)
        parts.insert(0, f'<line class="{"zero" if tick == 0 else "grid"}" x1="{x}" y1="4" x2="{x}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{bottom + 14}" text-anchor="middle">{tick:+.2g}</text>')
    parts.append(_axis_title("measured minus published, AP points", (_LABELS + _STRIP_END) / 2, bottom + 30))
    return _svg("Measured minus published AP", bottom + 38, parts)


def strip_x(value: float, limit: float) -> float:
    """Where a difference lies on an axis from -limit to +limit, kept inside it."""
    inside = max(-limit, min(limit, value))
    return round(_LABELS + (_STRIP_END - _LABELS) * (inside + limit) / (2 * limit), 1)


def _strip_row(delta: Delta, limit: float, top: int) -> str:
    middle = top + _ROW / 2
    parts = [f'<text x="{_LABELS - 10}" y="{middle + 4}" text-anchor="end">{escape(delta.label)}</text>']
    for band in reversed(delta.bands):  # the narrow one on top
        left, right = strip_x(-band, limit), strip_x(band, limit)
        parts.append(f'<rect class="band" x="{left}" y="{top + 3}" width="{right - left:.1f}" height="{_ROW - 6}"/>')
    x = strip_x(delta.value, limit)
    style = f'class="mark {verdict_class(delta.verdict)}"'
    if abs(delta.value) > limit:
        tip = math.copysign(7, delta.value)
        parts.append(f'<path {style} d="M{x - tip} {middle - 5}L{x} {middle}L{x - tip} {middle + 5}Z"/>')
    else:
        parts.append(f'<circle {style} cx="{x}" cy="{middle}" r="4"/>')
    parts.append(f'<text x="{_STRIP_END + 12}" y="{middle + 4}">{delta.value:+.2f} {escape(delta.verdict)}</text>')
    return "".join(parts)


def scatter_plot(points: Sequence[Point]) -> str:
    """AP against latency. The line joins, and the names mark, the models that no faster one equals."""
    xs = ticks(0.0, max(point.latency for point in points))
    ys = ticks(min(point.ap for point in points), max(point.ap for point in points))

    def place(point: Point) -> tuple[float, float]:
        x = _LEFT + (_RIGHT - _LEFT) * (point.latency - xs[0]) / (xs[-1] - xs[0])
        y = _BOTTOM - (_BOTTOM - _TOP) * (point.ap - ys[0]) / (ys[-1] - ys[0])
        return round(x, 1), round(y, 1)

    parts = [*_scatter_axes(xs, ys)]
    front = pareto_front(points)
    if len(front) > 1:
        parts.append(f'<polyline class="front" points="{" ".join(f"{x},{y}" for x, y in map(place, front))}"/>')
    for point in points:
        x, y = place(point)
        title = escape(f"{point.label}: {point.ap:.2f} AP, {point.latency:.1f} ms")
        dot = f'<circle class="{"dot" if point.compared else "dot hollow"}" cx="{x}" cy="{y}" r="4.5"/>'
        parts.append(f'<a href="{escape(point.href)}"><title>{title}</title>{dot}</a>')
    for point in front:
        x, y = place(point)
        # The line rises: below and to the right of it, or above and to the left, a name is clear of it.
        if x < (_LEFT + _RIGHT) / 2:
            where = f'x="{x + 8:.1f}" y="{min(y + 15, _BOTTOM - 4):.1f}"'
        else:
            where = f'x="{x - 8:.1f}" y="{max(y - 8, _TOP - 3):.1f}" text-anchor="end"'
        parts.append(f"<text {where}>{escape(point.label)}</text>")
    return _svg("Box AP against latency", _HEIGHT, parts)


def _scatter_axes(xs: Sequence[float], ys: Sequence[float]) -> list[str]:
    parts = []
    for i, tick in enumerate(xs):
        x = round(_LEFT + (_RIGHT - _LEFT) * i / (len(xs) - 1), 1)
        parts.append(f'<line class="grid" x1="{x}" y1="{_TOP}" x2="{x}" y2="{_BOTTOM}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{_BOTTOM + 15}" text-anchor="middle">{tick:g}</text>')
    for i, tick in enumerate(ys):
        y = round(_BOTTOM - (_BOTTOM - _TOP) * i / (len(ys) - 1), 1)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y}" x2="{_RIGHT}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.append(_axis_title("latency, ms (median)", (_LEFT + _RIGHT) / 2, _BOTTOM + 34))
    middle = (_TOP + _BOTTOM) / 2
    turned = f'x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})"'
    return [*parts, f'<text class="tick" {turned}>box AP</text>']


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The comparable points that no other one beats at once in latency and AP, fastest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.latency, -point.ap, point.label)):
        if point.compared and (not front or point.ap > front[-1].ap):
            front.append(point)
    return front


def ticks(low: float, high: float) -> list[float]:
    """Evenly spaced round numbers around low and high: three to eight, with room where the two are equal."""
    span = high - low or 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= span / 5)
    # Rounded first: in binary floats 37.4 / 0.2 comes out a little below 187.
    first, last = math.floor(round(low / step, 6)), math.ceil(round(high / step, 6))
    if last - first < 2:
        last = first + 2
    return [round(step * i, 10) for i in range(first, last + 1)]


def verdict_class(verdict: str) -> str:
    """The style of a verdict: "OTHER-WEIGHTS" -> "v-other-weights"."""
    return "v-" + "".join(c if c.isascii() and c.isalnum() else "-" for c in verdict.lower())


def _axis_title(text: str, x: float, y: float) -> str:
    return f'<text class="tick" x="{x}" y="{y}" text-anchor="middle">{text}</text>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img" aria-label="{title}">'
    return "\n".join([head, *parts, "</svg>"])
