"""Masks on a pretended GPU: nothing is mixed with the host's, and the first to be waited for are the runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from zoo.data.rle import number_codes
from zoo.models.bitmap_encoding import _packed
from zoo.models.heads.yolo_masks import MaskMethod, PrototypeMasks
from zoo.models.mask_grids import MaskGrid, ResizedMaskGrid, SampledMaskGrid
from zoo.types import FeatureSpec, ImageGeometry, Rle, Size


@pytest.fixture(autouse=True)
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)  # which asks for a real one


def assert_waits_for_runs(encode: Callable[[], list[Rle]]) -> None:
    """It goes as far as to the number of runs, which nobody can pretend."""
    with pytest.raises(DynamicOutputShapeException, match=r"aten\.nonzero"):
        encode()


@pytest.mark.parametrize("method", ["logits", "probabilities"])
@pytest.mark.parametrize("original_size", [(60, 96), (33, 50)], ids=["same size", "resized"])
def test_yolo(method: MaskMethod, original_size: Size) -> None:
    branch = PrototypeMasks([FeatureSpec(8, stride) for stride in (8, 16, 32)], count=4, method=method)
    placed = ImageGeometry((60, 96), (60, 96), (1.0, 1.0), original_size, (64, 96), offset=(0, 2))
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        coefficients, prototypes, boxes = torch.randn(5, 4), torch.randn(4, 16, 24), torch.rand(5, 4)
        assert_waits_for_runs(lambda: branch.paste(coefficients, prototypes, boxes, placed))


@pytest.mark.parametrize("grid", [SampledMaskGrid(), ResizedMaskGrid()])
def test_grids(grid: MaskGrid) -> None:
    with FakeTensorMode(), torch.device("cuda"):
        probabilities, boxes = torch.rand(5, 28, 28), torch.rand(5, 4)
        assert_waits_for_runs(lambda: grid.paste(probabilities, boxes, (60, 80)))


@pytest.mark.parametrize("pixels", [100, 1 << 20])
def test_codes_of_runs(pixels: int) -> None:
    with FakeTensorMode(), torch.device("cuda"):
        text = _packed(number_codes(torch.arange(50), pixels))
    assert text.device.type == "cuda"
    assert text.dtype == torch.uint8
