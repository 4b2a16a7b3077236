"""Image geometries made up for tests."""

from __future__ import annotations

import torch

from zoo.types import Batch, ImageGeometry, Size


def geometry(size: Size, scale: tuple[float, float] = (1.0, 1.0), padded_size: Size | None = None) -> ImageGeometry:
    """Of an image in the top left corner of its input, clipped to its size, without padding unless it is given."""
    original = (round(size[0] / scale[1]), round(size[1] / scale[0]))
    return ImageGeometry(size, size, scale, original, padded_size or size)


def batch_of(*geometries: ImageGeometry) -> Batch:
    """A batch of such images, of which nobody looks at the pixels."""
    return Batch(torch.zeros(len(geometries), 3, 1, 1), list(geometries), list(range(len(geometries))))
