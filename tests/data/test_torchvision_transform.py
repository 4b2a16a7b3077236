"""torchvision's preprocessing, bit for bit what the installed package does to an image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as F  # noqa: N812 - the field's name for it
from hydra.utils import instantiate
from parity import SHARED, needs_coco
from PIL import Image
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from zoo.config.compose import compose
from zoo.data.images import PillowDecoder, decode
from zoo.data.size_rules import FixedSize, KeepRatio
from zoo.errors import DataError
from zoo.types import Batch

ENTRY = "torchvision_fasterrcnn_resnet50_fpn"
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def protocol(option: str) -> dict[str, Any]:
    found: dict[str, Any] = compose(ENTRY, [f"protocol={option}"])["protocol"]
    return found


def prepared(option: str, images: list[Any], device: torch.device) -> Batch:
    """Images as a protocol brings them to a network."""
    parts = protocol(option)
    transform = instantiate(parts["transform"], _convert_="all")
    normalizer = instantiate(parts["normalize"], _convert_="all")
    batch: Batch = normalizer([transform(image) for image in images], device)
    return batch


def original(option: str) -> GeneralizedRCNNTransform:
    """The installed package's own, with the values of its builders."""
    if option == "torchvision_ssd300":
        mean, std = [0.48235, 0.45882, 0.40784], [1.0 / 255.0] * 3
        return GeneralizedRCNNTransform(300, 300, mean, std, size_divisible=1, fixed_size=(300, 300)).eval()
    if option == "torchvision_ssdlite320":
        return GeneralizedRCNNTransform(320, 320, [0.5] * 3, [0.5] * 3, size_divisible=1, fixed_size=(320, 320)).eval()
    sides = (320, 640) if option == "torchvision_320" else (800, 1333)
    return GeneralizedRCNNTransform(*sides, MEAN, STD).eval()


OPTIONS = ["torchvision", "torchvision_320", "torchvision_ssd300", "torchvision_ssdlite320"]


GPU = (pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"))


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
@pytest.mark.parametrize("option", OPTIONS)
def test_a_batch_is_the_installed_package_s(option: str, device: str) -> None:
    generator = np.random.default_rng(3)
    arrays = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((60, 80), (91, 57))]
    images = [F.convert_image_dtype(F.pil_to_tensor(Image.fromarray(x))).to(device) for x in arrays]
    expected, _ = original(option)(images)
    batch = prepared(option, arrays, torch.device(device))
    if device == "cpu":
        assert torch.equal(batch.images, expected.tensors)
    assert torch.allclose(batch.images, expected.tensors, rtol=1e-5, atol=1e-5)
    assert [geometry.size for geometry in batch.geometries] == expected.image_sizes
    assert [geometry.extent for geometry in batch.geometries] == expected.image_sizes


def test_the_size_is_rounded_down_as_torch_does_for_every_size() -> None:
    rule = KeepRatio(long=1333, short=800, rounding="down")
    generator = np.random.default_rng(0)
    lost = 0
    for height, width in generator.integers(1, 1400, (150, 2)).tolist():
        factor = min(800 / min(height, width), 1333 / max(height, width))
        tensor = torch.zeros(1, 1, 1, 1).expand(1, 1, height, width)
        out = torch.nn.functional.interpolate(
            tensor, scale_factor=factor, mode="bilinear", recompute_scale_factor=True, align_corners=False
        )
        assert rule((height, width)).size == tuple(out.shape[2:]), (height, width)
        lost += 799 in out.shape
    assert lost, "a product below 800 by a rounding error loses a pixel"


def test_a_rounding_has_one_of_two_names() -> None:
    with pytest.raises(ValueError, match="'up' is neither"):
        KeepRatio(long=1333, short=800, rounding="up")  # type: ignore[arg-type] # on purpose


def test_a_fixed_size_knows_no_aspect_ratio() -> None:
    rule = FixedSize(height=300, width=320)
    resize = rule((100, 640))
    assert resize.size == rule.square == (300, 320)
    assert resize.scale == (0.5, 3.0)


@needs_coco
def test_a_photograph_is_decoded_by_pillow() -> None:
    path = min((SHARED / "coco" / "val2017").glob("*.jpg"))
    with Image.open(path) as image:
        assert np.array_equal(decode(path, decoder=PillowDecoder())[:, :, ::-1], np.asarray(image.convert("RGB")))


def test_pillow_does_not_turn_an_image_and_is_named_in_errors(tmp_path: Path) -> None:
    turned = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    Image.new("RGB", (40, 20), "red").save(turned, exif=exif)
    assert decode(turned, decoder=PillowDecoder()).shape == (20, 40, 3)
    assert decode(turned).shape == (40, 20, 3)
    grey = tmp_path / "grey.png"
    Image.fromarray(np.full((4, 5), 7, dtype=np.uint8)).save(grey)
    assert decode(grey, (4, 5), PillowDecoder()).shape == (4, 5, 3)
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(turned.read_bytes()[:-200])
    with pytest.raises(DataError, match="Pillow cannot decode it"):
        decode(damaged, decoder=PillowDecoder())
    damaged.write_bytes(b"no image")
    with pytest.raises(DataError, match="not an image that Pillow can decode"):
        decode(damaged, decoder=PillowDecoder())
