"""What the device does for an image before the network: few kernels, no wait, the bits of one step after another."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from device_work import counted
from torch._subclasses.fake_tensor import FakeTensorMode

from zoo.models.layers.normalize import PixelNormalizer, TensorNormalizer
from zoo.models.layers.padding import PadToMultiple
from zoo.types import Sample

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def sample(height: int, width: int, device_size: tuple[int, int] | None = None) -> Sample:
    pixels = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Sample(pixels, 0, (height, width), (1.0, 1.0), device_size=device_size)


WAYS: list[tuple[Sequence[float], Sequence[float], float | None]] = [
    (MEAN, STD, None),
    ((0.0,) * 3, (255.0,) * 3, None),
    (MEAN, (1.0,) * 3, None),
    ((0.0,) * 3, (1.0,) * 3, None),
    (MEAN, STD, 255.0),
]


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize(("mean", "std", "divisor"), WAYS)
def test_one_step_after_another(
    channels: str, mean: Sequence[float], std: Sequence[float], divisor: float | None
) -> None:
    normalizer = PixelNormalizer(mean, std, channels, PadToMultiple(32), divisor=divisor)
    for image in (sample(32, 64), sample(30, 60)):
        levels = image.pixels.permute(2, 0, 1)[[2, 1, 0] if channels == "rgb" else [0, 1, 2]].float()
        dtype = torch.float32 if divisor is None else torch.float64
        shares = levels if divisor is None else levels * (1 / divisor)
        centred = (shares.to(dtype) - torch.tensor(mean, dtype=dtype)[:, None, None]).float()
        expected = (centred.to(dtype) / torch.tensor(std, dtype=dtype)[:, None, None]).float()
        (found,) = normalizer([image], CPU).images
        height, width = image.size
        assert torch.equal(found[:, :height, :width], expected)
        assert not found[:, height:].any()
        assert not found[:, :, width:].any()


@pytest.mark.parametrize(
    ("normalizer", "ops"),
    [
        *(
            (PixelNormalizer(*way[:2], "rgb", PadToMultiple(32), divisor=way[2]), n)
            for way, n in zip(WAYS, [4, 3, 3, 3, 5], strict=True)
        ),
        (TensorNormalizer((0.5,) * 3, (0.25,) * 3, "rgb", PadToMultiple(32)), 7),
    ],
)
def test_kernels_of_a_gpu(normalizer: PixelNormalizer, ops: int) -> None:
    """The copy, one a step, and one for the border where there is one; they write in the batch's memory format."""
    resized = isinstance(normalizer, TensorNormalizer)
    for image, border in ((sample(32, 64), 0), (sample(30, 60), 1)):
        image.device_size = image.size if resized else None
        with FakeTensorMode(allow_non_fake_inputs=True):
            normalizer([image], CUDA, torch.channels_last)  # makes the constants
            with counted() as work:
                images = normalizer([image], CUDA, torch.channels_last).images
        assert (work.ops, work.waits, work.copies) == (ops + border, 0, 0), work.kernels
        assert images.device.type == "cuda"
        assert images.is_contiguous(memory_format=torch.channels_last)
