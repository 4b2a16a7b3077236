"""The plots of the report: points where they belong, names that do not cover each other."""

from __future__ import annotations

import re

import pytest

from zoo.results.report.curves import class_plot, pr_plot
from zoo.results.report.detections import PrCurves
from zoo.results.report.plots import (
    Delta,
    Point,
    pareto_front,
    scatter_plot,
    shortened,
    strip_plot,
    ticks,
    verdict_bar,
)
from zoo.results.report.words import verdict_class

# --- differences: an axis of ±0.2 AP from x = 400 to 820 is 1050 pixels an AP point ------------------


def test_strip_plot_of_a_worked_example() -> None:
    svg = strip_plot([Delta("a <box>", "a.html", 0.1, (0.05, 0.1), "NUMERIC"), Delta("b", "b", -0.04, (), "EXACT")])
    assert '<line class="zero" x1="610.0"' in svg
    assert '<rect class="band" x="557.5" y="27" width="105.0" height="14"/><circle' in svg, "610 ± 0.05 * 1050"
    assert '<rect class="band" x="505.0" y="27" width="210.0" height="14"/>' in svg, "610 ± 0.1 * 1050"
    assert '<circle class="mark v-numeric" cx="715.0" cy="34.0" r="4"/>' in svg
    assert '<circle class="mark v-exact" cx="568.0" cy="54.0" r="4"/>' in svg
    assert "+0.10 NUMERIC" in svg
    assert "a &lt;box&gt;" in svg
    assert '<a href="a.html"><title>a &lt;box&gt;: +0.100 AP, NUMERIC</title>' in svg
    assert svg.count("<rect") == 2, "none for the row without bands"


def test_seeds_are_strokes_around_their_mean() -> None:
    svg = strip_plot([Delta("a", "a", 0.0, (0.15,), "NUMERIC", (-0.1, 0.1))])
    assert '<line class="draw" x1="505.0" y1="29.0" x2="505.0" y2="39.0"/>' in svg
    assert '<line class="draw" x1="715.0"' in svg


def test_a_large_difference_does_not_squash_the_others() -> None:
    svg = strip_plot([Delta("a", "a", -37.4, (0.05,), "DRIFT"), Delta("b", "b", 0.5, (0.05,), "DRIFT")])
    assert 'd="M407.0 29.0L400.0 34.0L407.0 39.0Z"' in svg, "an arrow at the edge"
    assert "-37.40 DRIFT" in svg
    assert 'cx="715.0" cy="54.0"' in svg, "the axis ends at ±1"


# --- AP against latency: 0 to 40 ms from x = 50 to 940, 30 to 40 AP from y = 400 up to 40 -------------


def test_scatter_plot_of_a_worked_example() -> None:
    points = [Point("fast", "f", 10.0, 30.0, True, "mmdet"), Point("good", "g", 40.0, 40.0, True, "paddle")]
    points += [Point("beaten", "b", 20.0, 30.0, True, "mmdet"), Point("part", "p", 5.0, 40.0, False, "mmdet")]
    svg = scatter_plot(points)
    assert '<polyline class="front" points="272.5,400.0 940.0,40.0"/>' in svg
    beaten = (
        '<a href="b"><title>beaten: 30.00 AP, 20.0 ms</title><path class="dot z0" transform="translate(495.0 400.0)"'
    )
    assert beaten in svg
    assert '<path class="dot z0 hollow" transform="translate(161.2 40.0)"' in svg
    assert '<path class="dot z1" transform="translate(940.0 40.0)"' in svg, "another zoo, another mark"
    assert '<text x="264.5" y="393.0" text-anchor="end">fast</text>' in svg
    assert '<text x="932.0" y="33.0" text-anchor="end">good</text>' in svg
    assert [point.label for point in pareto_front(points)] == ["fast", "good"]


def test_names_do_not_cover_each_other() -> None:
    near = [Point(f"a_name_that_is_long_{i}", "x", 20.0 + 0.1 * i, 30.0 + 0.1 * i, True, "mmdet") for i in range(8)]
    svg = scatter_plot([*near, Point("far", "x", 60.0, 40.0, True, "mmdet")])
    found = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="(\w+)">(a_name\w+)', svg)
    left = [float(x) - (6.6 * len(name) if anchor == "end" else 0.0) for x, _, anchor, name in found]
    boxes = [(x, float(y)) for x, (_, y, _, _) in zip(left, found, strict=True)]
    assert 1 <= len(boxes) < 8, "those that fit"
    assert all(abs(a[1] - b[1]) >= 13 or abs(a[0] - b[0]) >= 132 for i, a in enumerate(boxes) for b in boxes[:i])
    assert "far</text>" in svg
    assert svg.count("<title>a_name") == 8, "the others are told on touching their mark"


def test_long_names_are_shortened_in_the_middle() -> None:
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghijk", 10) == "abcd…ghijk"


# --- precision over recall: recall 0 to 1 from x = 50 to 505, precision from y = 280 up to 34 ---------


def test_precision_over_recall_of_a_worked_example() -> None:
    svg = pr_plot(PrCurves(of="box", mean={"0.5": (1.0, 0.5, 0.0), "0.75": (0.0, 0.0, 0.0)}, per_class={}))
    assert '<polyline class="curve z0 c0" points="50.0,34.0 277.5,157.0 505.0,280.0"/>' in svg
    assert '<polyline class="curve z1 c1" points="50.0,280.0 277.5,280.0 505.0,280.0"/>' in svg
    assert "IoU 0.5</text>" in svg


def test_precision_over_recall_of_a_class() -> None:
    svg = class_plot("a <dog>", (1.0, 0.7, 0.5, 0.2, 0.0))
    assert "<title>Precision over recall of a &lt;dog&gt;</title>" in svg
    assert 'points="2.0,2.0 54.0,34.0 106.0,66.0"' in svg, "every second point"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 40.0, [0.0, 10.0, 20.0, 30.0, 40.0]),
        (37.4, 37.4, [37.4, 37.6, 37.8]),
        (0.0, 0.03, [0.0, 0.01, 0.02, 0.03]),
        (34.2, 41.1, [34.0, 36.0, 38.0, 40.0, 42.0]),
    ],
)
def test_ticks_are_round_and_hold_everything(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


def test_a_bar_shares_out_the_rows_in_the_order_of_verdicts() -> None:
    svg = verdict_bar({"NO-RECORD": 1, "DRIFT": 1, "EXACT": 2})
    assert '<rect class="v-exact" x="0.0" width="498.0" height="12"><title>2 EXACT</title>' in svg
    assert '<rect class="v-drift" x="500.0" width="248.0"' in svg
    assert '<rect class="v-no-record" x="750.0" width="248.0"' in svg


def test_verdicts_have_their_own_style() -> None:
    assert verdict_class("OTHER-WEIGHTS") == "v-other-weights"
    assert verdict_class('"><x') == "v----x"
