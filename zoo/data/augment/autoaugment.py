"""AutoAugment for detection as PaddleDetection runs it: its policy, and what it draws.

Source: Zoph et al., "Learning Data Augmentation Strategies for Object Detection", 2019; "v1" is their second policy.
PaddleDetection's version has slips, by which its models were trained, and which are kept: each operation on a whole
image takes place with chance one half, whatever its probability; and see `autoaugment_operations.in_boxes`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np

from zoo.data.augment import autoaugment_operations as ops
from zoo.data.augment.autoaugment_operations import Boxes, Pixels, X, Y
from zoo.data.augment.labeled_image import LabeledImage

MAX_MAGNITUDE = 10

IMAGE_CHANCE = 0.5
"""Chance of an operation; the probability that the policy gives it counts inside of boxes only."""

BOX_SHARE = 3
"""What the probability of an operation inside of boxes is divided by, for each box."""


class Step(NamedTuple):
    """An operation of the policy.

    Attributes:
        name: its name upstream.
        probability: of each box, before it is divided; without meaning for a whole image.
        magnitude: 0 to 10.
    """

    name: str
    probability: float
    magnitude: int


POLICY: tuple[tuple[Step, Step], ...] = (
    (Step("TranslateX_BBox", 0.6, 4), Step("Equalize", 0.8, 10)),
    (Step("TranslateY_Only_BBoxes", 0.2, 2), Step("Cutout", 0.8, 8)),
    (Step("Sharpness", 0.0, 8), Step("ShearX_BBox", 0.4, 0)),
    (Step("ShearY_BBox", 1.0, 2), Step("TranslateY_Only_BBoxes", 0.6, 6)),
    (Step("Rotate_BBox", 0.6, 10), Step("Color", 1.0, 6)),
    (Step("Color", 0.0, 0), Step("ShearX_Only_BBoxes", 0.8, 4)),
    (Step("ShearY_Only_BBoxes", 0.8, 2), Step("Flip_Only_BBoxes", 0.0, 10)),
    (Step("Equalize", 0.6, 10), Step("TranslateX_BBox", 0.2, 2)),
    (Step("Color", 1.0, 10), Step("TranslateY_Only_BBoxes", 0.4, 6)),
    (Step("Rotate_BBox", 0.8, 10), Step("Contrast", 0.0, 10)),
    (Step("Cutout", 0.2, 2), Step("Brightness", 0.8, 10)),
    (Step("Color", 1.0, 6), Step("Equalize", 1.0, 2)),
    (Step("Cutout_Only_BBoxes", 0.4, 6), Step("TranslateY_Only_BBoxes", 0.8, 2)),
    (Step("Color", 0.2, 8), Step("Rotate_BBox", 0.8, 10)),
    (Step("Sharpness", 0.4, 4), Step("TranslateY_Only_BBoxes", 0.0, 4)),
    (Step("Sharpness", 1.0, 4), Step("SolarizeAdd", 0.4, 4)),
    (Step("Rotate_BBox", 1.0, 8), Step("Sharpness", 0.2, 8)),
    (Step("ShearY_BBox", 0.6, 10), Step("Equalize_Only_BBoxes", 0.6, 8)),
    (Step("ShearX_BBox", 0.2, 6), Step("TranslateY_Only_BBoxes", 0.2, 10)),
    (Step("SolarizeAdd", 0.6, 8), Step("Brightness", 0.8, 10)),
)
"""The pairs of operations, of which one is drawn for each image."""

Warp: TypeAlias = tuple[Callable[[Pixels, float], Pixels], Callable[[Boxes, float, tuple[int, int]], Boxes], float]

WARPS: dict[str, Warp] = {
    "TranslateX_BBox": (partial(ops.translate, axis=X), partial(ops.translate_boxes, axis=X), 250.0),
    "ShearX_BBox": (partial(ops.shear, axis=X), partial(ops.shear_boxes, axis=X), 0.3),
    "ShearY_BBox": (partial(ops.shear, axis=Y), partial(ops.shear_boxes, axis=Y), 0.3),
    "Rotate_BBox": (ops.rotate, ops.rotate_boxes, 30.0),
}
"""Operations that move pixels and boxes: of pixels, of boxes, and the largest argument, whose sign is drawn."""

BOX_WARPS: dict[str, tuple[Callable[[Pixels, float], Pixels], float]] = {
    "TranslateY_Only_BBoxes": (partial(ops.translate, axis=Y), 120.0),
    "ShearX_Only_BBoxes": (partial(ops.shear, axis=X), 0.3),
    "ShearY_Only_BBoxes": (partial(ops.shear, axis=Y), 0.3),
}
"""Operations inside of boxes, and the largest argument, whose sign is drawn."""

ENHANCERS: dict[str, Callable[[Pixels, float], Pixels]] = {
    "Color": ops.color,
    "Contrast": ops.contrast,
    "Brightness": ops.brightness,
    "Sharpness": ops.sharpness,
}
"""Operations with a factor."""


@dataclass(frozen=True, slots=True)
class AutoAugment:
    """Changes an image that has objects by one of the pairs of operations of the policy."""

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The image after it, its boxes in pixels of the same size."""
        if not len(image.boxes):
            return image
        extent = np.array(image.size * 2, dtype=np.float32)
        pixels = np.ascontiguousarray(image.pixels[:, :, ::-1])  # RGB
        boxes = (image.boxes[:, [1, 0, 3, 2]] / extent).clip(0, 1)
        for step in POLICY[generator.integers(len(POLICY))]:
            if generator.random() < IMAGE_CHANCE:
                pixels, boxes = run(step, pixels, boxes, generator)
        boxes = (boxes * extent)[:, [1, 0, 3, 2]]
        return replace(image, pixels=np.ascontiguousarray(pixels[:, :, ::-1]), boxes=boxes)


def run(step: Step, pixels: Pixels, boxes: Boxes, generator: np.random.Generator) -> tuple[Pixels, Boxes]:
    """An image and its boxes after an operation of the policy.

    Args:
        step: the operation.
        pixels: uint8 (H, W, 3), RGB.
        boxes: float32 (G, 4), y1, x1, y2, x2 as shares of height and width.
        generator: draws the sign, the boxes and the middle of a hole.
    """
    level = step.magnitude / MAX_MAGNITUDE
    if step.name in WARPS:
        warp, warp_boxes, largest = WARPS[step.name]
        argument = _signed(level * largest, generator)
        return warp(pixels, argument), warp_boxes(boxes, argument, (pixels.shape[0], pixels.shape[1]))
    if step.name.endswith("_Only_BBoxes"):
        chance = step.probability / BOX_SHARE
        change = _in_box(step.name, level, generator)
        return ops.in_boxes(pixels, boxes, change, lambda: generator.random() < chance), boxes
    return _whole(step.name, level, pixels, generator), boxes


def _in_box(name: str, level: float, generator: np.random.Generator) -> Callable[[Pixels], Pixels]:
    """What is done to the inside of a box; the sign is the same for all boxes of an image."""
    if name in BOX_WARPS:
        warp, largest = BOX_WARPS[name]
        argument = _signed(level * largest, generator)
        return lambda pixels: warp(pixels, argument)
    if name == "Cutout_Only_BBoxes":
        return lambda pixels: _hole(pixels, int(level * 50), generator)
    return {"Flip_Only_BBoxes": ops.flip, "Equalize_Only_BBoxes": ops.equalize}[name]


def _whole(name: str, level: float, pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """A whole image after an operation that leaves its boxes where they are."""
    if name in ENHANCERS:
        return ENHANCERS[name](pixels, level * 1.8 + 0.1)
    if name == "Cutout":
        return _hole(pixels, int(level * 100), generator)
    if name == "SolarizeAdd":
        return ops.solarize_add(pixels, int(level * 110))
    return {"Equalize": ops.equalize}[name](pixels)


def _signed(argument: float, generator: np.random.Generator) -> float:
    return -argument if generator.random() < 0.5 else argument


def _hole(pixels: Pixels, half: int, generator: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    return ops.cutout(pixels, half, (int(generator.integers(height)), int(generator.integers(width))))
