"""Host-side preprocessing, bit-exact with the source frameworks: OpenCV decodes and resizes.

Every framework whose numbers are reproduced here decodes JPEG and resizes bytes with OpenCV,
bilinear without antialias. Other libraries give other pixels, and other pixels give other AP.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from zoo.errors import DataError
from zoo.types import Image, Sample, Size


def decode(path: Path) -> np.ndarray:
    """An image file as uint8 (H, W, 3), BGR, turned as its EXIF orientation says.

    Raises:
        DataError: no such file, or no image in it.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such image", next_step="check the path, or the folder given as data.root")
    pixels = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    if pixels is None:
        raise DataError(f"{path}: not an image that OpenCV can decode", next_step="replace the damaged file")
    return pixels


def as_bgr(image: Image) -> np.ndarray:
    """A path or an RGB array as uint8 (H, W, 3), BGR.

    Raises:
        DataError: the file is no image.
        ValueError: the array is not uint8 (H, W, 3).
    """
    if not isinstance(image, np.ndarray):
        return decode(Path(image))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected a uint8 array (H, W, 3) in RGB, got {image.dtype} {image.shape}")
    return np.ascontiguousarray(image[:, :, ::-1])


class ResizeKeepRatio:
    """Scale an image so that it just fits a long and a short side (mmdetection's `Resize`, keep_ratio).

    Sizes are rounded to the nearest pixel, and the two scale factors are taken from the rounded
    sizes, so that they differ by a little.

    Args:
        long: largest length of the longer side, in pixels.
        short: largest length of the shorter side, in pixels.
    """

    def __init__(self, long: int, short: int) -> None:
        self.long = long
        self.short = short

    def size(self, height: int, width: int) -> tuple[int, int]:
        """The resized (height, width)."""
        factor = min(self.long / max(height, width), self.short / min(height, width))
        return int(height * factor + 0.5), int(width * factor + 0.5)

    def __call__(self, image: Image, image_id: int = 0) -> Sample:
        """A file or an RGB array, decoded and resized."""
        return resized(image, image_id, self.size)


def resized(image: Image, image_id: int, size: Callable[[int, int], Size]) -> Sample:
    """A file or an RGB array as a sample: decoded, and resized to what a rule makes of its (height, width)."""
    pixels = as_bgr(image)
    height, width = pixels.shape[:2]
    new_height, new_width = size(height, width)
    if (new_height, new_width) != (height, width):
        pixels = cv2.resize(pixels, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    return Sample(
        pixels=torch.from_numpy(pixels),
        image_id=image_id,
        original_size=(height, width),
        scale=(new_width / width, new_height / height),
    )
