"""Random crops of 640 x 640 pixels, step by step as mmdetection's own transforms made them of real images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from mmdet_cases import classes, composed
from parity import SHARED, needs_coco, needs_shared
from parity import sample as sampled
from torch import Tensor

from zoo.data.augment import mmdet
from zoo.data.augment.operations import RandomCrop
from zoo.data.augment.source import LabeledImages
from zoo.data.coco import CocoGroundTruth
from zoo.data.size_rules import KeepRatio
from zoo.models.layers.normalize import PixelNormalizer
from zoo.models.layers.padding import PadToMultiple
from zoo.types import Sample

pytestmark = [needs_shared, needs_coco]

CASE = "faster_rcnn_r50_fpg_crop640_50e_coco"
FILE = SHARED / "parity" / "mmdet" / "extra" / "train_pipeline__crop640.npz"
SIDE = 640
ANSWERS = dict(np.load(FILE)) if FILE.is_file() else {}
DRAWS = sorted({key.split("/")[1] for key in ANSWERS if key.endswith("/crop_offset")})


class Fixed:
    """Stands for a generator: gives the numbers of a list, each below the bound it was asked for."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)

    def integers(self, high: int) -> int:
        number = self.numbers.pop(0)
        assert 0 <= number < high
        return number


@pytest.fixture(scope="module")
def images() -> LabeledImages:
    truth = CocoGroundTruth.load(SHARED / "coco" / "annotations" / "instances_train2017.json")
    files = [SHARED / "coco" / "train2017" / name for name in truth.file_names]
    return LabeledImages(truth.with_categories(classes(CASE)), files, mmdet.LABELS)


@pytest.mark.parametrize("draw", DRAWS)
def test_a_crop(draw: str, images: LabeledImages) -> None:
    answers = {key.split("/", 2)[2]: value for key, value in ANSWERS.items() if key.startswith(f"crop640/{draw}/")}
    image = images.load(int(np.flatnonzero(images.image_ids == int(answers["image_id"]))[0]))
    if "kept" in answers:
        image = image.select(np.isin(np.arange(len(image.labels)), answers["kept"]))
    long, short = answers["scale"].tolist()
    view = image.resize(KeepRatio(long, short)(image.size).size).clip()
    assert view.size == tuple(answers["resized"])
    view = RandomCrop(SIDE)(view, Fixed(*answers["crop_offset"].tolist()))  # type: ignore[arg-type]
    assert view.size == tuple(answers["crop_size"])
    view = view.hflip() if answers["flip"] else view
    assert view.labels.tolist() == answers["labels"].tolist()
    assert view.boxes == pytest.approx(answers["boxes"], abs=1e-3)
    pixels = torch.from_numpy(np.ascontiguousarray(view.pixels))
    assert_same(pixels.permute(2, 0, 1), answers, "image", 0)
    batch = normalizer()([Sample(pixels, 0, view.size, (1.0, 1.0), (SIDE, SIDE))], torch.device("cpu"))
    assert_same(batch.images, answers, "input", 1e-6)
    assert batch.geometries[0].padded_size == (SIDE, SIDE)


def normalizer() -> PixelNormalizer:
    """That of the case."""
    settings = composed(CASE)["protocol"]["normalize"]
    padding = PadToMultiple(settings["padding"]["divisor"])
    return PixelNormalizer(settings["mean"], settings["std"], settings["channels"], padding)


def assert_same(values: Tensor, answers: dict[str, npt.NDArray[Any]], name: str, tolerance: float) -> None:
    """The shape, the mean and the spread of what the original made, and 256 of its values."""
    assert list(values.shape) == answers[f"{name}/shape"].tolist()
    values = values.double()
    stats = [values.mean(), values.std(correction=0), values.min(), values.max()]
    assert [float(value) for value in stats] == pytest.approx(answers[f"{name}/stats"].tolist(), rel=1e-5, abs=1e-5)
    assert np.abs(sampled(values) - answers[f"{name}/sample"]).max() <= tolerance
