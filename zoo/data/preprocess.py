"""Host-side preprocessing, bit-exact with the source frameworks: decode, resize, and what comes in between.

A protocol says it as values: a size rule, a resampler, and a normalisation where the source takes it
before the resize. What comes after the resize is done on the device (zoo/models/layers/normalize.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch

from zoo.data.resamplers import Floats, OpenCvBilinear, Pixels, Resampler
from zoo.data.size_rules import SizeRule
from zoo.errors import DataError
from zoo.types import Image, Sample


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


class HostNormalizer:
    """(x / divisor - mean) / std before the resize: the division in float32, the rest in float64, each rounded.

    Args:
        mean: one value a channel in BGR order, in units of x / divisor.
        std: one value a channel, likewise.
        divisor: 255 brings bytes to [0, 1].
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float] = (1.0, 1.0, 1.0), divisor: float = 1.0) -> None:
        self.mean, self.std = np.array(mean, dtype=np.float64), np.array(std, dtype=np.float64)
        self.divisor = np.float32(divisor)

    def __call__(self, pixels: Pixels) -> Floats:
        """Bytes (H, W, 3), BGR, to float32."""
        shares = pixels.astype(np.float32) / self.divisor
        centred = (shares - self.mean).astype(np.float32)
        normalized: Floats = (centred / self.std).astype(np.float32)
        return normalized


class Preprocess:
    """A file or an RGB array to a sample: decoded, normalised where that comes first, resized.

    Args:
        size_rule: what size an image is resized to, and what shape its batch has.
        resampler: the arithmetic of the resize; OpenCV's on bytes where nothing is said.
        normalizer: what is done to the decoded pixels before the resize; None leaves them bytes, which are
            normalised after it, on the device.
    """

    def __init__(
        self, size_rule: SizeRule, resampler: Resampler | None = None, normalizer: HostNormalizer | None = None
    ) -> None:
        self.size_rule = size_rule
        self.resampler = resampler or OpenCvBilinear()
        self.normalizer = normalizer

    def __call__(self, image: Image, image_id: int = 0) -> Sample:
        """The sample of an image; its batch shape is that of a batch of its own.

        Raises:
            DataError: the file is missing or is no image.
        """
        pixels = as_bgr(image)
        size = (pixels.shape[0], pixels.shape[1])
        resize = self.size_rule(size)
        if self.normalizer is not None:
            pixels = self.normalizer(pixels)
        return Sample(
            pixels=torch.from_numpy(self.resampler(pixels, resize)),
            image_id=image_id,
            original_size=size,
            scale=resize.scale,
            batch_shape=self.size_rule.batch_shape([size]),
        )
