"""RoIAlign's own ways give torchvision's values and gradients, whatever the regions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align as torchvision_roi_align

from zoo.models.layers.roi_align import CHUNK, axis_weights, roi_align

STRIDE = 4


def regions(number: int, height: int, width: int) -> Tensor:
    """Of all sizes, some beyond the map on every side, in two images."""
    generator = torch.Generator().manual_seed(0)
    corners = (torch.rand(number, 2, generator=generator, dtype=torch.float64) * 1.4 - 0.2) * torch.tensor(
        [width, height]
    )
    sides = torch.rand(number, 2, generator=generator, dtype=torch.float64) ** 3 * torch.tensor([width, height])
    image = torch.randint(2, (number, 1), generator=generator).double()
    return torch.cat((image, corners, corners + sides), dim=1)


@pytest.mark.parametrize("size", [7, 14])
@pytest.mark.parametrize("extra", ["", "without extent", "none"])
@pytest.mark.parametrize(("aligned", "ratio"), [(True, 0), (False, 0), (False, 2), (True, 2)])
def test_gradients_are_torchvisions(size: int, extra: str, aligned: bool, ratio: int) -> None:
    torch.manual_seed(0)
    feature = torch.randn(2, 3, 25, 38, dtype=torch.float64)
    rois = regions(0 if extra == "none" else 60, 25 * STRIDE, 38 * STRIDE)
    if extra == "without extent":
        rois[:5, 3] = rois[:5, 1]
    weights = torch.randn(len(rois), 3, size, size, dtype=torch.float64)
    own, its = (feature.clone().requires_grad_() for _ in range(2))
    pooled = roi_align(own, rois, size, STRIDE, aligned, ratio)
    expected = torchvision_roi_align(its, rois, size, 1 / STRIDE, sampling_ratio=ratio, aligned=aligned)
    assert torch.equal(pooled, expected)
    (pooled * weights).sum().backward()  # type: ignore[no-untyped-call] # torch's own
    (expected * weights).sum().backward()
    assert own.grad is not None
    assert its.grad is not None
    torch.testing.assert_close(own.grad, its.grad, rtol=1e-10, atol=1e-10)


def test_weights_of_an_axis_in_numbers() -> None:
    # Two bins of 1.5 cells from cell 1: samples at 1.375 and 2.125, 2.875 and 3.625.
    (weights,) = axis_weights(torch.tensor([1.0]), torch.tensor([4.0]), 2, 5)
    expected = [[0.0, 0.3125, 0.625, 0.0625, 0.0], [0.0, 0.0, 0.0625, 0.625, 0.3125]]
    # 1.375 gives 0.625 to cell 1 and 0.375 to cell 2; 2.125 gives 0.875 and 0.125 to cells 2 and 3; half each
    torch.testing.assert_close(weights, torch.tensor(expected))


@pytest.mark.parametrize("size", [7, 14])
@pytest.mark.parametrize("extra", ["", "without extent", "none"])
@pytest.mark.parametrize(("aligned", "ratio"), [(True, 0), (False, 0), (False, 2), (True, 2)])
def test_a_channels_last_map_gives_torchvisions_values(size: int, extra: str, aligned: bool, ratio: int) -> None:
    torch.manual_seed(0)
    feature = torch.randn(2, 3, 25, 38, dtype=torch.float64)
    rois = regions(0 if extra == "none" else CHUNK + 20, 25 * STRIDE, 38 * STRIDE)
    if extra == "without extent":
        rois[:5, 3] = rois[:5, 1]
    expected = torchvision_roi_align(feature, rois, size, 1 / STRIDE, sampling_ratio=ratio, aligned=aligned)
    pooled = roi_align(feature.to(memory_format=torch.channels_last), rois, size, STRIDE, aligned, ratio)
    torch.testing.assert_close(pooled, expected, rtol=1e-12, atol=1e-12)
    assert pooled.permute(0, 2, 3, 1).is_contiguous()


def test_a_channels_last_map_is_sampled_where_torchvision_samples() -> None:
    # In float32 too: a sample a rounding error away would be off by more than sums in another order are.
    torch.manual_seed(0)
    feature, rois = torch.randn(1, 4, 100, 152), regions(100, 400, 608).float()
    rois[:, 0] = 0
    last = feature.to(memory_format=torch.channels_last)
    expected = torchvision_roi_align(feature, rois, 7, 1 / STRIDE, aligned=True)
    torch.testing.assert_close(roi_align(last, rois, 7, STRIDE), expected, rtol=0, atol=1e-6)
    part = roi_align(last[:, :, ::2], rois, 7, STRIDE)
    torch.testing.assert_close(part, roi_align(feature[:, :, ::2], rois, 7, STRIDE), rtol=0, atol=1e-6)


def test_a_region_that_is_no_number_leaves_the_others_alone() -> None:
    feature = torch.randn(1, 4, 9, 7).to(memory_format=torch.channels_last)
    rois = torch.tensor([[0, 1.0, 2, 20, 25], [0, float("nan"), 0, float("nan"), 9]])
    pooled = roi_align(feature, rois, 3, STRIDE)
    assert torch.equal(pooled[:1], roi_align(feature, rois[:1], 3, STRIDE))
    assert not pooled[1].any()  # as of a region without extent
