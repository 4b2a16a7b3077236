"""Image geometries made up for tests."""

from __future__ import annotations

from zoo.types import ImageGeometry, Size


def geometry(size: Size, scale: tuple[float, float] = (1.0, 1.0)) -> ImageGeometry:
    """Of an image in the top left corner of its input, clipped to its size."""
    original = (round(size[0] / scale[1]), round(size[1] / scale[0]))
    return ImageGeometry(size=size, extent=size, scale=scale, original_size=original)
