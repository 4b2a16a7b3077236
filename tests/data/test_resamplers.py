"""The arithmetic of each resampler: by hand, and against the inputs of the original frameworks."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from parity import SHARED, golden, needs_coco, needs_shared, sample

from zoo.data.images import decode
from zoo.data.preprocess import HostNormalizer, Preprocess
from zoo.data.resamplers import (
    BicubicBytes,
    BilinearByFactor,
    OpenCvBilinear,
    OpenCvBilinearByFactor,
    PillowBilinear,
    Resampler,
)
from zoo.data.size_rules import ByFactor, KeepRatio, Resize, SizeRule
from zoo.models.layers.normalize import PixelNormalizer
from zoo.models.layers.padding import PadToMultiple

IMAGES = ("000000349184", "000000520707")
PADDLE = HostNormalizer([0.406, 0.456, 0.485], [0.225, 0.224, 0.229], divisor=255)
JWYANG = HostNormalizer([102.9801, 115.9465, 122.7717])


def line(*values: float) -> npt.NDArray[np.float32]:
    """Pixels of one row and one channel."""
    return np.array(values, dtype=np.float32)[None, :, None]


@pytest.mark.parametrize("resampler", [BilinearByFactor(), OpenCvBilinearByFactor()])
def test_pixels_lie_where_the_factor_says(resampler: Resampler) -> None:
    # Five pixels by 1.5 are 7.5, rounded to 8: pixel i lies at (i + 0.5) / 1.5 - 0.5, whatever the size is.
    places = np.array([0, 0.5, 7 / 6, 11 / 6, 2.5, 19 / 6, 23 / 6, 4])
    resized = resampler(line(0, 10, 20, 30, 40), Resize((1, 8), (1.5, 1.0)))
    assert resized[0, :, 0] == pytest.approx(places * 10, abs=1e-5)


def test_pillow_looks_at_every_pixel_of_an_image_that_shrinks() -> None:
    pixels = np.zeros((1, 16, 3), dtype=np.uint8)
    pixels[0, 0] = 240
    quarter = Resize((1, 4), (0.25, 1.0))
    # A triangle of 4 pixels to each side of 2, cut at the border: of the first pixel 2.5 of 14 parts.
    assert PillowBilinear()(pixels, quarter)[0, :, 0].tolist() == [43, 0, 0, 0]
    assert OpenCvBilinear()(pixels, quarter)[0, :, 0].tolist() == [0, 0, 0, 0]  # between the second and the third
    assert PillowBilinear()(pixels, Resize((1, 16), (1.0, 1.0))).tolist() == pixels.tolist()


def test_areas_are_averaged_only_where_an_image_shrinks() -> None:
    pixels = np.zeros((1, 16, 3), dtype=np.uint8)
    pixels[0, 0] = 240
    quarter, twice = Resize((1, 4), (0.25, 0.99)), Resize((1, 32), (2.0, 1.0))
    averaging = OpenCvBilinear(area_when_shrinking=True)
    assert averaging(pixels, quarter)[0, :, 0].tolist() == [60, 0, 0, 0]
    assert averaging(pixels, twice).tolist() == OpenCvBilinear()(pixels, twice).tolist()


def test_a_factor_of_one_leaves_the_pixels() -> None:
    pixels = np.random.default_rng(0).standard_normal((5, 7, 3)).astype(np.float32)
    for resampler in (BilinearByFactor(), OpenCvBilinearByFactor()):
        assert np.array_equal(resampler(pixels, Resize((5, 7), (1.0, 1.0))), pixels)


def test_rows_and_columns_have_factors_of_their_own() -> None:
    pixels = np.arange(6, dtype=np.float32).reshape(2, 3, 1)
    for resampler in (BilinearByFactor(), OpenCvBilinearByFactor()):
        assert resampler(pixels, Resize((4, 3), (1.0, 2.0)))[:, 0, 0].tolist() == [0, 0.75, 2.25, 3]


def test_cubic_weights() -> None:
    # Twice as wide: pixel 3 lies at 1.25, between 1 and 2. Keys, a = -0.75, of distances 1.25, 0.25, 0.75, 1.75.
    weights = np.array([-0.10546875, 0.87890625, 0.26171875, -0.03515625])
    pixels = np.array([10, 200, 60, 120], dtype=np.uint8)
    resized = BicubicBytes()(pixels[None, :, None], Resize((1, 8), (2.0, 1.0)))
    assert resized.dtype == np.uint8
    assert resized[0, 3, 0] == round(float(weights @ pixels))


def test_cubic_overshoots_end_at_the_levels_of_bytes() -> None:
    pixels = np.array([0, 0, 255, 255], dtype=np.uint8)
    resized = BicubicBytes()(pixels[None, :, None], Resize((1, 8), (2.0, 1.0)))[0, :, 0]
    assert (resized[2], resized[5]) == (0, 255)


def test_opencv_leaves_an_image_of_the_right_size() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert OpenCvBilinear()(pixels, Resize((5, 7), (1.0, 1.0))) is pixels


def test_halves_go_to_the_even_level() -> None:
    # Half as wide: pixel 1 lies at 2.5, between 2 and 3: 19/32 of their sum less 3/32 of that of 1 and 4.
    for sums, level in ((1, 0), (3, 2), (5, 2)):  # 0.5, 1.5, 2.5
        pixels = np.array([0, sums, sums, 0, 0, 0, 0, 0], dtype=np.uint8)[None, :, None]
        assert BicubicBytes()(pixels, Resize((1, 4), (0.5, 1.0)))[0, 1, 0] == level


def test_opencv_mixes_two_pixels_however_small_the_image_becomes() -> None:
    pixels = np.array([0, 10, 30, 200, 0, 50, 60, 200], dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    resized = OpenCvBilinear()(pixels, Resize((1, 2), (0.25, 1.0)))
    assert resized[0, :, 0].tolist() == [20, 55]  # no antialias: not the mean of four


def test_what_lies_outside_is_the_borders_pixel_to_the_bit() -> None:
    pixels = np.random.default_rng(0).standard_normal((50, 4, 3)).astype(np.float32)
    resized = OpenCvBilinearByFactor()(pixels, Resize((50, 10), (2.5, 1.0)))
    assert np.array_equal(resized[:, 0], pixels[:, 0])
    assert np.array_equal(resized[:, -1], pixels[:, -1])


def network_input(transform: Preprocess, image: str, channels: str, divisor: int) -> torch.Tensor:
    """What the network sees of an image that was normalised on the host."""
    normalizer = PixelNormalizer([0.0] * 3, [1.0] * 3, channels, PadToMultiple(divisor))
    file = SHARED / "coco" / "val2017" / f"{image}.jpg"
    images: torch.Tensor = normalizer([transform(file)], torch.device("cpu")).images
    return images


@needs_shared
@needs_coco
@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize(
    ("case", "rule", "divisor"),
    [
        ("faster_rcnn_r50_1x_coco", ByFactor(800, 1333), 1),
        ("faster_rcnn_r50_fpn_1x_coco", ByFactor(800, 1333), 32),
        ("cascade_rcnn_dcn_r50_vd_fpn_3x_server_side", ByFactor(1000, 1500, round_before_limit=True), 32),
    ],
)
def test_paddles_inputs_normalised_first(case: str, rule: SizeRule, divisor: int, image: str) -> None:
    answers = golden(f"paddle/{case}", f"e2e/{image}")
    found = network_input(Preprocess(rule, BilinearByFactor(), PADDLE), image, "rgb", divisor)
    assert tuple(found.shape) == tuple(answers["input_shape"])
    assert np.abs(sample(found) - answers["input_sample"]).max() <= 5e-7


@needs_shared
@needs_coco
@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize(("group", "short"), [("e2e", 800), ("e2e_600", 600)])
def test_jwyangs_inputs_to_the_bit(group: str, short: int, image: str) -> None:
    answers = golden("jwyang/jwyang_res101", f"{group}/{image}")
    found = network_input(Preprocess(ByFactor(short), OpenCvBilinearByFactor(), JWYANG), image, "bgr", 1)
    assert tuple(found.shape) == tuple(answers["input_shape"])
    assert np.array_equal(sample(found), answers["input_sample"])


@needs_shared
@needs_coco
@pytest.mark.parametrize("image", IMAGES)
def test_paddles_cubic_inputs(image: str) -> None:
    """To the bit, but for the near ties at which OpenCV, with its vendor's library, goes the other way."""
    file = SHARED / "parity" / "paddle" / "samples" / "bicubic_pixels.json"
    ties: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))[image]
    pixels = decode(SHARED / "coco" / "val2017" / f"{image}.jpg")
    resize = KeepRatio(1333, 800)((pixels.shape[0], pixels.shape[1]))
    rgb = BicubicBytes()(pixels, resize)[:, :, ::-1].copy()
    assert list(resize.size) == ties["size"]
    for row, column, channel, opencvs, exact, _ in ties["pixels"]:
        assert rgb[row, column, channel] == exact
        rgb[row, column, channel] = opencvs
    answers = golden("paddle/faster_rcnn_res2net50_vb_26w_4s_fpn_1x_coco", f"e2e/{image}")
    found = np.zeros(tuple(answers["input_shape"]), dtype=np.float32)
    found[0, :, : resize.size[0], : resize.size[1]] = PADDLE(rgb[:, :, ::-1])[:, :, ::-1].transpose(2, 0, 1)
    assert np.abs(sample(torch.from_numpy(found)) - answers["input_sample"]).max() <= 5e-7
