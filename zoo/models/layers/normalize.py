"""The device side of preprocessing: pixels as the host resized them to a normalised, padded batch.

Images travel to the device as bytes: a quarter of the traffic, and the arithmetic is done where it
is quick.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from zoo.models.layers.padding import Padding
from zoo.types import Batch, ImageGeometry, Sample, Size

ExtentRule = Literal["size", "scaled", "padded"]
"""What boxes in input pixels are clipped to: the resized image; the original one times its factors, which need not be
whole; or the image with the padding that it has alone in its batch."""


class PixelNormalizer(nn.Module):
    """(x - mean) / std per channel in float32, with a border around it.

    With a divisor it is (x * (1 / divisor) - mean) / std as numpy has it where mean and std are float64: each step is
    rounded to float32, but computed in float64 (PaddleDetection).

    Args:
        mean: one value a channel, 0 to 255, or such a value by the divisor, in the order the network takes.
        std: one value a channel, likewise.
        channels: "rgb" or "bgr", the order the network takes; samples arrive as BGR.
        padding: the border.
        extent: what boxes in input pixels are clipped to.
        divisor: 255 brings bytes to [0, 1]; None leaves them as they are.
        training_extent: what they are clipped to in training; None: the same.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        channels: str,
        padding: Padding,
        extent: ExtentRule = "size",
        divisor: float | None = None,
        training_extent: ExtentRule | None = None,
    ) -> None:
        super().__init__()
        for name, rule in (("extent", extent), ("training_extent", training_extent or extent)):
            if rule not in get_args(ExtentRule):
                raise ValueError(f"{name}: {rule!r} is none of {', '.join(get_args(ExtentRule))}")
        if channels not in ("rgb", "bgr"):
            raise ValueError(f"channels: {channels!r} is neither 'rgb' nor 'bgr'")
        self.mean, self.std = tuple(mean), tuple(std)
        self.swap = channels == "rgb"
        self.padding = padding
        self.extent = extent
        self.training_extent = training_extent or extent
        self.divisor = divisor
        self._constants: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}

    def forward(
        self,
        samples: Sequence[Sample],
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> Batch:
        """A batch on the device: (N, 3, H, W), H and W as the padding says.

        Args:
            samples: in pinned memory, if the host is not to wait until they are on the device.
            device: where the batch is to be.
            memory_format: of the images; left to the caller on a CPU, where writing it costs more than to convert it.
        """
        mean, std, border = self._on(device)
        batch_shape = self.padding.batch_shape(samples)
        geometries = [self._geometry(sample, batch_shape) for sample in samples]
        kept = torch.contiguous_format if device.type == "cpu" else memory_format
        shape = (len(samples), len(self.mean), *batch_shape)
        images = torch.empty(shape, dtype=torch.float32, device=device, memory_format=kept)
        if any(geometry.size != batch_shape for geometry in geometries):
            images.copy_(border)
        for image, sample, geometry in zip(images, samples, geometries, strict=True):
            pixels = sample.pixels.to(device, non_blocking=True)  # (h, w, 3)
            planes = torch.stack(pixels.unbind(2)[:: -1 if self.swap else 1])
            (h, w), (left, top) = geometry.size, geometry.offset
            self._fill(image[:, top : top + h, left : left + w], planes, mean, std)
        return Batch(images, geometries, [sample.image_id for sample in samples])

    def _fill(self, window: Tensor, planes: Tensor, mean: Tensor, std: Tensor) -> None:
        """Write planes (3, h, w), in the network's order, normalised, into their place in the batch, of the same shape.

        Every operator that is not needed is left out: on a GPU each is a kernel more to wait for.
        """
        if planes.device.type == "cpu":  # which converts bytes faster in a pass of its own
            planes = window.copy_(planes)
        if self.divisor is not None:
            planes = planes * (1 / self.divisor)
        if any(self.mean):
            planes = torch.sub(planes, mean, out=window)
        if any(value != 1 for value in self.std):
            torch.div(planes, std, out=window)
        elif planes is not window:
            window.copy_(planes)

    def _geometry(self, sample: Sample, batch_shape: Size) -> ImageGeometry:
        size = sample.size
        top, left = self.padding.offset(batch_shape, size)
        padded_size = self.padding.padded_size(sample)
        (height, width), (x, y) = sample.original_size, sample.scale
        extents = {"size": size, "scaled": (height * y, width * x), "padded": padded_size}
        extent = extents[self.training_extent if self.training else self.extent]
        return ImageGeometry(size, extent, sample.scale, sample.original_size, padded_size, offset=(left, top))

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, std and border, (3, 1, 1) each."""
        # Constants of the protocol, not weights: kept out of the state dict, and never on the meta device.
        if device not in self._constants:
            # of float32 and float64 operators compute in float64 and round to float32
            dtype = torch.float32 if self.divisor is None else torch.float64
            mean, std = (torch.tensor(v, dtype=dtype, device=device)[:, None, None] for v in (self.mean, self.std))
            fill = self.padding.fill
            border = torch.zeros_like(mean) if fill is None else (fill / (self.divisor or 1) - mean) / std
            border = border.float()
            self._constants[device] = (mean, std, border)
        return self._constants[device]


class TensorNormalizer(PixelNormalizer):
    """(x / 255 - mean) / std in float32, and only then bilinear to the size in the input, without antialias.

    As torchvision's detectors have it, which take images in [0, 1]: what is resized is normalised already. Zeros
    around it.

    Args:
        mean: one value a channel, in [0, 1], in the order the network takes.
        std: one value a channel, likewise.
        channels: "rgb" or "bgr", the order the network takes; samples arrive as BGR.
        padding: the border.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], channels: str, padding: Padding) -> None:
        super().__init__(mean, std, channels, padding)

    def _fill(self, window: Tensor, planes: Tensor, mean: Tensor, std: Tensor) -> None:
        """Write planes (3, h, w), in the network's order, normalised and resized, into their place (3, h', w')."""
        shares = torch.div(planes, 255).sub_(mean).div_(std)
        window.copy_(F.interpolate(shares[None], window.shape[1:], mode="bilinear", align_corners=False)[0])
