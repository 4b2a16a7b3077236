"""Anchors: worked numbers, order, rounding."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from zoo.models.anchors import CentredAnchors, PixelAnchors, RoundedAnchors, cells_within

CPU = torch.device("cpu")
RATIOS = [0.5, 1.0, 2.0]


def test_centred_anchors_are_not_rounded() -> None:
    base = CentredAnchors(RATIOS, scales=[8]).base(4)
    side = 32 / 2**0.5
    expected = [
        [-32 / 2**0.5, -side / 2, 32 / 2**0.5, side / 2],
        [-16, -16, 16, 16],
        [-side / 2, -side, side / 2, side],
    ]
    assert torch.allclose(base, torch.tensor(expected))


def test_ratios_outside_scales_inside() -> None:
    base = CentredAnchors([0.5, 1.0], scales=[1, 2]).base(16)
    widths = base[:, 2] - base[:, 0]
    assert torch.allclose(widths, torch.tensor([16 * 2**0.5, 32 * 2**0.5, 16, 32]))


def test_scales_outside_ratios_inside() -> None:
    base = CentredAnchors([0.5, 1.0], scales=[1, 2], order="size_major").base(16)
    widths = base[:, 2] - base[:, 0]
    assert torch.allclose(widths, torch.tensor([16 * 2**0.5, 16, 32 * 2**0.5, 32]))


@pytest.mark.parametrize(
    ("stride", "sizes"),
    [
        (4, [(6, 3), (4, 4), (3, 6)]),
        (8, [(11, 6), (8, 8), (6, 12)]),
        (16, [(23, 12), (16, 16), (11, 22)]),
        (32, [(45, 23), (32, 32), (23, 46)]),
        (64, [(91, 46), (64, 64), (45, 90)]),
    ],
)
def test_rounded_anchors_of_a_pyramid(stride: int, sizes: list[tuple[int, int]]) -> None:
    # What PaddleDetection's first zoos have, 8 times as large; they count pixels, so corners are a pixel nearer.
    base = RoundedAnchors(RATIOS, scales=[8], rounding="away").base(stride)
    assert (base[:, 2:] - base[:, :2] + 1).tolist() == [[8.0 * w, 8.0 * h] for w, h in sizes]
    assert bool(((base[:, :2] + base[:, 2:]) / 2 == (stride - 1) / 2).all())


def test_rounding_of_halves() -> None:
    assert RoundedAnchors([0.5], scales=[1], rounding="even").base(32).tolist() == [[-6.5, 5, 37.5, 26]]  # 45 x 22
    assert RoundedAnchors([0.5], scales=[1], rounding="away").base(32).tolist() == [[-6.5, 4.5, 37.5, 26.5]]  # 45 x 23


def test_rounded_anchors_of_one_map() -> None:
    # The first and the last of py-faster-rcnn's list for windows of 16 pixels.
    base = RoundedAnchors(RATIOS, scales=[8, 16, 32], rounding="even").base(16)
    assert base[0].tolist() == [-84, -40, 99, 55]
    assert base[-1].tolist() == [-168, -344, 183, 359]
    by_size = RoundedAnchors(RATIOS, scales=[8, 16, 32], rounding="even", order="size_major").base(16)
    assert torch.equal(by_size, base.view(3, 3, 4).transpose(0, 1).reshape(9, 4))


def test_unknown_rules() -> None:
    with pytest.raises(ValueError, match="rounding: 'up'"):
        RoundedAnchors(RATIOS, scales=[8], rounding="up")  # type: ignore[arg-type] # on purpose
    with pytest.raises(ValueError, match="order: 'random'"):
        CentredAnchors(RATIOS, scales=[8], order="random")  # type: ignore[arg-type] # on purpose


def test_grid_walks_along_rows_first() -> None:
    grid = CentredAnchors([1.0], scales=[1]).boxes([(2, 3)], [4], CPU)
    centres = (grid[:, :2] + grid[:, 2:]) / 2
    assert centres.tolist() == [[0, 0], [4, 0], [8, 0], [0, 4], [4, 4], [8, 4]]


def test_grids_of_other_strides_are_others() -> None:
    anchors = CentredAnchors([1.0], scales=[1])
    assert [float(anchors.boxes([(1, 2)], [stride], CPU)[1, 2]) for stride in (4, 8)] == [6, 12]


def test_grid_exists_when_built_on_the_meta_device() -> None:
    with torch.device("meta"):
        anchors = CentredAnchors([1.0], scales=[8])
        grid = anchors.boxes([(1, 1)], [4], CPU)
    assert grid.tolist() == [[-16, -16, 16, 16]]


def test_anchors_of_one_level_follow_those_of_another_and_are_made_once() -> None:
    anchors, cells, strides = CentredAnchors(RATIOS, scales=[8]), [(4, 6), (2, 3)], [4, 8]
    with torch.inference_mode():
        boxes = anchors.boxes(cells, strides, CPU)
    assert anchors.boxes(cells, strides, CPU) is boxes
    assert not boxes.is_inference()  # it may be trained with
    levels = [anchors.boxes([size], [stride], CPU) for size, stride in zip(cells, strides, strict=True)]
    assert [len(level) for level in levels] == [72, 18]
    assert torch.equal(torch.cat(levels), boxes)


def test_the_grids_used_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.models.anchors.MOST_ANCHORS", 7)
    anchors = CentredAnchors([1.0], scales=[1])
    first, second = (anchors.boxes([(1, width)], [4], CPU) for width in (3, 4))
    assert anchors.boxes([(1, 3)], [4], CPU) is first
    assert len(anchors.boxes([(1, 2)], [4], CPU)) == 2  # with which there are too many: the second goes
    assert anchors.boxes([(1, 3)], [4], CPU) is first
    assert anchors.boxes([(1, 4)], [4], CPU) is not second
    assert len(anchors.boxes([(2, 9)], [4], CPU)) == 18  # more than are kept, and the one that is asked for
    assert anchors.boxes([(1, 3)], [4], CPU) is not first


def test_cells_within_a_size_begin_before_its_end() -> None:
    within = cells_within([(3, 4), (1, 1)], [8, 16], (17, 16), CPU)
    assert within.tolist() == [True, True, False, False] * 3 + [True]


def torchvision_anchors(
    sizes: Sequence[Sequence[int]], ratios: Sequence[float], shape: tuple[int, int], cells: Sequence[tuple[int, int]]
) -> torch.Tensor:
    """What torchvision's own generator lays over maps of an input of this shape."""
    generator = AnchorGenerator(tuple(sizes), (tuple(ratios),) * len(sizes))
    images = ImageList(torch.zeros(1, 3, *shape), [shape])
    anchors: torch.Tensor = generator(images, [torch.zeros(1, 1, *size) for size in cells])[0]
    return anchors


@pytest.mark.parametrize(
    ("sizes", "ratios", "strides", "shape", "cells"),
    [
        # Strides of 121 and 114 on the coarsest level, of 60 and 61 before it.
        (
            [[8], [16], [32], [64], [128]],
            [1.0],
            [8, 16, 32, 64, 128],
            (608, 800),
            [(76, 100), (38, 50), (19, 25), (10, 13), (5, 7)],
        ),
        ([[32, 40, 50], [64, 80, 101]], RATIOS, [16, 32], (96, 160), [(6, 10), (3, 5)]),
        ([[32, 64, 128, 256, 512]] * 3, RATIOS, [32, 32, 64], (96, 160), [(3, 5), (3, 5), (2, 3)]),
    ],
)
def test_pixel_anchors_are_torchvisions(
    sizes: list[list[int]],
    ratios: list[float],
    strides: list[int],
    shape: tuple[int, int],
    cells: list[tuple[int, int]],
) -> None:
    anchors = PixelAnchors(sizes, ratios)
    assert anchors.per_cell == len(sizes[0]) * len(ratios)
    assert torch.equal(anchors.boxes(cells, strides, CPU), torchvision_anchors(sizes, ratios, shape, cells))


def test_pixel_anchors_want_sizes_for_each_level() -> None:
    with pytest.raises(ValueError, match="as many as the others"):
        PixelAnchors([[8], [16, 32]], [1.0])
    with pytest.raises(ValueError, match="2 levels have some, and the pyramid has 1"):
        PixelAnchors([[8], [16]], [1.0]).boxes([(1, 1)], [8], CPU)
