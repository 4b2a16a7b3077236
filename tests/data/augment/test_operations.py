"""What is done to single images: resize, crop, flip, letterbox, colours."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from labeled_images import corners, levels, make_image

from zoo.data.augment.labeled_image import GREY, LabeledImage, letterbox
from zoo.data.augment.operations import (
    RandomCrop,
    RandomHFlip,
    RandomResize,
    ResizeRelative,
    adjust_hsv,
    draw_scale,
    hsv_tables,
)
from zoo.data.augment.settings import MultiScale
from zoo.errors import UsageError
from zoo.schema import build


def random() -> np.random.Generator:
    return np.random.default_rng(0)


def test_images_with_relative_labels_are_enlarged_to_the_side() -> None:
    labels, boxes = np.array([3]), np.array([[0.25, 0, 0.75, 1]], np.float32)
    image = LabeledImage(np.zeros((3, 4, 3), np.uint8), labels, boxes, corners(0.25, 0, 0.75, 1)[None])
    made = ResizeRelative(8)(image, random())
    assert made.size == (6, 8)
    assert made.boxes.tolist() == [[2, 0, 6, 6]]
    assert made.outlines[0].max(axis=0).tolist() == [6, 6]
    assert ResizeRelative(8)(make_image((100, 33), 0), random()).size == (8, 3)  # 2.64 rounded up


def test_a_resized_image_is_scaled_by_x_and_y_apart() -> None:
    made = make_image((30, 50), 7, (10, 10, 40, 40)).resize((48, 81))
    assert made.size == (48, 81)
    assert made.scale == (81 / 50, 48 / 30)
    assert made.boxes.tolist() == [[np.float32(10) * np.float32(1.62), 16, np.float32(40) * np.float32(1.62), 64]]
    assert made.clip().boxes[0, 3] == 48
    assert made.clip().outlines[0].max(axis=0).tolist() == [np.float32(40) * np.float32(1.62), 48]


def test_a_crop_shifts_and_clips() -> None:
    image = make_image((10, 10), 7, (0, 0, 5, 5), (4, 3, 20, 20), (0, 0, 2, 2))
    made = image.crop((2, 3, 4, 5))
    assert made.boxes.tolist() == [[0, 0, 2, 3], [1, 1, 5, 4], [0, 0, 0, 0]]
    assert made.outlines[1].max(axis=0).tolist() == [5, 4]
    assert made.has_area().tolist() == [True, True, False]
    assert made.size == (4, 5)


def test_random_crops_lie_inside_and_show_what_is_left() -> None:
    image = make_image((10, 30), 7, (0, 0, 30, 10), (0, 0, 2, 2))
    image.pixels[:] = np.arange(30, dtype=np.uint8)[:, None]
    generator = random()
    crops = [RandomCrop(8)(image, generator) for _ in range(100)]
    assert {crop.size for crop in crops} == {(8, 8)}
    assert {int(crop.pixels[0, 0, 0]) for crop in crops} == set(range(23))
    for crop in crops:
        assert crop.boxes[0].tolist() == [0, 0, 8, 8]
        assert crop.pixels[0, 0, 0] < 2 or crop.labels.tolist() == [0]  # from column 2 on the small one is gone
        assert crop.has_area().all()
    assert RandomCrop(20)(image, generator).size == (10, 20)


def test_random_flips() -> None:
    image, generator = make_image((2, 4), 0, (0, 0, 1, 2)), random()
    flipped = sum(RandomHFlip(0.25)(image, generator) is not image for _ in range(1000))
    assert 200 < flipped < 300


def test_random_sizes_keep_the_ratio_and_end_boxes_with_the_image() -> None:
    resize = RandomResize(MultiScale(mode="fixed", scales=((100, 80),)))
    made = resize(make_image((40, 60), 0, (-5, 30, 15, 50)), random())
    assert made.size == (67, 100)
    assert made.boxes.tolist() == [[0, 50.25, 25, 67]]  # x 5/3, y 67/40


def draws(rule: MultiScale, count: int = 400) -> set[tuple[int, int]]:
    generator = random()
    return {draw_scale(rule, generator) for _ in range(count)}


def test_scales() -> None:
    assert draws(MultiScale(mode="fixed", scales=((1333, 800),))) == {(1333, 800)}
    six = tuple((1333, short) for short in range(640, 801, 32))
    assert draws(MultiScale(mode="choice", scales=six)) == set(six)
    assert draws(MultiScale(mode="range", scales=((1333, 646), (1333, 640)))) == {(1333, s) for s in range(640, 647)}
    ratio = draws(MultiScale(mode="ratio", scales=((640, 640),), ratio=(0.8, 1.2)), 4000)
    assert {long - short for long, short in ratio} == {0}
    assert {long for long, _ in ratio} == set(range(512, 768))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"mode": "fixed"}, "missing"),
        ({"mode": "sometimes", "scales": [[1, 1]]}, "mode: "),
        ({"mode": "range", "scales": [[1, 1]]}, "mode range with 1 scales"),
        ({"mode": "fixed", "scales": [[1]]}, "scales"),
        ({"mode": "choice", "scales": []}, "mode choice with 0 scales"),
    ],
)
def test_faulty_scales(block: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=rf"schedule\.multi_scale.*{message}"):
        build(MultiScale, block, "schedule.multi_scale", "correct it")


def test_letterbox() -> None:
    made = letterbox(make_image((2, 4), 9, (1, 0, 3, 2)), 4)
    assert levels(made) == [[GREY] * 4, [9] * 4, [9] * 4, [GREY] * 4]
    assert made.boxes.tolist() == [[1, 1, 3, 3]]


def test_hflip() -> None:
    original = make_image((2, 4), 0, (0, 0, 1, 2))
    original.pixels[:, 0] = 9
    made = original.hflip()
    assert levels(made) == [[0, 0, 0, 9]] * 2
    assert made.boxes.tolist() == [[3, 0, 4, 2]]
    assert made.outlines[0].min(axis=0).tolist() == [3, 0]


def test_hsv_tables() -> None:
    hue, saturation, value = hsv_tables((1.01, 1.5, 0.6)).tolist()
    # 179 * 1.01 goes round; 180 and above never occur; what passes 255 stays there.
    assert [hue[0], hue[100], hue[179]] == [0, 101, 0]
    assert [saturation[100], saturation[170], saturation[171], saturation[255]] == [150, 255, 255, 255]
    assert [value[100], value[255]] == [60, 153]


def test_adjust_hsv() -> None:
    pixels = np.array([[[0, 0, 200], [90, 90, 90]]], dtype=np.uint8)  # red, grey
    assert adjust_hsv(pixels, (1, 1, 0.5)).tolist() == [[[0, 0, 100], [45, 45, 45]]]
    faded = cv2.cvtColor(adjust_hsv(pixels, (1, 0.5, 1)), cv2.COLOR_BGR2HSV)
    assert faded[0, :, 1].tolist() == pytest.approx([127, 0], abs=1)
    assert adjust_hsv(pixels, (1, 1, 1)).tolist() == pixels.tolist()
