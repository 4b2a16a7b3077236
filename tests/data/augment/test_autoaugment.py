"""AutoAugment's operations give the original's pixels and boxes, to the bit; what is drawn is as rare as there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from labeled_images import make_image
from parity import GOLDEN

from zoo.data.augment import autoaugment
from zoo.data.augment import autoaugment_operations as ops
from zoo.data.augment.autoaugment import POLICY, AutoAugment, Step, run
from zoo.data.augment.autoaugment_operations import Boxes, Pixels, X, Y

with np.load(GOLDEN / "paddle" / "autoaugment.npz") as archive:
    ANSWERS = dict(archive)
IMAGE, BOXES = ANSWERS["image"], ANSWERS["boxes"]
SIZE = (IMAGE.shape[0], IMAGE.shape[1])

WARPS: dict[str, tuple[Callable[[Pixels, float], Pixels], Callable[[Boxes, float, tuple[int, int]], Boxes], float]] = {
    "TranslateX_BBox": (partial(ops.translate, axis=X), partial(ops.translate_boxes, axis=X), 12.0),
    "TranslateX_BBox_minus": (partial(ops.translate, axis=X), partial(ops.translate_boxes, axis=X), -50.0),
    "TranslateY_BBox": (partial(ops.translate, axis=Y), partial(ops.translate_boxes, axis=Y), 7.0),
    "ShearX_BBox": (partial(ops.shear, axis=X), partial(ops.shear_boxes, axis=X), 0.18),
    "ShearX_BBox_minus": (partial(ops.shear, axis=X), partial(ops.shear_boxes, axis=X), -0.18),
    "ShearY_BBox": (partial(ops.shear, axis=Y), partial(ops.shear_boxes, axis=Y), 0.3),
    "Rotate_BBox": (ops.rotate, ops.rotate_boxes, 30.0),
    "Rotate_BBox_minus": (ops.rotate, ops.rotate_boxes, -24.0),
}
IN_BOXES: dict[str, Callable[[Pixels], Pixels]] = {
    "TranslateY_Only_BBoxes": partial(ops.translate, shift=4.0, axis=Y),
    "ShearX_Only_BBoxes": partial(ops.shear, factor=0.12, axis=X),
    "ShearY_Only_BBoxes": partial(ops.shear, factor=-0.06, axis=Y),
    "Flip_Only_BBoxes": ops.flip,
    "Equalize_Only_BBoxes": ops.equalize,
}
WHOLE = {
    "Color_6": Step("Color", 0.0, 6),
    "Color_10": Step("Color", 0.0, 10),
    "Contrast_10": Step("Contrast", 0.0, 10),
    "Brightness_10": Step("Brightness", 0.0, 10),
    "Sharpness_4": Step("Sharpness", 0.0, 4),
    "Sharpness_8": Step("Sharpness", 0.0, 8),
    "Equalize": Step("Equalize", 0.0, 2),
    "SolarizeAdd_4": Step("SolarizeAdd", 0.0, 4),
    "SolarizeAdd_8": Step("SolarizeAdd", 0.0, 8),
}


def assert_pixels(found: Pixels, name: str) -> None:
    digest = hashlib.sha256(np.ascontiguousarray(found).tobytes()).digest()
    assert digest == ANSWERS[name].tobytes()


def test_every_operation_has_its_answer() -> None:
    assert {key.split("/")[0] for key in ANSWERS if "/" in key} == WARPS.keys() | IN_BOXES.keys() | WHOLE.keys()
    assert len(WARPS) + len(IN_BOXES) + len(WHOLE) == 22


@pytest.mark.parametrize("name", WARPS)
def test_operations_that_move_boxes(name: str) -> None:
    warp, warp_boxes, argument = WARPS[name]
    assert argument == pytest.approx(float(ANSWERS[f"{name}/argument"]))
    assert_pixels(warp(IMAGE, argument), f"{name}/sha256")
    assert np.array_equal(warp_boxes(BOXES, argument, SIZE), ANSWERS[f"{name}/boxes"])


@pytest.mark.parametrize("name", IN_BOXES)
def test_operations_inside_of_boxes(name: str) -> None:
    assert_pixels(ops.in_boxes(IMAGE, BOXES, IN_BOXES[name]), f"{name}/sha256")


def test_values_outside_of_a_box_grow_by_one_and_wrap() -> None:
    assert_pixels(ops.in_boxes(IMAGE, BOXES[:1], ops.flip), "Flip_Only_BBoxes/first_sha256")
    white = np.full((10, 10, 3), 255, dtype=np.uint8)
    found = ops.in_boxes(white, np.array([[0.2, 0.3, 0.5, 0.95]], dtype=np.float32), ops.flip)
    assert (found[2:6, 3:10] == 255).all()  # both ends included
    assert found.sum() == 255 * 4 * 7 * 3


@pytest.mark.parametrize("name", WHOLE)
def test_operations_on_whole_images(name: str) -> None:
    pixels, boxes = run(WHOLE[name], IMAGE, BOXES, np.random.default_rng(0))
    assert_pixels(pixels, f"{name}/sha256")
    assert boxes is BOXES


def test_a_hole_ends_with_the_image() -> None:
    pixels = np.zeros((60, 80, 3), dtype=np.uint8)
    cut = ops.cutout(pixels, 20, (10, 75))
    assert (cut[:30, 55:] == 128).all()
    assert (cut > 0).sum() == 30 * 25 * 3
    assert not pixels.any()
    large, _ = run(Step("Cutout", 0.0, 2), pixels, BOXES, np.random.default_rng(3))
    assert (large > 0).any(axis=2).any(axis=0).sum() <= 40  # twice int(100 * 0.2)
    boxes = np.array([[0, 0, 1, 1]], dtype=np.float32)
    small, _ = run(Step("Cutout_Only_BBoxes", 3.0, 2), pixels, boxes, np.random.default_rng(3))
    assert 0 < (small > 0).any(axis=2).any(axis=0).sum() <= 20


def test_a_box_that_left_its_image_stays_as_a_strip() -> None:
    boxes = np.array([[0.1, 0.8, 0.4, 0.9]], dtype=np.float32)
    moved = ops.translate_boxes(boxes, -100.0, (100, 100), X)
    assert moved.tolist() == [pytest.approx([0.1, 0.95, 0.4, 1.0])]
    assert ops.translate_boxes(boxes, 100.0, (100, 100), X).tolist() == [pytest.approx([0.1, 0.0, 0.4, 0.05])]


def policy_of(monkeypatch: pytest.MonkeyPatch, *steps: Step) -> None:
    monkeypatch.setattr(autoaugment, "POLICY", (steps,))


def test_each_of_two_operations_is_done_half_the_time_whatever_its_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    policy_of(monkeypatch, Step("Brightness", 0.0, 10), Step("Cutout", 1.0, 1))
    image, generator = make_image((40, 40), 100, (5, 5, 30, 30)), np.random.default_rng(0)
    seen = [{int(v) for v in np.unique(AutoAugment()(image, generator).pixels)} for _ in range(400)]
    brighter = sum(190 in levels for levels in seen)
    cut = sum(128 in levels for levels in seen)
    neither = sum(levels == {100} for levels in seen)
    assert (170 < brighter < 230, 170 < cut < 230, 75 < neither < 125) == (True, True, True)


def test_inside_of_boxes_the_probability_is_divided_by_three() -> None:
    boxes = np.array([[0, 0, 0.5, 0.5]] * 300, dtype=np.float32)
    pixels = np.zeros((8, 8, 3), dtype=np.uint8)
    for probability, fewest, most in ((0.0, 0, 0), (0.6, 45, 75), (1.0, 85, 115)):
        changed, _ = run(Step("Flip_Only_BBoxes", probability, 10), pixels, boxes, np.random.default_rng(1))
        assert fewest <= int(changed[7, 7, 0]) <= most  # once more for each box that takes part


def test_signs_are_drawn() -> None:
    pixels = np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (4, 1, 3))
    generator = np.random.default_rng(0)
    found = [run(Step("TranslateX_BBox", 0.0, 2), pixels, BOXES, generator)[0][0, 100, 0] for _ in range(20)]
    assert {int(value) for value in found} == {50, 150}


def test_pixels_are_rgb_inside_and_bgr_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    policy_of(monkeypatch, Step("Color", 0.0, 0), Step("TranslateX_BBox", 0.0, 4))
    monkeypatch.setattr(autoaugment, "IMAGE_CHANCE", 1.0)
    image = make_image((128, 256), 0, (110, 16, 150, 96))  # whole shares of the size
    image.pixels[:] = (200, 0, 0)  # blue
    found = AutoAugment()(image, np.random.default_rng(0))
    # Blue counts for 0.299: the grey of exchanged weights is 60, of which nine tenths are taken.
    assert {tuple(row) for row in found.pixels.reshape(-1, 3).tolist()} == {(74, 54, 54), (128, 128, 128)}
    assert found.boxes.tolist() in ([[10, 16, 50, 96]], [[210, 16, 250, 96]])
    assert found.boxes.dtype == np.float32


def test_boxes_beyond_the_image_are_cut_and_those_without_a_pixel_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    policy_of(monkeypatch, Step("Flip_Only_BBoxes", 3.0, 10), Step("Equalize_Only_BBoxes", 3.0, 8))
    monkeypatch.setattr(autoaugment, "IMAGE_CHANCE", 1.0)
    image = make_image((20, 30), 100, (-4, 2, 9, 50), (30, 4, 30, 9), (40, 4, 50, 9))
    found = AutoAugment()(image, np.random.default_rng(0))
    assert found.boxes.tolist() == [[0, 2, 9, 20], [30, 4, 30, 9], [30, 4, 30, 9]]
    assert (found.pixels[2:, :10] == 100).all()  # what is of one level stays so
    assert (found.pixels[:2] == 102).all()


def test_images_without_objects_are_left_alone() -> None:
    image = make_image((10, 10), 7)
    assert AutoAugment()(image, np.random.default_rng(0)) is image


def test_the_policy_has_twenty_pairs_that_all_run() -> None:
    assert len(POLICY) == 20
    generator = np.random.default_rng(0)
    for step in {step for pair in POLICY for step in pair}:
        pixels, boxes = run(step, IMAGE, BOXES, generator)
        assert (pixels.shape, str(pixels.dtype), boxes.shape) == (IMAGE.shape, "uint8", BOXES.shape)
        assert (boxes[:, 2:] > boxes[:, :2]).all()
