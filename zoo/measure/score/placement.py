"""Boxes that are written in another way than COCO's: which of the usual readings puts them onto the objects?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from zoo.measure.score.sample import Floats, Sample, clearly_better

Bools = npt.NDArray[np.bool_]

ResizeRule: TypeAlias = Callable[[Floats], tuple[Floats, Floats]]
"""Sizes of images (S, 2), width and height, to factors (S, 2) and pixels of padding (S, 2), both x and y."""

_SIDES: tuple[int, ...] = (
    64,
    96,
    128,
    160,
    192,
    224,
    256,
    300,
    320,
    384,
    416,
    448,
    480,
    512,
    544,
    576,
    600,
    608,
    640,
    672,
    704,
    736,
)
_SIDES += (768, 800, 832, 896, 960, 1024, 1088, 1152, 1216, 1280, 1333, 1536)
"""Inputs that detectors are commonly run at, pixels."""

_SHORT_AND_LONG = ((600, 1000), (640, 1333), (800, 1333), (800, 1200), (640, np.inf), (800, np.inf), (600, np.inf))
"""Pixels that the short side is brought to, and the long side limited to."""

_FACTORS = np.delete(np.geomspace(0.25, 4, 57), slice(27, 30))
"""Factors of any resize, but those next to 1: a detector's boxes may be a little large."""

_OVERLAP = 0.7
"""IoU from which a box lies on an object: a box moved by a tenth of its size does not."""

_FEWEST = 12
"""Detections from which something can be said of a reading."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One way to read four numbers.

    Attributes:
        kind: "xyxy", "centre", "axes", "normalised" or "resized".
        text: what the boxes look like by it.
        fix: what their writer has to do.
        read: boxes (S, 4) and sizes of images (S, 2), width and height, to x, y, width, height in pixels.
    """

    kind: str
    text: str
    fix: str
    read: Callable[[Floats, Floats], Floats]


def misplaced(sample: Sample) -> Reading | None:
    """The reading by which the boxes lie on the objects, where as they are written they clearly do not; else None."""
    if not len(sample):
        return None
    if _is_normalised(sample):
        inner = _best(sample, [_scaled(reading) for reading in (_AS_IT_IS, *_FORMS)])
        return _NORMALISED if inner is None else inner
    return _best(sample, [*_FORMS, *(_resize(text, rule) for text, rule in resizes())])


def _best(sample: Sample, readings: Sequence[Reading]) -> Reading | None:
    """The reading that puts the most boxes onto objects, if it is clearly better than what is written."""
    as_written = sample.best(sample.boxes) >= _OVERLAP
    gained, best = 0, None
    for reading in readings:
        boxes = reading.read(sample.boxes, sample.sizes)
        hits = sample.best(boxes) >= _OVERLAP
        gain = int(hits.sum()) - int(as_written.sum())
        if gain > gained and _tells(as_written, hits, np.asarray((np.abs(boxes - sample.boxes) > 1).any(axis=1))):
            gained, best = gain, reading
    return best


def _tells(as_written: Bools, hits: Bools, moved: Bools) -> bool:
    """Whether a reading is clearly better where it moves boxes by more than a pixel: a resize may leave most images.

    Args:
        as_written: (S,), whether each box lies on an object as the file has it.
        hits: (S,), whether it does so by the reading.
        moved: (S,), whether the reading moves it.
    """
    count = int(moved.sum())
    share, before = float(hits[moved].mean()), float(as_written[moved].mean())
    return count >= _FEWEST and clearly_better(share, before, count, by=0.1 if 2 * count >= len(moved) else 0.3)


def _is_normalised(sample: Sample) -> bool:
    return bool(np.abs(sample.boxes).max() <= 1.5 and sample.sizes.min() >= 8)


def _corners(boxes: Floats, _: Floats) -> Floats:
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)


def _centred(boxes: Floats, _: Floats) -> Floats:
    return np.concatenate((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]), axis=1)


_AS_IT_IS = Reading(kind="xywh", text="", fix="", read=lambda boxes, _: boxes)

_FORMS = (
    Reading(
        kind="xyxy",
        text="the boxes are corners, (x1, y1, x2, y2)",
        fix="write (x, y, width, height): x2 - x1 and y2 - y1 in the place of the second corner",
        read=_corners,
    ),
    Reading(
        kind="centre",
        text="the boxes begin with their centre, (cx, cy, width, height)",
        fix="write the upper left corner: take half the width and half the height off",
        read=_centred,
    ),
    Reading(
        kind="axes",
        text="x and y are exchanged, (y, x, height, width)",
        fix="write (x, y, width, height)",
        read=lambda boxes, _: boxes[:, [1, 0, 3, 2]],
    ),
    Reading(
        kind="axes",
        text="the boxes are corners with y before x, (y1, x1, y2, x2)",
        fix="write (x, y, width, height): x1, y1, x2 - x1, y2 - y1",
        read=lambda boxes, sizes: _corners(boxes[:, [1, 0, 3, 2]], sizes),
    ),
)

_NORMALISED = Reading(
    kind="normalised",
    text="the boxes are normalised: none reaches beyond 1.5",
    fix="multiply x and width by the image's width, y and height by its height",
    read=lambda boxes, sizes: boxes * np.tile(sizes, 2),
)


def _scaled(reading: Reading) -> Reading:
    """A reading of boxes whose numbers are shares of the image's sides."""
    more, then = (f"; {reading.text}", f", then {reading.fix}") if reading.text else ("", "")
    return Reading(
        kind="normalised",
        text=_NORMALISED.text + more,
        fix=_NORMALISED.fix + then,
        read=lambda boxes, sizes: reading.read(_NORMALISED.read(boxes, sizes), sizes),
    )


def resizes() -> Iterator[tuple[str, ResizeRule]]:
    """What detectors do to the size of an image, in words and as a rule."""
    for side in _SIDES:
        square = f"{side} x {side}"
        yield f"{square}, stretched", partial(_stretched, side=side)
        yield f"fit into {square}", partial(_fit, side=side, bars=False)
        yield f"fit into {square} with bars on both sides", partial(_fit, side=side, bars=True)
    for short, long in _SHORT_AND_LONG:
        limit = "" if np.isinf(long) else f", at most {long:g} on the long"
        yield f"{short} pixels on the short side{limit}", partial(_by_short_side, short=short, long=long)
    for factor in _FACTORS.tolist():
        yield f"{factor:.2f} times its size", partial(_times, factor=factor)


def _resize(text: str, rule: ResizeRule) -> Reading:
    """The reading of boxes in an image brought to another size: in the pixels of what a detector was given."""

    def read(boxes: Floats, sizes: Floats) -> Floats:
        factor, padding = rule(sizes)
        return (boxes - np.concatenate((padding, np.zeros_like(padding)), axis=1)) / np.tile(factor, 2)

    return Reading(
        kind="resized",
        text=f"the boxes are in pixels of the image as the detector got it ({text}), not of the image",
        fix="take the padding off and divide by the factors that the image was resized by",
        read=read,
    )


def _stretched(sizes: Floats, side: float) -> tuple[Floats, Floats]:
    return side / sizes, np.zeros_like(sizes)


def _fit(sizes: Floats, side: float, *, bars: bool) -> tuple[Floats, Floats]:
    factor = np.repeat((side / sizes).min(axis=1, keepdims=True), 2, axis=1)
    return factor, (side - factor * sizes) / 2 if bars else np.zeros_like(sizes)


def _by_short_side(sizes: Floats, short: float, long: float) -> tuple[Floats, Floats]:
    factor = np.minimum(short / sizes.min(axis=1), long / sizes.max(axis=1))
    return np.repeat(factor[:, None], 2, axis=1), np.zeros_like(sizes)


def _times(sizes: Floats, factor: float) -> tuple[Floats, Floats]:
    return np.full_like(sizes, factor), np.zeros_like(sizes)
