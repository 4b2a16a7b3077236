"""What runs before the clock starts: images of each padded shape, until their times settle."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zoo.types import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUpRule:
    """How long an image is repeated until its padded shape is warm.

    Attributes:
        window: times whose median is held against that of as many before them.
        tolerance: by which share of the latter the two may differ; None looks at none: the first `window` are enough.
        most: images of one shape after which it is given up.
    """

    window: int
    tolerance: float | None
    most: int

    def is_met(self, seconds: Sequence[float]) -> bool:
        """Whether a shape of these times, in order, is warm."""
        if self.tolerance is None or self.window == 0:
            return len(seconds) >= self.window
        if len(seconds) < 2 * self.window:
            return False
        before = statistics.median(seconds[-2 * self.window : -self.window])
        return abs(statistics.median(seconds[-self.window :]) - before) < self.tolerance * before


WARM_UP = {
    "cuda": WarmUpRule(window=20, tolerance=0.01, most=100),
    "cpu": WarmUpRule(window=1, tolerance=0.25, most=4),
}
"""Kind of device -> its rule. A CPU has no clock to raise, no kernels to load and no graphs to capture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """What ran before the clock started.

    Attributes:
        rule: until when each padded shape ran.
        shapes: number of padded shapes.
        images: number of images that ran.
        unsettled: number of shapes whose times still moved when they were given up.
    """

    rule: WarmUpRule
    shapes: int
    images: int
    unsettled: int


def warm_up_rule(kind: str, asked: int | str) -> WarmUpRule:
    """The rule of a device for "auto"; a number is that many images of each padded shape, without a look at times."""
    return WARM_UP[kind] if isinstance(asked, str) else WarmUpRule(window=asked, tolerance=None, most=asked)


def warm_up(seconds_of: Callable[[Sample], float], shapes: Sequence[Sequence[Sample]], rule: WarmUpRule) -> WarmUp:
    """Run images until the clock may start.

    The first image of each padded shape is repeated until the rule is met, so that work of one kind is compared; then
    every other image of the shape runs once, for what depends on the image: numbers of boxes, and with them memory.

    Args:
        seconds_of: runs an image, and says how long it took.
        shapes: images of each padded shape.
        rule: until when.
    """
    from zoo.runtime.progress import Progress

    images = unsettled = 0
    with Progress("warm-up", total=len(shapes) * rule.most, unit="img") as progress:
        for first, *others in shapes:
            seconds: list[float] = []
            while not (warm := rule.is_met(seconds)) and len(seconds) < rule.most:
                seconds.append(seconds_of(first))
                progress.update()
            progress.update(rule.most - len(seconds))
            unsettled += not warm
            seconds += [seconds_of(other) for other in others if rule.most]
            images += len(seconds)
    return WarmUp(rule=rule, shapes=len(shapes), images=images, unsettled=unsettled)
