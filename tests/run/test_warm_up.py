"""What warms a padded shape up, by a made-up clock."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from zoo.run.warm_up import WARM_UP, WarmUp, WarmUpRule, warm_up, warm_up_rule

RULE = WarmUpRule(window=3, tolerance=0.01, most=9)


@pytest.mark.parametrize(
    ("seconds", "met"),
    [
        ([1.0] * 5, False),  # too few for two windows
        ([1.0] * 6, True),
        ([9.0, 1.0, 1.0, 1.0, 1.0, 1.0], True),  # one slow image moves no median
        ([1.1, 1.1, 1.1, 1.0, 1.0, 1.0], False),
        ([5.0, 1.0, 1.0, 1.0, 1.009, 1.009, 1.009], True),  # the last six count
        ([1.0, 1.0, 1.0, 1.01, 1.01, 1.01], False),
    ],
)
def test_a_shape_is_warm_when_the_median_of_a_window_does_not_move(seconds: list[float], met: bool) -> None:
    assert RULE.is_met(seconds) is met


def test_warm_up_repeats_one_image_of_a_shape_and_then_runs_the_others_once() -> None:
    clock = {"a": itertools.chain([9.0, 5.0, 3.0], itertools.repeat(1.0)), "b": itertools.count(1.0, 1.0)}
    ran: list[str] = []

    def seconds_of(sample: Any) -> float:
        ran.append(sample)
        return float(next(clock.get(sample, itertools.repeat(1.0))))

    shapes: Any = [["a", "c", "d"], ["b"]]
    found = warm_up(seconds_of, shapes, RULE)
    # medians of 3.0, 1.0, 1.0 and of the three after them; the second shape never settles
    assert "".join(ran) == "a" * 8 + "cd" + "b" * 9
    assert found == WarmUp(rule=RULE, shapes=2, images=19, unsettled=1)


@pytest.mark.parametrize(("asked", "ran"), [(0, ""), (1, "ab"), (3, "aaab")])
def test_a_number_of_warm_up_images_looks_at_no_times(asked: int, ran: str) -> None:
    seen: list[Any] = []

    def seconds_of(sample: Any) -> float:
        seen.append(sample)
        return float(len(seen))

    shapes: Any = ["ab"]
    found = warm_up(seconds_of, shapes, warm_up_rule("cpu", asked))
    assert ("".join(seen), found.images, found.unsettled) == (ran, len(ran), 0)


def test_each_kind_of_device_has_its_rule() -> None:
    assert warm_up_rule("cuda", "auto") == WarmUpRule(window=20, tolerance=0.01, most=100)
    assert warm_up_rule("cpu", "auto") == WARM_UP["cpu"]
    assert WARM_UP["cpu"].most < 5, "make reproduce stays quick"
