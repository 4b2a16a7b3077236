"""The batch of a recipe that takes most memory, made on purpose.

A training's peak of memory is that of its worst batch: images of the largest shape the recipe makes, with as many
objects as any image has, and as many positive regions as are ever drawn. Images are drawn and annotated here, and the
recipe's own views are made of them; the proposals of a first stage, which with drawn weights meet hardly an object,
get boxes about the ground truth among them.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from zoo.data.augment.settings import MultiScale, ShortestSize
from zoo.data.coco import CocoGroundTruth
from zoo.models.detectors.base import Detector
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.heads.roi_stage import RoiStage
from zoo.models.selection import Proposals
from zoo.train.schedule import Schedule
from zoo.train.trainer import MicroBatch
from zoo.types import ImageGeometry, Size, Target

MOST_OBJECTS = 93
"""Objects of the most crowded image of COCO train2017."""

RATIOS = (1.0, 4 / 3, 5 / 3, 2.0)
"""Longer by shorter side of the images that are tried; 5 / 3 fills the 1333 x 800 pixels of most recipes."""

SHORT_SIDE = 240
"""Of the images that are drawn, in pixels; the recipe resizes them."""

OBJECT_SIDES = (64 / 800, 128 / 800, 256 / 800)
"""Sides of the objects in units of an image's shorter side: those of anchors, where that becomes 800 pixels."""

CENTRE = 0.6
"""Share of both sides of an image in whose middle the objects lie, so that a crop leaves most of them."""

JITTER = 0.04
"""How far corners of the boxes about the ground truth move at most, in units of its sides; they overlap it by 0.8."""

STEPS_TRIED = 2
"""Steps of the recipe on the images of one ratio, of which the largest counts."""

Views = Callable[[Schedule, CocoGroundTruth, Sequence[Path], bool], Iterable[MicroBatch]]
"""A recipe, annotations, their images, and whether masks are wanted, to the micro-batches of its first steps."""


def worst_micro_batch(
    schedule: Schedule,
    views: Views,
    shape_of: Callable[[MicroBatch], Size],
    ground_truth: CocoGroundTruth,
    images: int,
    folder: Path,
) -> MicroBatch:
    """The largest micro-batch that a recipe makes of crowded images, and of the largest the one with most objects.

    Args:
        schedule: the recipe.
        views: makes its micro-batches.
        shape_of: the shape of one with its padding.
        ground_truth: whose classes objects are of; where one of its images has more than `MOST_OBJECTS`, so many.
        images: of a micro-batch.
        folder: where the images are written.
    """
    objects = max(MOST_OBJECTS, int(np.bincount(ground_truth.image_index, minlength=1).max(initial=0)))
    largest = _with_largest_views(schedule)
    one_shape = schedule.crop is not None or schedule.mosaic is not None
    best, size = (0, 0), (0, 0)
    drawn: list[tuple[CocoGroundTruth, list[Path]]] = []
    for ratio in RATIOS[:1] if one_shape else RATIOS:
        for turned in (False,) if one_shape else (False, True):  # all landscape, or as many portrait ones among them
            sides = [(SHORT_SIDE, round(SHORT_SIDE * ratio))] * images
            sides += [(width, height) for height, width in sides] if turned else []
            drawn.append(_draw(folder / str(len(drawn)), sides, objects, ground_truth))
            for step, batch in enumerate(views(largest, *drawn[-1], False)):
                found = math.prod(shape_of(batch)), sum(len(target.labels) for _, target in batch)
                if found > size:
                    best, size = (len(drawn) - 1, step), found
    # Masks take long to make, and only now.
    return next(itertools.islice(views(largest, *drawn[best[0]], True), best[1], None))


@contextmanager
def filled_samplers(detector: Detector, targets: Sequence[Target]) -> Iterator[None]:
    """Let the first stage of a detector propose boxes about the ground truth of a batch, among its own.

    They are as many as the second stage draws positives at most, in the place of proposals of the first.

    Args:
        detector: any; those without a first stage stay as they are.
        targets: of the batch, one an image.
    """
    if not isinstance(detector, TwoStageDetector):
        yield
        return
    rpn, count = detector.rpn_head, _most_positives(detector)
    propose = rpn.propose

    def with_truth(outputs: Any, geometries: Sequence[ImageGeometry], rows: Any = None) -> list[Proposals]:
        clip = rpn.training_proposals.convention.clip
        found = propose(outputs, geometries, rows)
        images = zip(targets, geometries, found, strict=True)
        return [
            _before(clip(_about(target.boxes, count).to(outputs.device), geometry.extent), own)
            for target, geometry, own in images
        ]

    rpn.propose = with_truth  # type: ignore[method-assign] # of this detector alone, for a while
    try:
        yield
    finally:
        del rpn.propose


def _with_largest_views(schedule: Schedule) -> Schedule:
    """A recipe whose images all have the largest of its scales."""
    changes: dict[str, Any] = {}
    if schedule.multi_scale is not None:
        scale = _largest_scale(schedule.multi_scale)
        changes["multi_scale"] = MultiScale(mode="fixed", scales=(scale,))
    if schedule.transforms is not None:
        changes["transforms"] = tuple(
            dataclasses.replace(each, short=(max(each.short),)) if isinstance(each, ShortestSize) else each
            for each in schedule.transforms
        )
    return dataclasses.replace(schedule, **changes)


def _largest_scale(multi_scale: MultiScale) -> tuple[int, int]:
    """The largest (long, short) that is drawn."""
    scales = multi_scale.scales
    if multi_scale.mode == "range":
        (long, short) = np.max(scales, axis=0).tolist()
    else:
        factor = multi_scale.ratio[1] if multi_scale.mode == "ratio" else 1.0
        long, short = (int(side * factor) for side in max(scales, key=math.prod))
    return long, short


def _draw(
    folder: Path, sides: Sequence[Size], objects: int, ground_truth: CocoGroundTruth
) -> tuple[CocoGroundTruth, list[Path]]:
    """Images of so many objects each, with annotations of the classes and keypoints of others, as files of a folder."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    names = list(ground_truth.keypoint_names)
    document: dict[str, Any] = {"images": [], "annotations": []}
    document["categories"] = [
        {"id": int(number), "name": name, **({"keypoints": names} if names else {})}
        for number, name in zip(ground_truth.category_ids, ground_truth.category_names, strict=True)
    ]
    files = []
    for i, (height, width) in enumerate(sides, start=1):
        files.append(folder / f"{i}.png")
        pixels = generator.integers(0, 256, (height // 20 + 1, width // 20 + 1, 3), dtype=np.uint8)
        cv2.imwrite(str(files[-1]), cv2.resize(pixels, (width, height), interpolation=cv2.INTER_NEAREST))
        document["images"].append({"id": i, "file_name": files[-1].name, "height": height, "width": width})
        for _ in range(objects):
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": i,
                    "category_id": int(generator.choice(ground_truth.category_ids)),
                    **_object(height, width, len(names), generator),
                }
            )
    annotations = folder / "annotations.json"
    annotations.write_text(json.dumps(document), encoding="utf-8")
    return CocoGroundTruth.load(annotations), files


def _object(height: int, width: int, keypoints: int, generator: np.random.Generator) -> dict[str, Any]:
    """An object in the middle of an image: its box, its mask as a polygon, and so many keypoints."""
    side = round(min(height, width) * float(generator.choice(OBJECT_SIDES)))
    x, y = (
        round(length * (1 - CENTRE) / 2 + float(generator.random()) * (length * CENTRE - side))
        for length in (width, height)
    )
    middle = [x + side // 2, y + side // 2, 2]
    return {
        "bbox": [x, y, side, side],
        "area": side * side,
        "iscrowd": 0,
        "segmentation": [[x, y, x + side, y, x + side, y + side, x, y + side]],
        **({"keypoints": middle * keypoints, "num_keypoints": keypoints} if keypoints else {}),
    }


def _most_positives(detector: TwoStageDetector) -> int:
    """The positives that the first stage of a RoI head draws of an image at most."""
    samplers = [stage.sampler for stage in detector.roi_head.stages if isinstance(stage, RoiStage)]
    return max((getattr(sampler, "max_positives", 0) for sampler in samplers), default=0)  # all may be positives


def _about(boxes: Tensor, count: int) -> Tensor:
    """So many boxes (count, 4) about boxes (G, 4), each of which overlaps one of them by 0.8; none about none."""
    if not len(boxes):
        return boxes
    repeated = boxes.repeat(-(-count // len(boxes)), 1)[:count]
    sides = (repeated[:, 2:] - repeated[:, :2]).repeat(1, 2)
    generator = torch.Generator(device=boxes.device).manual_seed(0)  # not the stream that the model draws from
    moves = torch.rand(repeated.shape, generator=generator, device=boxes.device) * 2 - 1
    return repeated + moves * JITTER * sides


def _before(boxes: Tensor, found: Proposals) -> Proposals:
    """Proposals with boxes (P, 4) in the place of the last ones."""
    kept = max(len(found.boxes) - len(boxes), 0)
    scores = torch.cat((found.scores.new_ones(len(boxes)), found.scores[:kept]))
    return Proposals(torch.cat((boxes, found.boxes[:kept])), scores)
