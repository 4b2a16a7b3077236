"""Training views as YOLOv8 sees them: four images in a mosaic, scaled, shifted, recoloured, flipped.

All images are trained on, also those without an object. The order of the operations, and of what they draw, is that
of Ultralytics 8.0.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo.data.augment.affine import RandomAffine
from zoo.data.augment.labels import LabelRules, has_extent, has_polygons, is_single
from zoo.data.augment.mosaic import CopyPaste, MixUp, Mosaic
from zoo.data.augment.operations import LetterboxSquare, RandomHFlip, RandomHsv, ResizeRelative
from zoo.data.augment.outlines import read_outlines
from zoo.data.augment.settings import MosaicSettings
from zoo.data.augment.source import LabeledImages
from zoo.data.augment.training_set import TrainingSet
from zoo.data.coco import CocoGroundTruth

LABELS = LabelRules(images=(), objects=(is_single, has_extent), read=read_outlines, masks=has_polygons)


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
    return TrainingSet(images, operations, seed=seed, masks=masks, batch_shape=(side, side), by_orientation=False)
