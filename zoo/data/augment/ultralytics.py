"""Training views as YOLOv8 sees them: four images in a mosaic, scaled, shifted, recoloured, flipped.

All images are trained on, also those without an object. The order of the operations, and of what they draw, is that
of Ultralytics 8.0.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from zoo.data.augment.affine import RandomAffine
from zoo.data.augment.labels import LabelRules, has_extent, is_single
from zoo.data.augment.mosaic import CopyPaste, MixUp, Mosaic
from zoo.data.augment.operations import LetterboxSquare, RandomHFlip, RandomHsv, ResizeRelative
from zoo.data.augment.outlines import read_outlines
from zoo.data.augment.source import LabeledImages
from zoo.data.augment.training_set import TrainingSet
from zoo.data.coco import CocoGroundTruth
from zoo.schema import Minimum

LABELS = LabelRules(images=(), objects=(is_single, has_extent), read=read_outlines)

Share: TypeAlias = Annotated[float, Minimum(0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicSettings:
    """How training views are made: the `mosaic` block of a schedule.

    Attributes:
        side: side of the square that the network sees, in pixels.
        close_mosaic: number of last epochs that see single images, without copy-paste and mixup.
        copy_paste: share of the objects that are pasted once more.
        mixup: probability of a second mosaic, seen through the first.
        scale: range of the scale factor, uniform in 1 - scale to 1 + scale.
        translate: range of the shift; the middle lands uniformly in 0.5 - translate to 0.5 + translate of the side.
        hue: range of the factor of hues, uniform in 1 - hue to 1 + hue.
        saturation: range of the factor of saturations, likewise.
        value: range of the factor of values, likewise.
        flip: probability of a flip, left to right.
    """

    side: Annotated[int, Minimum(1)]
    close_mosaic: Annotated[int, Minimum(0)]
    copy_paste: Share
    mixup: Share
    scale: Share
    translate: Share
    hue: Share
    saturation: Share
    value: Share
    flip: Share


def training_set(
    ground_truth: CocoGroundTruth,
    files: Sequence[Path],
    settings: MosaicSettings,
    *,
    epochs: int,
    seed: int,
    masks: bool,
) -> TrainingSet:
    """The views that Ultralytics trains on.

    Args:
        ground_truth: annotations, whose categories are the classes to train on.
        files: image files, in the order of `ground_truth.image_ids`.
        settings: how a view is made.
        epochs: number of epochs of the training.
        seed: seed of the views.
        masks: whether targets have masks.
    """
    side, images = settings.side, LabeledImages(ground_truth, files, LABELS)
    fit = ResizeRelative(side)
    affine = RandomAffine(side=side, scale=settings.scale, translate=settings.translate)
    colours = RandomHsv(hue=settings.hue, saturation=settings.saturation, value=settings.value)
    last = (colours, RandomHFlip(settings.flip))
    mosaic = (fit, Mosaic(images, fit, side), CopyPaste(settings.copy_paste), affine)
    operations = {
        0: (*mosaic, MixUp(images, mosaic, settings.mixup), *last),
        max(epochs - settings.close_mosaic, 0): (fit, LetterboxSquare(side), affine, *last),
    }
    return TrainingSet(images, operations, seed=seed, masks=masks, batch_shape=(side, side))
