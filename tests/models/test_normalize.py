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

CPU = torch.device("cpu")
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def sample(height: int, width: int, device_size: tuple[int, int] | None = None) -> Sample:
    pixels = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Sample(pixels, 0, (height, width), (1.0, 1.0), device_size=device_size)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize(
    ("mean", "std", "divisor", "ops"),
    [(MEAN, STD, None, 3), ((0.0,) * 3, (255.0,) * 3, None, 2), (MEAN, (1.0,) * 3, None, 3), (MEAN, STD, 255.0, 4)],
)
def test_a_kernel_a_step(
    channels: str, mean: Sequence[float], std: Sequence[float], divisor: float | None, ops: int
) -> None:
    normalizer = PixelNormalizer(mean, std, channels, PadToMultiple(32), divisor=divisor)
    exact, narrow = sample(32, 64), sample(32, 60)
    normalizer([exact], CPU)  # makes the constants
    for image, border in ((exact, 0), (narrow, 1)):
        with counted() as work:
            batch = normalizer([image], CPU)
        assert (work.ops, work.waits, work.copies) == (ops + border, 0, 0)
        levels = image.pixels.permute(2, 0, 1)[[2, 1, 0] if channels == "rgb" else [0, 1, 2]].float()
        dtype = torch.float32 if divisor is None else torch.float64
        shares = levels if divisor is None else levels * (1 / divisor)
        centred = (shares.to(dtype) - torch.tensor(mean, dtype=dtype)[:, None, None]).float()
        expected = (centred.to(dtype) / torch.tensor(std, dtype=dtype)[:, None, None]).float()
        height, width = image.size
        assert torch.equal(batch.images[0, :, :height, :width], expected)
        assert not batch.images[0, :, :, width:].any()


def test_resizing_on_the_device() -> None:
    normalizer = TensorNormalizer((0.5,) * 3, (0.25,) * 3, "rgb", PadToMultiple(32))
    image = sample(20, 30, device_size=(30, 45))
    normalizer([image], CPU)
    with counted() as work:
        normalizer([image], CPU)
    assert (work.ops, work.waits, work.copies) == (7, 0, 0)


def test_on_a_gpu_a_batch_is_written_in_its_memory_format() -> None:
    normalizer = PixelNormalizer(MEAN, STD, "rgb", PadToMultiple(32))
    with FakeTensorMode(allow_non_fake_inputs=True):
        images = normalizer([sample(30, 60)], torch.device("cuda"), torch.channels_last).images
        assert images.device.type == "cuda"
        assert images.is_contiguous(memory_format=torch.channels_last)
