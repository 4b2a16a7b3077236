"""Host-side preprocessing, bit-exact with the source frameworks: decode, resize, and what comes in between.

A protocol says it as values: a decoder, a size rule, a resampler, and a normalisation where the source takes it
before the resize. What comes after the resize is done on the device (zoo/models/layers/normalize.py), and so is the
resize itself where the resampler leaves it to the device.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from zoo.data.images import OPENCV, Decoder, as_bgr, reason
from zoo.data.resamplers import Floats, OnDevice, OpenCvBilinear, Pixels, Resampler
from zoo.data.size_rules import Resize, SizeRule
from zoo.errors import DataError
from zoo.types import Image, Sample, Size


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


class ResizeError(ValueError):
    """An image is too thin to be resized: nothing would be left of it."""


class Preprocess:
    """A file or an RGB array to a sample: decoded, normalised where that comes first, resized.

    Args:
        size_rule: what size an image is resized to, and what shape its batch has.
        resampler: the arithmetic of the resize; OpenCV's on bytes where nothing is said.
        normalizer: what is done to the decoded pixels before the resize; None leaves them bytes, which are
            normalised after it, on the device.
        decoder: the library that decodes files; OpenCV where nothing is said.
    """

    def __init__(
        self,
        size_rule: SizeRule,
        resampler: Resampler | None = None,
        normalizer: HostNormalizer | None = None,
        decoder: Decoder = OPENCV,
    ) -> None:
        self.size_rule = size_rule
        self.resampler = resampler or OpenCvBilinear()
        self.normalizer = normalizer
        self.decoder = decoder

    def resize(self, pixels: Pixels, resize: Resize) -> Pixels:
        """Decoded pixels (H, W, 3), BGR, resized, and normalised before that where the protocol does so.

        Raises:
            ResizeError: a side of the result has no pixel.
            cv2.error: OpenCV cannot do it.
        """
        if min(resize.size) < 1:
            raise ResizeError("a side without a pixel")
        return self.resampler(pixels if self.normalizer is None else self.normalizer(pixels), resize)

    def __call__(self, image: Image, image_id: int = 0, size: Size | None = None) -> Sample:
        """The sample of an image; its batch shape is that of a batch of its own.

        Args:
            image: a path, or an array (H, W, 3), uint8, RGB.
            image_id: the data set's id.
            size: (height, width) that its annotations were made for; None where there are none.

        Raises:
            DataError: the file is missing, is no image or one of another size, or is too thin to be resized.
        """
        pixels = as_bgr(image, size, self.decoder)
        found = (pixels.shape[0], pixels.shape[1])
        resize = self.size_rule(found)
        try:
            resized = self.resize(pixels, resize)
        except (cv2.error, ResizeError) as error:
            name = f"the image of id {image_id}" if isinstance(image, np.ndarray) else str(image)
            message = f"{name}: {found[1]} x {found[0]} pixels cannot be resized to {resize.size[1]} x {resize.size[0]}"
            next_step = "leave the image out: the original cannot take it either"
            raise DataError(f"{message} ({reason(error)})", next_step=next_step) from None
        return Sample(
            pixels=torch.from_numpy(resized),
            image_id=image_id,
            original_size=found,
            scale=resize.scale,
            batch_shape=self.size_rule.batch_shape([found]),
            device_size=resize.size if isinstance(self.resampler, OnDevice) else None,
        )
