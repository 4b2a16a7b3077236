"""Training images as YOLOv8 sees them: four in a mosaic, scaled, shifted, recoloured, mirrored.

The order of what is done is that of Ultralytics 8.0.0. All that is random about an example is drawn from
a generator of its own, seeded by its place in the training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zoo.data.affine import ScaleAndShift
from zoo.data.coco import CocoGroundTruth
from zoo.data.color import recolored
from zoo.data.mosaic import copy_paste, mixup, mosaic
from zoo.data.preprocess import decode
from zoo.data.scene import Scene, letterboxed, resized_scene
from zoo.data.training import Draw, Example, TrainingSet
from zoo.data.yolo_labels import fill_outlines, read_labels
from zoo.errors import UsageError, ZooError, closest
from zoo.types import Sample, Target

MIXUP_BETA = 32.0
"""Both parameters of the Beta distribution of the share of each image: nearly always about half."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicSettings:
    """How training images are made: the `mosaic` block of a schedule.

    Attributes:
        side: of the square that the network sees, in pixels.
        closing_epochs: the last so many epochs see single images, without copy-paste and mixup.
        copy_paste: share of the objects that are pasted once more.
        mixup: probability of a second mosaic, seen through the first.
        scale: factors are uniform in 1 - scale to 1 + scale.
        translate: the middle lands uniformly in 0.5 - translate to 0.5 + translate of the side.
        hue: factors are uniform in 1 - hue to 1 + hue.
        saturation: likewise.
        value: likewise.
        flip: probability of mirroring left to right.
    """

    side: int
    closing_epochs: int
    copy_paste: float
    mixup: float
    scale: float
    translate: float
    hue: float
    saturation: float
    value: float
    flip: float

    @classmethod
    def from_mapping(cls, block: Mapping[str, Any]) -> MosaicSettings:
        """The settings from their YAML. Raises UsageError for a faulty block."""
        names = [field.name for field in fields(cls)]
        for key in block:
            if key not in names:
                raise _schema_error(f"unknown key {key!r} ({closest(str(key), names)})")
        for name in names:
            value = block.get(name)
            if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
                raise _schema_error(f"{name}: {value!r} is not a number, 0 or more")
        return cls(**block)


class MosaicDataset(TrainingSet):
    """All images of a training set, also those without an object, seen by four.

    Args:
        ground_truth: annotations of the classes to train on.
        files: image files, in the order of `ground_truth.image_ids`.
        settings: how an example is made.
        epochs: of the training.
        seed: of everything random.
        masks: whether objects come with their masks.

    Attributes:
        wide: bool (I,), true: all examples have one shape, so that any of them may share a part.
    """

    def __init__(
        self,
        ground_truth: CocoGroundTruth,
        files: Sequence[Path],
        settings: MosaicSettings,
        *,
        epochs: int,
        seed: int,
        masks: bool = False,
    ) -> None:
        self.ground_truth = ground_truth
        self.files = list(files)
        self.settings = settings
        self.mosaic_epochs = epochs - settings.closing_epochs
        self.seed = seed
        self.masks = masks
        self.wide = np.ones(len(self.files), dtype=bool)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, draw: Draw) -> Example | ZooError:
        # An error travels as a value: raised in a worker process it would arrive as a RuntimeError's traceback.
        generator = np.random.default_rng((self.seed, draw.epoch, draw.place))
        try:
            scene = self._scene(draw, generator)
        except ZooError as error:
            return error
        return self._example(scene, int(self.ground_truth.image_ids[draw.image]))

    def _scene(self, draw: Draw, generator: np.random.Generator) -> Scene:
        """An image with all that is done to it."""
        settings = self.settings
        if draw.epoch < self.mosaic_epochs:
            scene = self._mosaic(draw.image, generator)
            if generator.random() < settings.mixup:
                other = self._mosaic(int(generator.integers(len(self))), generator)
                scene = mixup(scene, other, generator.beta(MIXUP_BETA, MIXUP_BETA))
        else:
            scene = self._placed(letterboxed(self._load(draw.image), settings.side), generator)
        gains = np.array((settings.hue, settings.saturation, settings.value))
        scene.pixels = recolored(scene.pixels, (1 + gains * generator.uniform(-1, 1, 3)).tolist())
        return scene.mirrored() if generator.random() < settings.flip else scene

    def _mosaic(self, image: int, generator: np.random.Generator) -> Scene:
        """An image and three others, scaled and shifted together."""
        side = self.settings.side
        partners = generator.integers(len(self), size=3).tolist()
        x, y = generator.uniform(side / 2, side * 3 / 2, 2).astype(int).tolist()
        scene = mosaic([self._load(i) for i in (image, *partners)], side, (x, y))
        return self._placed(copy_paste(scene, self.settings.copy_paste, generator), generator)

    def _placed(self, scene: Scene, generator: np.random.Generator) -> Scene:
        """A scene at a random scale and place of the square."""
        settings, (height, width) = self.settings, scene.size
        place = ScaleAndShift.draw(
            width, height, settings.side, scale=settings.scale, translate=settings.translate, generator=generator
        )
        return place(scene)

    def _load(self, image: int) -> Scene:
        """An image at its training size."""
        return resized_scene(decode(self.files[image]), read_labels(self.ground_truth, image), self.settings.side)

    def _example(self, scene: Scene, image_id: int) -> Example:
        """A scene as a detector takes it."""
        sample = Sample(
            pixels=torch.from_numpy(scene.pixels),
            image_id=image_id,
            original_size=scene.size,
            scale=(1.0, 1.0),
            batch_shape=scene.size,
        )
        target = Target(torch.from_numpy(scene.boxes), torch.from_numpy(scene.labels))
        if self.masks:
            target.masks = torch.from_numpy(fill_outlines(scene.outlines, scene.size))
        return sample, target


def _schema_error(message: str) -> UsageError:
    step = "correct the file of conf/schedule; its keys are in zoo/data/yolo_training.py"
    return UsageError(f"schedule.mosaic: {message}", next_step=step)
