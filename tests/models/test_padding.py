"""Borders of a batch: where images lie, what surrounds them, and what cannot share a batch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from zoo.data.preprocess import Preprocess
from zoo.data.size_rules import Letterbox
from zoo.errors import DataError
from zoo.models.layers.normalize import PixelNormalizer
from zoo.models.layers.padding import PadAround, PadToMultiple
from zoo.types import Sample, Size

CPU = torch.device("cpu")
LETTERBOX = Preprocess(Letterbox(long=640, stride=32, pad=0.5))


def picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def blank(height: int, width: int, batch_shape: Size | None = None) -> Sample:
    pixels = torch.zeros(height, width, 3, dtype=torch.uint8)
    return Sample(pixels, 0, (height, width), (1.0, 1.0), batch_shape=batch_shape)


def shares() -> PixelNormalizer:
    """Bytes / 255 in a grey border."""
    return PixelNormalizer([0.0] * 3, [255.0] * 3, "rgb", PadAround(fill=114))


def test_an_image_lies_in_the_middle_of_grey() -> None:
    image = picture(100, 131)
    bgr = torch.from_numpy(image[:, :, ::-1].copy())
    made = Sample(bgr, 0, (100, 131), (1.0, 1.0), batch_shape=(111, 140))
    batch = shares()([made], CPU)
    inside = batch.images[0, :, 5:105, 4:135]  # the odd pixel below and at the right
    assert torch.equal(inside, torch.from_numpy(image).permute(2, 0, 1).float() / 255)
    border = torch.ones(111, 140, dtype=torch.bool)
    border[5:105, 4:135] = False
    assert torch.equal(batch.images[0][:, border].unique(), torch.tensor([114.0]) / 255)


def test_a_border_of_a_level_is_normalised_as_the_pixels_are() -> None:
    normalizer = PixelNormalizer([10.0, 20.0, 30.0], [2.0, 4.0, 5.0], "bgr", PadAround(fill=40))
    made = Sample(torch.full((1, 1, 3), 40, dtype=torch.uint8), 0, (1, 1), (1.0, 1.0), batch_shape=(3, 3))
    images = normalizer([made], CPU).images
    assert torch.equal(images, images[:, :, :1, :1].expand_as(images))
    assert images[0, :, 0, 0].tolist() == [15, 5, 2]


def test_a_batch_has_one_shape() -> None:
    lone = LETTERBOX(picture(30, 40))
    other = LETTERBOX(picture(40, 30), image_id=1)
    with pytest.raises(ValueError, match="one and the same batch shape"):
        shares()([lone, other], CPU)
    with pytest.raises(ValueError, match="one and the same batch shape"):
        shares()([Sample(lone.pixels, 0, (30, 40), (1.0, 1.0))], CPU)
    other.batch_shape = lone.batch_shape
    with pytest.raises(DataError, match="images 0, 1"):  # a height and a width exchanged in the annotations
        shares()([lone, other], CPU)


def test_an_image_alone_is_padded_to_the_multiple() -> None:
    assert PadToMultiple(32).padded_size(blank(800, 1067)) == (800, 1088)
    assert PadAround(114).padded_size(blank(100, 131, batch_shape=(128, 160))) == (128, 160)


def test_a_planned_shape_is_that_of_the_batch_and_of_each_image() -> None:
    """Crops are padded to their whole square, so that anchors over the padding are trained on as background."""
    normalizer = PixelNormalizer([0.0] * 3, [1.0] * 3, "bgr", PadToMultiple(32))
    batch = normalizer([blank(60, 90, batch_shape=(128, 128)), blank(100, 40, batch_shape=(128, 128))], CPU)
    assert batch.input_shape == (128, 128)
    assert [geometry.padded_size for geometry in batch.geometries] == [(128, 128), (128, 128)]
    assert [geometry.extent for geometry in batch.geometries] == [(60, 90), (100, 40)]
    unplanned = normalizer([blank(60, 90), blank(100, 40)], CPU)
    assert unplanned.input_shape == (128, 96)
    assert [geometry.padded_size for geometry in unplanned.geometries] == [(64, 96), (128, 64)]
    with pytest.raises(DataError, match="do not fit"):
        normalizer([blank(60, 129, batch_shape=(128, 128))], CPU)
    with pytest.raises(ValueError, match="one and the same batch shape"):
        normalizer([blank(60, 90, batch_shape=(128, 128)), blank(60, 90)], CPU)
    assert PadToMultiple(64).batch_shape([blank(60, 90, batch_shape=(100, 100))]) == (128, 128)
