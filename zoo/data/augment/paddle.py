"""PaddleDetection's training views: flipped, resized as its evaluation does it, changed by AutoAugment in some recipes.

Its three code eras differ in how boxes are read and in the order of the operations, which their schedules name; how
pixels are resized and what a box is they have from the protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from zoo.data.augment.autoaugment import AutoAugment
from zoo.data.augment.labeled_image import LabeledImage
from zoo.data.augment.labels import (
    Bools,
    Ints,
    LabelRules,
    Objects,
    Rule,
    has_area,
    inclusive_boxes,
    is_in_image,
    is_single,
    rule,
    shows,
)
from zoo.data.augment.masks import Polygons
from zoo.data.augment.operations import Operation, RandomHFlip, draw_scale
from zoo.data.augment.settings import MultiScale, PipelineSettings
from zoo.data.augment.source import LabeledImages
from zoo.data.augment.training_set import TrainingSet
from zoo.data.coco import CocoGroundTruth
from zoo.data.preprocess import Preprocess
from zoo.data.size_rules import ByFactor, KeepRatio
from zoo.errors import UsageError
from zoo.types import Transform

MIN_BOX_SIDE = 1e-5
"""Objects whose corners are points have longer sides, in pixels."""


@rule("with an empty box")
def is_extended(ground_truth: CocoGroundTruth) -> Bools:
    """Whether both sides of the box of each annotation (A,) are longer than `MIN_BOX_SIDE`."""
    width, height = ground_truth.boxes[:, 2:].T
    extended: Bools = (width > MIN_BOX_SIDE) & (height > MIN_BOX_SIDE)
    return extended


def point_boxes(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """COCO's boxes (A, 4), xywh, as corners that are points, rounded to thousandths of a pixel."""
    corners = np.concatenate((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), axis=1)
    return np.array([round(value, 3) for value in corners.ravel().tolist()]).reshape(-1, 4)


def label_rules(*, inclusive: bool, require_area: bool, masks: bool) -> LabelRules:
    """How PaddleDetection reads a training set; images that show nothing are not trained on.

    Args:
        inclusive: whether the corners of boxes are pixels, not points.
        require_area: whether annotations without an area are left out.
        masks: whether polygons are read.
    """
    objects: tuple[Rule, ...] = (is_single, is_in_image if inclusive else is_extended)
    if require_area:
        objects = (is_single, has_area, *objects[1:])
    return LabelRules(
        images=(shows(objects),), objects=objects, read=partial(_read, inclusive=inclusive, with_masks=masks)
    )


def _read(
    ground_truth: CocoGroundTruth, image: int, annotations: Ints, *, inclusive: bool, with_masks: bool
) -> Objects:
    size = height, width = ground_truth.size_of(image)
    given = ground_truth.boxes[annotations]
    boxes = inclusive_boxes(given, np.array(width), np.array(height)) if inclusive else point_boxes(given)
    return Objects(
        labels=ground_truth.category_index[annotations],
        boxes=boxes.astype(np.float32),
        outlines=np.empty((len(boxes), 0, 2), dtype=np.float32),
        masks=Polygons.of(ground_truth, annotations, size) if with_masks else None,
    )


@dataclass(frozen=True, slots=True)
class ResizeAsEvaluated:
    """Resizes an image as a protocol does, normalisation included where that comes first, to a random scale.

    Attributes:
        transform: the protocol's, whose size rule keeps the ratio of the sides.
        size_rule: the same rule, of any size.
        multi_scale: the scales.
        clip: whether boxes end with the image.
    """

    transform: Preprocess
    size_rule: KeepRatio | ByFactor
    multi_scale: MultiScale
    clip: bool

    def __call__(self, image: LabeledImage, generator: np.random.Generator) -> LabeledImage:
        """The resized image."""
        long, short = draw_scale(self.multi_scale, generator)
        resize = replace(self.size_rule, long=long, short=short)(image.size)
        x, y = resize.scale
        resized = replace(
            image,
            pixels=self.transform.resize(image.pixels, resize),
            boxes=image.boxes * np.array((x, y, x, y), dtype=np.float32),
            masks=image.masks and image.masks.resize(resize.size),
            scale=(image.scale[0] * x, image.scale[1] * y),
        )
        return resized.clip() if self.clip else resized


def training_set(
    ground_truth: CocoGroundTruth,
    files: Sequence[Path],
    settings: PipelineSettings,
    *,
    multi_scale: MultiScale,
    transform: Transform,
    inclusive: bool,
    seed: int,
    masks: bool,
) -> TrainingSet:
    """The views that PaddleDetection trains on; their boxes are in pixels of the resized image, as always.

    Args:
        ground_truth: annotations, whose categories are the classes to train on.
        files: image files, in the order of `ground_truth.image_ids`.
        settings: the operations and their order.
        multi_scale: scales of the resize.
        transform: the protocol's, whose resampler and normalisation are those of the views too.
        inclusive: whether the far corner of a box is a pixel of it.
        seed: seed of the views.
        masks: whether targets have polygons.

    Raises:
        DataError: no image is left to train on.
        UsageError: the protocol does not resize by a long and a short side, or AutoAugment is to change masks or
            pixels that are normalised.
    """
    assert isinstance(transform, Preprocess)  # noqa: S101 - every protocol's is
    _check_autoaugment(settings.order, masks=masks, normalizes=transform.normalizer is not None)
    resize = ResizeAsEvaluated(transform, _size_rule(transform, settings), multi_scale, clip=not inclusive)
    steps: dict[str, Operation] = {
        "flip": RandomHFlip(settings.flip, inclusive=inclusive),
        "auto_augment": AutoAugment(),
        "resize": resize,
    }
    rules = label_rules(inclusive=inclusive, require_area=settings.require_area, masks=masks)
    images = LabeledImages(ground_truth, files, rules)
    operations = {0: [steps[name] for name in settings.order]}
    return TrainingSet(images, operations, seed=seed, masks=masks, by_orientation=False)


def _check_autoaugment(order: Sequence[str], *, masks: bool, normalizes: bool) -> None:
    """Raise UsageError where AutoAugment would change what it cannot, masks or normalised pixels."""
    if "auto_augment" not in order:
        return
    if masks:
        message = "auto_augment moves boxes, and the model is trained on masks too"
        next_step = "leave it out of the order, or train an entry without masks"
    elif normalizes and order.index("resize") < order.index("auto_augment"):
        message = "auto_augment takes bytes, and the protocol normalises pixels before the resize"
        next_step = "put auto_augment before resize"
    else:
        return
    raise UsageError(f"schedule.pipeline.order: {message}", next_step=next_step)


def _size_rule(transform: Preprocess, settings: PipelineSettings) -> KeepRatio | ByFactor:
    """The size rule of a protocol as training has it. Raises UsageError where it knows no long and short side."""
    rule = transform.size_rule
    if not isinstance(rule, KeepRatio | ByFactor):
        message = f"schedule.pipeline: the protocol resizes by {type(rule).__name__}, not to a long and a short side"
        raise UsageError(message, next_step="choose a schedule of the entry's own zoo with schedule=NAME")
    if isinstance(rule, ByFactor) and settings.round_before_limit is not None:
        return replace(rule, round_before_limit=settings.round_before_limit)
    return rule
