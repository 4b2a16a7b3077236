"""The images of a training set with their objects, read when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.data.augment.labeled_image import LabeledImage
from zoo.data.augment.labels import LabelRules
from zoo.data.coco import CocoGroundTruth
from zoo.data.images import OPENCV, Decoder, decode
from zoo.errors import DataError


class LabeledImages:
    """What is trained on, as it is before any operation.

    Args:
        ground_truth: annotations, whose categories are the classes to train on.
        files: image files, in the order of `ground_truth.image_ids`.
        rules: which images and objects are trained on, and how they are read.
        decoder: the library that decodes files.

    Attributes:
        files: their image files.
        image_ids: int64 (I,), the data set's ids.
        sizes: int64 (I, 2), (height, width) in pixels.
        is_landscape: bool (I,), whether an image is at least as wide as high.
        account: how many images and objects there are, and what is left out.

    Raises:
        DataError: no object is left to train on.
    """

    def __init__(
        self, ground_truth: CocoGroundTruth, files: Sequence[Path], rules: LabelRules, decoder: Decoder = OPENCV
    ) -> None:
        images, kept = rules.select_images(ground_truth), rules.select_objects(ground_truth)
        self.account = rules.account(ground_truth)
        if not self.account.objects:
            message = f"no image of the training set shows an object of the classes to train on: {self.account}"
            raise DataError(message, next_step="check the annotations, or raise data.train.limit")
        slots = [ground_truth.annotations_of(image) for image in images]
        self.files = [files[image] for image in images]
        self.image_ids = ground_truth.image_ids[images]
        self.sizes = np.stack((ground_truth.heights, ground_truth.widths), axis=1)[images]
        self.is_landscape = self.sizes[:, 1] >= self.sizes[:, 0]
        self._decoder = decoder
        self._ground_truth = ground_truth
        self._images = images.tolist()
        self._annotations = [np.flatnonzero(kept[slot]) + slot.start for slot in slots]
        self._read = rules.read
        self._has_mask = rules.masks

    def __len__(self) -> int:
        return len(self.files)

    def require_masks(self) -> None:
        """Raise DataError where the mask of an object cannot be learnt."""
        kept = np.concatenate(self._annotations)
        lacking = kept[~self._has_mask(self._ground_truth)[kept]]
        if lacking.size:
            number, first = f"{len(lacking):,} of {len(kept):,}", self._ground_truth.annotation_ids[lacking[0]]
            raise DataError(
                f"{number} objects to train on are {self._has_mask.others}, such as annotation {first}",
                next_step="complete the masks of the annotations, or train a model of boxes alone",
            )

    def require_keypoints(self) -> None:
        """Raise DataError where the annotations have no keypoints, or others than COCO's."""
        self._ground_truth.require_keypoints()

    def load(self, index: int) -> LabeledImage:
        """An image of the set, decoded, and its objects.

        Raises:
            DataError: the file is missing or damaged, or is not of the size that its annotations were made for.
        """
        pixels = decode(self.files[index], self._ground_truth.size_of(self._images[index]), self._decoder)
        objects = self._read(self._ground_truth, self._images[index], self._annotations[index])
        return LabeledImage(
            pixels,
            labels=objects.labels,
            boxes=objects.boxes,
            outlines=objects.outlines,
            masks=objects.masks,
            keypoints=objects.keypoints,
            original_size=(pixels.shape[0], pixels.shape[1]),
        )
