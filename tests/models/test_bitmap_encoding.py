"""Bitmaps encoded where they are: against pycocotools, in one go and in many, and what the host waits for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from device_work import counted
from pycocotools import mask as coco_mask
from torch import Tensor

from zoo.models import bitmap_encoding
from zoo.models.bitmap_encoding import encode_bitmaps
from zoo.types import Rle, Size

CPU = torch.device("cpu")


def by_pycocotools(masks: Tensor) -> list[Rle]:
    """Masks (D, W, H)."""
    encoded: Any = coco_mask.encode(np.asfortranarray(masks.permute(2, 1, 0).byte().numpy()))
    return [Rle(size=rle["size"], counts=rle["counts"].decode("ascii")) for rle in encoded]


def encode(masks: Tensor) -> list[Rle]:
    return encode_bitmaps(lambda part: masks[part], len(masks), (masks.shape[2], masks.shape[1]), CPU)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (7, 1), (2, 2), (23, 17)])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95, 1.0])
def test_strings_are_pycocotools(size: Size, share: float) -> None:
    masks = torch.rand(300, *size[::-1], generator=torch.Generator().manual_seed(0)) < share
    assert encode(masks) == by_pycocotools(masks)


@pytest.mark.parametrize("size", [(700, 749), (725, 724)], ids=["four characters", "five characters"])
def test_numbers_as_long_as_an_image_has_pixels(size: Size) -> None:
    masks = torch.zeros(4, *size[::-1], dtype=torch.bool)
    masks[1, 0, 0] = masks[1, -1, -1] = True
    masks[2, 300:310, 5] = True
    masks[3] = True
    assert encode(masks) == by_pycocotools(masks)


def test_masks_made_and_searched_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = torch.rand(11, 9, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    monkeypatch.setattr(bitmap_encoding, "_PIXELS_AT_A_TIME", 2 * 72)
    monkeypatch.setattr(bitmap_encoding, "_CHANGES_AT_A_TIME", 5 * 73)
    asked: list[slice] = []

    def bitmaps(part: slice) -> Tensor:
        asked.append(part)
        return masks[part]

    assert encode_bitmaps(bitmaps, 11, (8, 9), CPU) == by_pycocotools(masks)
    assert [(part.start, part.stop) for part in asked] == [(0, 2), (2, 4), (4, 5), (5, 7), (7, 9), (9, 10), (10, 11)]
    asked.clear()
    assert encode_bitmaps(bitmaps, 11, (8, 9), CPU, work=1000) == by_pycocotools(masks)
    assert len(asked) == 11


def test_the_host_waits_for_the_number_of_runs_and_for_the_text() -> None:
    masks = torch.rand(300, 20, 30, generator=torch.Generator().manual_seed(0)) < 0.5
    with counted() as work:
        encode(masks)
    assert work.waits == 2
    assert work.copies == 0
    assert work.ops <= 80


def test_no_masks_no_encodings() -> None:
    with counted() as work:
        assert encode(torch.zeros(0, 3, 3, dtype=torch.bool)) == []
    assert work.waits == 0
