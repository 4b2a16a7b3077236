"""Training views of faster-rcnn.pytorch: every image and its mirror image, in fixed groups of about the same ratio.

Nothing else is random but the place of a crop, and crops are for images that are longer than twice their other side.
Crowds are objects like any other. Boxes are those of whole pixels, both corners included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from zoo.data.augment.labeled_image import LabeledImage
from zoo.data.augment.labels import (
    Bools,
    Floats,
    Ints,
    LabelRules,
    Objects,
    has_area,
    inclusive_boxes,
    is_in_image,
    shows,
)
from zoo.data.augment.ratio_groups import canvas_of, crop_window, fixed_groups, ratio_of_group
from zoo.data.augment.settings import RatioGroups
from zoo.data.augment.source import LabeledImages
from zoo.data.augment.training_set import Example, ExampleSet
from zoo.data.coco import CocoGroundTruth
from zoo.data.sampler import SampleIndex
from zoo.types import Sample, Target, Transform


def read_whole_pixels(ground_truth: CocoGroundTruth, image: int, annotations: Ints) -> Objects:
    """The objects of an image, with boxes that are cut down to whole pixels."""
    height, width = ground_truth.size_of(image)
    corners = inclusive_boxes(ground_truth.boxes[annotations], np.array(width), np.array(height))
    return Objects(
        labels=ground_truth.category_index[annotations],
        boxes=corners.astype(np.uint16).astype(np.float32),
        outlines=np.empty((len(corners), 0, 2), dtype=np.float32),
    )


LABELS = LabelRules(images=(shows((has_area, is_in_image)),), objects=(has_area, is_in_image), read=read_whole_pixels)


def mirror(boxes: Floats, width: int) -> Floats:
    """Boxes (G, 4) of an image of a width, with both corners included, when it is flipped left to right."""
    mirrored = boxes.copy()
    mirrored[:, [0, 2]] = np.float32(width - 1) - boxes[:, [2, 0]]
    return mirrored


class RatioGroupedSet(ExampleSet):
    """Images of a training set and their mirror images, each cut or padded to the shape of its group.

    Args:
        images: what is trained on, I images.
        settings: how they are grouped.
        transform: the host-side preprocessing of the detector, which is that of the evaluation.
        batch_size: images of a group, which is a step's.
        seed: seed of the views.

    Attributes:
        groups: int64 (groups, B), numbers of entries: those below I are images, those from I on mirror images.
    """

    def __init__(
        self, images: LabeledImages, settings: RatioGroups, transform: Transform, *, batch_size: int, seed: int
    ) -> None:
        self.images = images
        self.settings = settings
        self.transform = transform
        self.seed = seed
        heights, widths = np.tile(images.sizes, (2, 1)).T
        self._ratios = widths / heights  # (2I,)
        clipped = self._ratios.clip(settings.narrowest, settings.widest)
        self.groups = fixed_groups(clipped, batch_size)
        self._group_ratios = np.ones(len(clipped), dtype=np.float32)
        for group in self.groups:
            self._group_ratios[group] = ratio_of_group(clipped[group])

    def __len__(self) -> int:
        return len(self._ratios)

    def _example(self, index: SampleIndex) -> Example:
        mirrored, image = divmod(index.image, len(self.images))
        loaded = self.images.load(image)
        if mirrored:
            loaded = replace(loaded, pixels=loaded.pixels[:, ::-1], boxes=mirror(loaded.boxes, loaded.size[1]))
        sample, boxes = resized(loaded, int(self.images.image_ids[image]), self.transform)
        generator = np.random.default_rng((self.seed, index.epoch, index.position))
        order = generator.permutation(len(boxes))
        ratio = self._group_ratios[index.image]
        is_long = not self.settings.narrowest <= self._ratios[index.image] <= self.settings.widest
        sample, boxes = fit_to_group(sample, boxes[order], ratio, is_long=is_long, generator=generator)
        kept = np.flatnonzero(is_left(boxes))[: self.settings.max_objects]
        return sample, Target(torch.from_numpy(boxes[kept]), torch.from_numpy(loaded.labels[order][kept]))


def resized(image: LabeledImage, image_id: int, transform: Transform) -> tuple[Sample, Floats]:
    """The sample of an image as the evaluation takes it, and its boxes (G, 4) in the sample's pixels."""
    sample = transform(np.ascontiguousarray(image.pixels[:, :, ::-1]), image_id)
    return sample, (image.boxes * np.tile(sample.scale, 2)).astype(np.float32)  # a product in float64


def fit_to_group(
    sample: Sample, boxes: Floats, ratio: np.float32, *, is_long: bool, generator: np.random.Generator
) -> tuple[Sample, Floats]:
    """A sample with the batch shape of its group, cut to fit into it, and its boxes; some may then be empty.

    Args:
        sample: the resized image.
        boxes: float32 (G, 4), in its pixels.
        ratio: of the group.
        is_long: whether the image is narrower or wider than any group.
        generator: of the place of the crop.
    """
    pixels = sample.pixels  # (H, W, 3)
    if is_long:
        window = crop_window((pixels.shape[0], pixels.shape[1]), ratio, boxes)
        start = window.draw(generator)
        pixels, boxes = pixels.narrow(window.axis, start, window.length), window.crop_boxes(boxes, start)
    canvas = canvas_of((pixels.shape[0], pixels.shape[1]), ratio)
    if ratio == 1:
        pixels, boxes = pixels[: canvas[0], : canvas[1]], boxes.clip(0, canvas[0])
    return replace(sample, pixels=pixels, batch_shape=canvas), boxes


def is_left(boxes: Floats) -> Bools:
    """Whether something is left of each box (G,): its corners are in other rows and in other columns of pixels."""
    left: Bools = np.all(boxes[:, :2] != boxes[:, 2:], axis=1)
    return left


def training_set(
    ground_truth: CocoGroundTruth,
    files: Sequence[Path],
    settings: RatioGroups,
    transform: Transform,
    *,
    batch_size: int,
    seed: int,
) -> RatioGroupedSet:
    """The views that faster-rcnn.pytorch trains on.

    Args:
        ground_truth: annotations, whose categories are the classes to train on.
        files: image files, in the order of `ground_truth.image_ids`.
        settings: how images are grouped.
        transform: the host-side preprocessing of the detector.
        batch_size: images of a step.
        seed: seed of the views.

    Raises:
        DataError: no image is left to train on.
    """
    images = LabeledImages(ground_truth, files, LABELS)
    return RatioGroupedSet(images, settings, transform, batch_size=batch_size, seed=seed)
