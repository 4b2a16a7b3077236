"""Keypoints of training images: flipped, resized, cropped and handed on as targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labeled_images import annotation, make, make_image

from zoo.data.augment.labeled_image import LabeledImage
from zoo.data.augment.labels import LabelRules, is_single, read_boxes
from zoo.data.augment.operations import RandomHFlip
from zoo.data.augment.source import LabeledImages
from zoo.data.augment.training_set import TrainingSet
from zoo.data.keypoints import KEYPOINT_NAMES
from zoo.data.sampler import SampleIndex
from zoo.errors import DataError

NOSE, LEFT_EYE, RIGHT_EYE, LEFT_EAR = (
    KEYPOINT_NAMES.index(name) for name in ("nose", "left_eye", "right_eye", "left_ear")
)


def points(**labelled: tuple[float, float, float]) -> np.ndarray:
    """Keypoints (17, 3) of which some are labelled."""
    made = np.zeros((17, 3), dtype=np.float32)
    for name, values in labelled.items():
        made[KEYPOINT_NAMES.index(name)] = values
    return made


def image() -> LabeledImage:
    keypoints = points(nose=(10, 5, 2), left_eye=(12, 4, 1), right_eye=(8, 4, 2))
    return replace(make_image((20, 40), 7, (5, 2, 15, 12), (0, 0, 9, 9)), keypoints=np.stack([keypoints, points()]))


def test_a_flip_exchanges_left_and_right_and_leaves_what_is_not_labelled() -> None:
    flipped = image().hflip().keypoints
    assert flipped is not None
    assert flipped[0, NOSE].tolist() == [30, 5, 2]
    assert flipped[0, LEFT_EYE].tolist() == [32, 4, 2], "what was the right eye"
    assert flipped[0, RIGHT_EYE].tolist() == [28, 4, 1]
    assert not flipped[0, LEFT_EAR].any()
    assert not flipped[1].any()
    back, before = image().hflip().hflip().keypoints, image().keypoints
    assert back is not None
    assert before is not None
    assert np.array_equal(back, before)
    inclusive = image().hflip(inclusive=True).keypoints
    assert inclusive is not None
    assert inclusive[0, NOSE].tolist() == [29, 5, 2]


def test_a_resize_scales_them_and_a_crop_loses_those_outside() -> None:
    resized = image().resize((40, 60)).keypoints
    assert resized is not None
    assert resized[0, NOSE].tolist() == [15, 10, 2]
    assert not resized[1].any()
    cropped = image().crop((0, 9, 20, 20)).keypoints
    assert cropped is not None
    assert cropped[0, NOSE].tolist() == [1, 5, 2]
    assert cropped[0, RIGHT_EYE].tolist() == [0, 0, 0]
    chosen = image().select(np.array([1])).keypoints
    assert chosen is not None
    assert chosen.shape == (1, 17, 3)


def test_targets_have_keypoints_where_they_are_trained_on(tmp_path: Path) -> None:
    person = points(nose=(10, 5, 2), left_eye=(12, 4, 1)).ravel().tolist()
    truth, files = make(tmp_path, [(20, 40)], [annotation(1, [5, 2, 10, 10], keypoints=person)])
    images = LabeledImages(truth, files, LabelRules(images=(), objects=(is_single,), read=read_boxes))
    flip = {0: [RandomHFlip(1.0)]}
    sets = [TrainingSet(images, flip, seed=0, masks=False, keypoints=wanted) for wanted in (True, False)]
    examples = [made[SampleIndex(0, 0, 0)] for made in sets]
    target, boxes_alone = (example[1] for example in examples if isinstance(example, tuple))
    assert target.keypoints is not None
    assert target.keypoints.shape == (1, 17, 3)
    assert target.keypoints[0, NOSE].tolist() == [30, 5, 2]
    assert target.keypoints[0, RIGHT_EYE].tolist() == [28, 4, 1]
    assert target.to(torch.device("cpu")).keypoints is not None
    assert boxes_alone.keypoints is None


def test_other_keypoints_than_those_of_a_person_are_left_alone(tmp_path: Path) -> None:
    row = annotation(1, [5, 2, 10, 10], keypoints=[1, 2, 2, 3, 4, 2])
    truth, files = make(tmp_path, [(20, 40)], [row])
    images = LabeledImages(truth, files, LabelRules(images=(), objects=(), read=read_boxes))
    assert images.load(0).hflip().keypoints is None
    with pytest.raises(DataError, match="2 keypoints"):
        TrainingSet(images, {0: []}, seed=0, masks=False, keypoints=True)
