"""The plots of the first page: inline SVG as text, from numbers alone.

Coordinates are rounded to a tenth of a pixel, so that the same records draw the same bytes. Colours come from the
style sheet of the page, in light and in dark, by the class of a verdict or of a zoo; both also stand there as text
or as a shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from zoo.results.report.words import VERDICTS, verdict_class

WIDTH = 960

_CHARACTER = 6.6
"""Pixels of a character of the plots, rather too many."""

_LABELS, _STRIP_END, _ROW = 400, 820, 20
_LONGEST = int((_LABELS - 16) / _CHARACTER)
_LIMITS = (0.2, 0.5, 1.0)

_LEFT, _RIGHT, _TOP, _BOTTOM, _HEIGHT = 50, WIDTH - 20, 40, 400, 445

_SHAPES = {
    "circle": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0Z",
    "square": "M-4 -4H4V4H-4Z",
    "triangle": "M0 -5L5 4H-5Z",
    "diamond": "M0 -5.5L5.5 0L0 5.5L-5.5 0Z",
    "turned triangle": "M0 5L5 -4H-5Z",
    "plus": "M-1.7 -5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5V-1.7H-1.7Z",
}
"""A mark for each zoo of a plot, around its centre."""


@dataclass(frozen=True, slots=True)
class Delta:
    """One row of the strip plot.

    Attributes:
        label: the entry and its metric.
        href: page that says more.
        value: measured minus published, in AP points.
        bands: half widths of the intervals the verdict was decided by, the narrowest first.
        verdict: of the row.
        draws: measured minus published of each seed, where the row is a mean over seeds.
    """

    label: str
    href: str
    value: float
    bands: tuple[float, ...]
    verdict: str
    draws: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """One model of the scatter plot; `compared` is False for partial splits and other weights."""

    label: str
    href: str
    latency: float
    ap: float
    compared: bool
    zoo: str


def strip_plot(deltas: Sequence[Delta]) -> str:
    """Measured minus published, a line for each row, with the bands that make it EXACT or NUMERIC.

    The axis holds nine of ten rows, and ends at ±1 AP at the latest; what lies beyond is an arrow with its number.
    """
    widest = sorted(abs(delta.value) for delta in deltas)[math.ceil(0.9 * len(deltas)) - 1]
    limit = next((limit for limit in _LIMITS if widest <= limit), _LIMITS[-1])
    top, bottom = 22, 26 + _ROW * len(deltas)
    parts = []
    for tick in (-limit, -limit / 2, 0.0, limit / 2, limit):
        x = strip_x(tick, limit)
        parts.append(f'<line class="{"zero" if tick == 0 else "grid"}" x1="{x}" y1="{top}" x2="{x}" y2="{bottom}"/>')
        parts += [axis_title(f"{tick:+.2g}" if tick else "0", x, y) for y in (top - 8, bottom + 14)]
    parts += [_strip_row(delta, limit, top + 2 + _ROW * row) for row, delta in enumerate(deltas)]
    parts.append(axis_title("measured minus published, AP points", (_LABELS + _STRIP_END) / 2, bottom + 32))
    return svg("Measured minus published AP", WIDTH, bottom + 40, parts)


def strip_x(value: float, limit: float) -> float:
    """Where a difference lies on an axis from -limit to +limit, kept inside it."""
    inside = max(-limit, min(limit, value))
    return round(_LABELS + (_STRIP_END - _LABELS) * (inside + limit) / (2 * limit), 1)


def _strip_row(delta: Delta, limit: float, top: int) -> str:
    middle = top + _ROW / 2
    shown = shortened(delta.label, _LONGEST)
    parts = [f'<text x="{_LABELS - 10}" y="{middle + 4}" text-anchor="end">{escape(shown)}</text>']
    for band in reversed(delta.bands):  # the narrow one on top
        left, right = strip_x(-band, limit), strip_x(band, limit)
        parts.append(f'<rect class="band" x="{left}" y="{top + 3}" width="{right - left:.1f}" height="{_ROW - 6}"/>')
    for draw in delta.draws:
        x = strip_x(draw, limit)
        parts.append(f'<line class="draw" x1="{x}" y1="{middle - 5}" x2="{x}" y2="{middle + 5}"/>')
    x = strip_x(delta.value, limit)
    style = f'class="mark {verdict_class(delta.verdict)}"'
    if abs(delta.value) > limit:
        tip = math.copysign(7, delta.value)
        parts.append(f'<path {style} d="M{x - tip} {middle - 5}L{x} {middle}L{x - tip} {middle + 5}Z"/>')
    else:
        parts.append(f'<circle {style} cx="{x}" cy="{middle}" r="4"/>')
    parts.append(f'<text x="{_STRIP_END + 12}" y="{middle + 4}">{signed(delta.value)} {escape(delta.verdict)}</text>')
    title = escape(f"{delta.label}: {delta.value:+.3f} AP, {delta.verdict}")
    return f'<a href="{escape(delta.href)}"><title>{title}</title>{"".join(parts)}</a>'


def scatter_plot(points: Sequence[Point]) -> str:
    """AP against latency. The line joins, and the names mark, the models that no faster one equals."""
    xs = ticks(0.0, max(point.latency for point in points))
    ys = ticks(min(point.ap for point in points), max(point.ap for point in points))

    def place(point: Point) -> tuple[float, float]:
        x = _LEFT + (_RIGHT - _LEFT) * (point.latency - xs[0]) / (xs[-1] - xs[0])
        y = _BOTTOM - (_BOTTOM - _TOP) * (point.ap - ys[0]) / (ys[-1] - ys[0])
        return round(x, 1), round(y, 1)

    shapes = dict(zip(dict.fromkeys(point.zoo for point in points), _cycle(points), strict=True))
    parts = [*_scatter_axes(xs, ys), *_legend(shapes)]
    front = pareto_front(points)
    if len(front) > 1:
        parts.append(f'<polyline class="front" points="{" ".join(f"{x},{y}" for x, y in map(place, front))}"/>')
    for point in points:
        x, y = place(point)
        title = escape(f"{point.label}: {point.ap:.2f} AP, {point.latency:.1f} ms")
        mark = _mark(shapes[point.zoo], x, y, hollow=not point.compared)
        parts.append(f'<a href="{escape(point.href)}"><title>{title}</title>{mark}</a>')
    parts += _names([(point.label, place(point)) for point in front], [place(point) for point in points])
    return svg("Box AP against latency", WIDTH, _HEIGHT, parts)


def _cycle(points: Sequence[Point]) -> list[tuple[int, str]]:
    """A number and a shape for each zoo, in order of appearance."""
    shapes = list(_SHAPES.values())
    count = len({point.zoo for point in points})
    return [(i % len(shapes), shapes[i % len(shapes)]) for i in range(count)]


def _mark(shape: tuple[int, str], x: float, y: float, *, hollow: bool) -> str:
    number, path = shape
    style = f"dot z{number} hollow" if hollow else f"dot z{number}"
    return f'<path class="{style}" transform="translate({x} {y})" d="{path}"/>'


def _legend(shapes: dict[str, tuple[int, str]]) -> list[str]:
    parts, x = [], float(_LEFT + 6)
    for zoo, shape in shapes.items():
        name = shortened(zoo, 24)
        parts.append(_mark(shape, x, 14.0, hollow=False))
        parts.append(f'<text x="{x + 10:.1f}" y="18">{escape(name)}</text>')
        x += 34 + _CHARACTER * len(name)
    return parts


_Box = tuple[float, float, float, float]


def _names(named: Sequence[tuple[str, tuple[float, float]]], marks: Sequence[tuple[float, float]]) -> list[str]:
    """The names of the models of the front, each beside its mark, where one fits without covering anything."""
    taken: list[_Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in marks]
    parts = []
    for label, (x, y) in named:
        name = shortened(label, 44)
        width = _CHARACTER * len(name)
        # The line rises: above and to the left of it, or below and to the right, a name is clear of it.
        places = [("end", x - 8, y - 7), ("start", x + 8, y + 14), ("end", x - 9, y + 4), ("start", x + 9, y + 4)]
        for anchor, left, base in places:
            start = left - width if anchor == "end" else left
            box = (start, base - 10, start + width, base + 3)
            inside = box[0] >= _LEFT and box[2] <= _RIGHT and box[1] >= 22 and box[3] <= _BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                parts.append(f'<text x="{left:.1f}" y="{base:.1f}" text-anchor="{anchor}">{escape(name)}</text>')
                break
    return parts


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _scatter_axes(xs: Sequence[float], ys: Sequence[float]) -> list[str]:
    parts = []
    for i, tick in enumerate(xs):
        x = round(_LEFT + (_RIGHT - _LEFT) * i / (len(xs) - 1), 1)
        parts.append(f'<line class="grid" x1="{x}" y1="{_TOP}" x2="{x}" y2="{_BOTTOM}"/>')
        parts.append(f'<text class="tick" x="{x}" y="{_BOTTOM + 16}" text-anchor="middle">{tick:g}</text>')
    for i, tick in enumerate(ys):
        y = round(_BOTTOM - (_BOTTOM - _TOP) * i / (len(ys) - 1), 1)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y}" x2="{_RIGHT}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.append(axis_title("latency, ms (median)", (_LEFT + _RIGHT) / 2, _BOTTOM + 36))
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


def signed(value: float) -> str:
    """A difference with its sign, but for one that rounds to nothing."""
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0.0 else text


def verdict_bar(counts: Mapping[str, int]) -> str:
    """How much of some rows has which verdict, as one bar; the numbers stand beside it."""
    whole, x, parts = max(sum(counts.values()), 1), 0.0, []
    for verdict in sorted(counts, key=VERDICTS.index):
        width = 1000 * counts[verdict] / whole
        title = f"<title>{counts[verdict]} {escape(verdict)}</title>"
        style = f'class="{verdict_class(verdict)}" x="{x:.1f}" width="{max(width - 2, 0.5):.1f}" height="12"'
        parts.append(f"<rect {style}>{title}</rect>")
        x += width
    head = '<svg viewBox="0 0 1000 12" width="1000" height="12" preserveAspectRatio="none" aria-hidden="true">'
    return f"{head}{''.join(parts)}</svg>"


def shortened(text: str, longest: int) -> str:
    """A text of at most so many characters, the middle left out where it is longer."""
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"


def axis_title(text: str, x: float, y: float) -> str:
    """What an axis shows, around x."""
    return f'<text class="tick" x="{x}" y="{y}" text-anchor="middle">{escape(text)}</text>'


def svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    """A drawing of some parts."""
    name = escape(title)
    head = f'<svg class="plot" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
    return "\n".join([f'{head} aria-label="{name}">', f"<title>{name}</title>", *parts, "</svg>"])
