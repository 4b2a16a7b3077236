"""Precision over recall as inline SVG: the means of all classes in one plot, and a small one each class."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from zoo.results.report.detections import PrCurves
from zoo.results.report.plots import axis_title, svg

_WIDTH, _HEIGHT = 520, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, _WIDTH - 15, 34, 280

_SMALL_WIDTH, _SMALL_HEIGHT = 108, 68

_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def pr_plot(curves: PrCurves) -> str:
    """The mean precision over recall at some overlaps."""
    parts = list(_axes())
    x = float(_LEFT)
    for number, (overlap, curve) in enumerate(curves.mean.items()):
        style = f'class="curve z{number} c{number}"'
        parts.append(f'<polyline {style} points="{_points(curve, _LEFT, _RIGHT, _TOP, _BOTTOM)}"/>')
        name = f"IoU {overlap}"
        parts.append(f'<line {style} x1="{x}" y1="14" x2="{x + 26}" y2="14"/>')
        parts.append(f'<text x="{x + 32}" y="18">{escape(name)}</text>')
        x += 56 + 7 * len(name)
    return svg(f"Precision over recall, {curves.of}, mean over all classes", _WIDTH, _HEIGHT, parts)


def class_plot(name: str, curve: Sequence[float]) -> str:
    """The precision over recall of one class."""
    width, height = _SMALL_WIDTH, _SMALL_HEIGHT
    frame = f'<rect class="track" width="{width}" height="{height}"/>'
    line = f'<polyline class="curve z0" points="{_points(curve[::2], 2, width - 2, 2, height - 2)}"/>'
    title = escape(f"Precision over recall of {name}")
    head = f'<svg class="small" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
    return f'{head} aria-label="{title}"><title>{title}</title>{frame}{line}</svg>'


def _points(curve: Sequence[float], left: float, right: float, top: float, bottom: float) -> str:
    """Precision at evenly spaced recalls from 0 to 1."""
    last = max(len(curve) - 1, 1)
    return " ".join(
        f"{left + (right - left) * i / last:.1f},{bottom - (bottom - top) * value:.1f}" for i, value in enumerate(curve)
    )


def _axes() -> list[str]:
    parts = []
    for tick in _TICKS:
        x = round(_LEFT + (_RIGHT - _LEFT) * tick, 1)
        y = round(_BOTTOM - (_BOTTOM - _TOP) * tick, 1)
        parts.append(f'<line class="grid" x1="{x}" y1="{_TOP}" x2="{x}" y2="{_BOTTOM}"/>')
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y}" x2="{_RIGHT}" y2="{y}"/>')
        parts.append(axis_title(f"{tick:g}", x, _BOTTOM + 16))
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.append(axis_title("recall", (_LEFT + _RIGHT) / 2, _BOTTOM + 36))
    middle = (_TOP + _BOTTOM) / 2
    turned = f'x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})"'
    return [*parts, f'<text class="tick" {turned}>precision</text>']
