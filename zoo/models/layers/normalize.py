"""The device side of preprocessing: bytes to normalised, zero-padded floats.

Images travel to the device as bytes: a quarter of the traffic, and the arithmetic is done where it
is quick. Padding comes after the normalisation, so the border is exactly zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.types import Batch, ImageGeometry, Sample, Size


class PixelNormalizer(nn.Module):
    """(x - mean) / std per channel in float32, then zero-padding right and bottom.

    Subclasses pad otherwise: `canvas`, `corner` and `fill` say how.

    Args:
        mean: per channel, 0 to 255, in the order the network takes.
        std: per channel, likewise.
        channels: "rgb" or "bgr", the order the network takes; samples arrive as BGR.
        divisor: heights and widths are padded to a multiple of it.
    """

    fill: float = 0.0
    """Value of the padding, normalised."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], channels: str, divisor: int) -> None:
        super().__init__()
        if channels not in ("rgb", "bgr"):
            raise ValueError(f"channels: {channels!r} is neither 'rgb' nor 'bgr'")
        self.mean, self.std = tuple(mean), tuple(std)
        self.swap = channels == "rgb"
        self.divisor = divisor
        self._constants: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def forward(self, samples: Sequence[Sample], device: torch.device) -> Batch:
        """A batch on the device: (N, 3, H, W), as large as the largest sample, rounded up."""
        mean, std = self._on(device)
        canvas = self.canvas(samples)
        images = torch.full((len(samples), 3, *canvas), self.fill, device=device)
        geometries = [self._geometry(sample, canvas) for sample in samples]
        for image, sample, geometry in zip(images, samples, geometries, strict=True):
            pixels = sample.pixels.to(device, non_blocking=True).permute(2, 0, 1)  # (3, h, w)
            (h, w), (left, top) = geometry.size, geometry.offset
            window = image[:, top : top + h, left : left + w]
            window.copy_(pixels.flip(0) if self.swap else pixels)
            window.sub_(mean).div_(std)
        return Batch(images, geometries, [sample.image_id for sample in samples])

    def canvas(self, samples: Sequence[Sample]) -> Size:
        """The size of a batch of these samples."""
        heights, widths = zip(*(sample.pixels.shape[:2] for sample in samples), strict=True)
        return self.padded_size((max(heights), max(widths)))

    def corner(self, canvas: Size, size: Size) -> tuple[int, int]:  # noqa: ARG002 - other corners depend on them
        """(row, column) of the first pixel of an image of this size."""
        return 0, 0

    def padded_size(self, size: Size) -> Size:
        """The size of an image with its padding, where it is alone in its batch."""
        height, width = (-(-side // self.divisor) * self.divisor for side in size)
        return height, width

    def _geometry(self, sample: Sample, canvas: Size) -> ImageGeometry:
        size = (sample.pixels.shape[0], sample.pixels.shape[1])
        top, left = self.corner(canvas, size)
        padded_size = self.padded_size(size)
        return ImageGeometry(size, size, sample.scale, sample.original_size, padded_size, offset=(left, top))

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        # Constants of the protocol, not weights: kept out of the state dict, and never on the meta device.
        if device not in self._constants:
            mean, std = (torch.tensor(v, device=device)[:, None, None] for v in (self.mean, self.std))
            self._constants[device] = (mean, std)
        return self._constants[device]
