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
from zoo.types import Sample

CPU = torch.device("cpu")
LETTERBOX = Preprocess(Letterbox(long=640, stride=32, pad=0.5))


def picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


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
    assert PadToMultiple(32).padded_size((800, 1067)) == (800, 1088)
    assert PadAround(114).padded_size((100, 131)) == (100, 131)
