"""How the pixels of a resized image are made of those of the original: the arithmetic of the source frameworks.

Every zoo but torchvision's resizes with OpenCV, without antialias, but each calls it in another way, and OpenCV
computes differently by type, by call and by build. Other arithmetic gives other pixels, and other pixels give other AP.
What the wheels of `opencv-python` do by their vendor's library alone is written down in torch or numpy
here, so that it is the same on every machine.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from PIL import Image as PillowImage
from torch import Tensor

from zoo.data.size_rules import Resize

Pixels: TypeAlias = npt.NDArray[Any]
"""(H, W, C), uint8, or float32 where they are normalised already."""

Floats: TypeAlias = npt.NDArray[np.float32]


class Resampler(Protocol):
    """Pixels (H, W, C) to pixels of the size of a resize, of the same type."""

    def __call__(self, pixels: Pixels, resize: Resize) -> Pixels: ...


class OpenCvBilinear:
    """Bytes, bilinear in OpenCV's fixed-point arithmetic, by the size (mmdetection, Ultralytics).

    Args:
        area_when_shrinking: images that become smaller are averaged over areas (Ultralytics 8.0).
    """

    def __init__(self, *, area_when_shrinking: bool = False) -> None:
        self.area_when_shrinking = area_when_shrinking

    def __call__(self, pixels: Pixels, resize: Resize) -> Pixels:
        """Pixels (H, W, C) of the resize's size; see `Resampler`."""
        height, width = resize.size
        if (height, width) == pixels.shape[:2]:
            return pixels
        shrinks = self.area_when_shrinking and max(resize.scale) < 1
        return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


class OnDevice:
    """Pixels as they are: the device resizes them after it has normalised them (torchvision); see `Sample`."""

    def __call__(self, pixels: Pixels, resize: Resize) -> Pixels:  # noqa: ARG002
        """The pixels themselves."""
        return pixels


class PillowBilinear:
    """Bytes, bilinear by Pillow: with antialias where the image becomes smaller (detectron2; mmcv's `pillow`)."""

    def __call__(self, pixels: Pixels, resize: Resize) -> Pixels:
        """Pixels (H, W, C) of the resize's size; see `Resampler`."""
        height, width = resize.size
        return np.array(PillowImage.fromarray(pixels).resize((width, height), PillowImage.Resampling.BILINEAR))


class BicubicBytes:
    """Bytes, cubic (Keys, a = -0.75) by the size, borders replicated, halves to even (PaddleDetection from 2.0 on).

    In exact arithmetic, from which OpenCV with Intel's library differs in a few of a million values.
    """

    def __call__(self, pixels: Pixels, resize: Resize) -> Pixels:
        """Pixels (H, W, C) of the resize's size; see `Resampler`."""
        values = F.interpolate(_planes(pixels), resize.size, mode="bicubic", align_corners=False)
        return _pixels(values.round().clamp(0, 255).to(torch.uint8))


class BilinearByFactor:
    """Floats, bilinear, by the factors: pixel i lies at (i + 0.5) / scale - 0.5 (PaddleDetection before 2.0).

    In exact arithmetic, with which OpenCV with Intel's library agrees to 4e-7 of normalised values.
    """

    def __call__(self, pixels: Pixels, resize: Resize) -> Pixels:
        """Pixels (H, W, C) of the resize's size; see `Resampler`."""
        x, y = resize.scale
        values = torch.ops.aten.upsample_bilinear2d(_planes(pixels), list(resize.size), False, y, x)
        return _pixels(values.float())


class OpenCvBilinearByFactor:
    """Floats, bilinear, by the factors, in the float32 arithmetic of OpenCV without Intel's library.

    For faster-rcnn.pytorch, whose known inputs it meets to the bit. Columns are mixed before rows; what lies
    outside takes the border's pixel.
    """

    def __call__(self, pixels: Pixels, resize: Resize) -> Pixels:
        """Pixels (H, W, C) of the resize's size; see `Resampler`."""
        (new_height, new_width), (x, y) = resize.size, resize.scale
        height, width = pixels.shape[:2]
        left, fraction = _positions(new_width, x)
        fraction = np.where((left < 0) | (left >= width - 1), np.float32(0), fraction)[:, None]  # (W', 1)
        left = left.clip(0, width - 1)
        right = (left + 1).clip(0, width - 1)
        rows = pixels[:, left] * (1 - fraction) + pixels[:, right] * fraction  # (H, W', C)
        top, fraction = _positions(new_height, y)
        fraction = fraction[:, None, None]  # (H', 1, 1)
        upper, lower = (rows[(top + i).clip(0, height - 1)] for i in (0, 1))
        resized: Floats = upper * (1 - fraction) + lower * fraction
        return resized


def _positions(length: int, scale: float) -> tuple[npt.NDArray[np.int64], Floats]:
    """For each of `length` pixels the source pixel before it, and how far beyond that it lies (float32)."""
    places = ((np.arange(length) + 0.5) / scale - 0.5).astype(np.float32)
    before = np.floor(places).astype(np.int64)
    return before, (places - before.astype(np.float32)).astype(np.float32)


def _planes(pixels: Pixels) -> Tensor:
    """(H, W, C) to float64 (1, C, H, W)."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].double()


def _pixels(planes: Tensor) -> Pixels:
    """(1, C, H, W) to (H, W, C)."""
    array: Pixels = planes[0].permute(1, 2, 0).contiguous().numpy()
    return array
