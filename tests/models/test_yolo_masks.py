"""YOLOv8's masks by both methods, on the host and as on a device, against whole masks by torch and OpenCV."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from device_work import counted
from pycocotools import mask as coco_mask
from torch import Tensor

from zoo.data.size_rules import letterbox_offset
from zoo.models.heads.yolo_mask_edges import MARGIN
from zoo.models.heads.yolo_mask_maps import encode_on_device
from zoo.models.heads.yolo_mask_resize import MaskResize, ResizeAxis, RoundedResize, TruncatedResize
from zoo.models.heads.yolo_mask_windows import encode_on_host
from zoo.models.heads.yolo_masks import MaskMethod, PrototypeMasks
from zoo.types import FeatureSpec, ImageGeometry, Rle, Size

INPUT, SIZE = (64, 96), (53, 90)
RULES: dict[MaskMethod, MaskResize] = {"logits": TruncatedResize(), "probabilities": RoundedResize()}


def place(size: Size, original_size: Size) -> ImageGeometry:
    top, left = letterbox_offset(INPUT, size)
    return ImageGeometry(size, size, (1.0, 1.0), original_size, INPUT, offset=(left, top))


def both_ways(
    coefficients: Tensor, prototypes: Tensor, boxes: Tensor, placed: ImageGeometry, method: MaskMethod
) -> list[list[Rle]]:
    """On the host, and as on a device."""
    sigmoid, resize = method == "probabilities", RULES[method]
    ways = (encode_on_host, encode_on_device)
    return [way(coefficients, prototypes, boxes, placed, sigmoid=sigmoid, resize=resize) for way in ways]


def encode(masks: npt.NDArray[np.uint8]) -> list[Rle]:
    encoded: Any = coco_mask.encode(np.asfortranarray(masks.transpose(1, 2, 0)))
    return [Rle(size=rle["size"], counts=rle["counts"].decode("ascii")) for rle in encoded]


def the_plain_way(sums: Tensor, boxes: Tensor, placed: ImageGeometry, method: MaskMethod) -> npt.NDArray[np.uint8]:
    """Every mask on the whole input, by torch and OpenCV."""
    grids = sums.sigmoid() if method == "probabilities" else sums
    values = F.interpolate(grids[None], INPUT, mode="bilinear", align_corners=False)[0]
    rows, columns = torch.arange(INPUT[0])[None, :, None], torch.arange(INPUT[1])[None, None, :]
    x1, y1, x2, y2 = (boxes[:, i, None, None] for i in range(4))
    inside = (columns >= x1) & (columns < x2) & (rows >= y1) & (rows < y2)
    masks = (values > (0.5 if method == "probabilities" else 0)) & inside
    (left, top), (height, width), original_size = placed.offset, placed.size, placed.original_size
    masks = masks[:, top : top + height, left : left + width]
    if placed.size == original_size:
        return masks.numpy().astype(np.uint8)
    if method == "logits":
        return F.interpolate(masks.float()[None], original_size, mode="bilinear")[0].to(torch.uint8).numpy()
    return np.stack([cv2.resize(mask.numpy().astype(np.uint8), original_size[::-1]) for mask in masks])


def drawn(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients, prototypes, and boxes of which some lie across or beyond the input's edges."""
    generator = torch.Generator().manual_seed(0)
    coefficients, prototypes = torch.randn(count, 4, generator=generator), torch.randn(4, 16, 24, generator=generator)
    corners = torch.rand(count, 2, 2, generator=generator) * torch.tensor([110.0, 80.0]) - 8
    boxes = torch.cat((corners.amin(1), corners.amax(1)), dim=1)
    hostile = [
        [-5.0, -5, 200, 200],  # all of it
        [20, 10, 20, 30],  # no area
        [90, 60, 95, 63],  # in the border
        [-50, 10, -20, 30],  # beyond the left edge
        [10, 200, 30, 250],  # below
        [40, 30, 30, 20],  # inside out
        [20.2, 20.2, 20.9, 40],  # between two columns of pixels
        [3, 5, 4, 6],  # one pixel
    ]
    boxes[: len(hostile)] = torch.tensor(hostile)
    return coefficients, prototypes, boxes


@pytest.mark.parametrize("method", ["logits", "probabilities"])
@pytest.mark.parametrize("original_size", [SIZE, (48, 84), (106, 180), (67, 91), (1, 1), (7, 300)])
def test_masks_are_those_of_the_plain_way(method: MaskMethod, original_size: Size) -> None:
    coefficients, prototypes, boxes = drawn(300 if original_size == SIZE else 40)
    placed = place(SIZE, original_size)
    sums = torch.einsum("dc,chw->dhw", coefficients, prototypes)
    expected = the_plain_way(sums, boxes, placed, method)
    on_host, on_device = both_ways(coefficients, prototypes, boxes, placed, method)
    assert on_host == encode(expected)
    assert on_device == on_host
    assert original_size == (1, 1) or expected.any(axis=(1, 2)).sum() > 25


@pytest.mark.parametrize("method", ["logits", "probabilities"])
@pytest.mark.parametrize("size", [(1, 1), (64, 1), (1, 96)], ids=["one pixel", "one column", "one row"])
@pytest.mark.parametrize("enlarged", [False, True])
def test_images_of_a_pixel_across(method: MaskMethod, size: Size, enlarged: bool) -> None:
    coefficients, prototypes, boxes = drawn(12)
    placed = place(size, (3 * size[0], 2 * size[1]) if enlarged else size)
    boxes = boxes.index_fill(0, torch.arange(8, 12), 0) + torch.tensor([0.0, 0, 1, 1]) * (boxes[:, :1] == 0) * 100
    expected = the_plain_way(torch.einsum("dc,chw->dhw", coefficients, prototypes), boxes, placed, method)
    on_host, on_device = both_ways(coefficients, prototypes, boxes, placed, method)
    assert on_host == on_device == encode(expected)
    assert expected.any()


@pytest.mark.parametrize("method", ["logits", "probabilities"])
def test_pixels_at_the_threshold_lie_as_the_definition_has_them(method: MaskMethod) -> None:
    generator = torch.Generator().manual_seed(0)
    prototypes = torch.randn(1, 16, 24, generator=generator) * 1e-7  # of which float32 tells 0.5 hardly apart
    prototypes[0, 8, 12] = 1.0
    boxes = torch.tensor([[0.0, 0, 96, 64]])
    grid = prototypes[0].sigmoid() if method == "probabilities" else prototypes[0]
    on_host, _ = both_ways(torch.ones(1, 1), prototypes, boxes, place(INPUT, INPUT), method)
    foreground = interpolated(grid.numpy()) > (0.5 if method == "probabilities" else 0)
    assert on_host == encode(foreground[None].astype(np.uint8))
    assert 0.05 < foreground.mean() < 0.6


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_no_rounding_moves_a_mean_over_the_threshold(threshold: float) -> None:
    """Of four equal cells: all that interpolates grows with each cell, so that these stand for any cells."""
    at = np.full((3, 3), threshold, dtype=np.float32)
    assert not (interpolated(at, (12, 12)) > threshold).any()
    assert (interpolated(np.nextafter(at, np.float32(1)), (12, 12)) > threshold).all()


def test_sums_beyond_the_margin_have_a_sigmoid_well_on_their_side() -> None:
    sums = torch.tensor([-MARGIN, MARGIN]).repeat(16)  # some by vectors, some not
    below, above = (sums[:21].sigmoid().double() - 0.5).aminmax()
    assert below < -1.5e-7
    assert above > 1.5e-7


def interpolated(grid: npt.NDArray[np.float32], size: Size = INPUT) -> npt.NDArray[np.float32]:
    """A grid on the input, bilinear in float32: along first, each product rounded, then each sum."""
    (y0, y1, y), (x0, x1, x) = (axis(*sides) for sides in zip(size, grid.shape, strict=True))
    lines = grid[y0] * (1 - y)[:, None] + grid[y1] * y[:, None]
    return np.asarray(lines[:, x0] * (1 - x) + lines[:, x1] * x, dtype=np.float32)


def axis(length: int, source: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Of every pixel the two cells it lies between, and the weight of the second."""
    places = ((np.arange(length) + 0.5) / 4 - 0.5).clip(min=0)
    low = places.astype(np.int64)
    return low, np.minimum(low + 1, source - 1), (places - low).astype(np.float32)


def resized(mask: npt.NDArray[np.bool_], size: Size, rule: MaskResize) -> npt.NDArray[np.bool_]:
    """A whole mask by a rule, across first."""
    rows, columns = (rule.axis(*sides) for sides in zip(size, mask.shape, strict=True))

    def lines(x: Any, axis: ResizeAxis) -> tuple[Any, Any]:
        return x[axis.low], x[axis.high]

    across = rule.across(*lines(mask.T.astype(np.uint8), columns), *(table[:, None] for table in columns.across))
    along = rule.along(*lines(across.T, rows), *(table[:, None] for table in rows.along))
    return np.asarray(along, dtype=np.bool_)


@pytest.mark.parametrize(
    ("size", "other"),
    [((427, 640), (333, 500)), ((640, 428), (640, 427)), ((48, 64), (96, 128)), ((96, 64), (48, 32)), ((1, 5), (9, 1))],
)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_rules_of_resizing_are_torchs_and_opencvs_to_the_bit(size: Size, other: Size, share: float) -> None:
    mask = np.random.default_rng(0).random(size) < share
    by_torch = F.interpolate(torch.from_numpy(mask)[None, None].float(), other, mode="bilinear")[0, 0]
    assert np.array_equal(resized(mask, other, TruncatedResize()), by_torch.to(torch.uint8).numpy().astype(np.bool_))
    by_opencv = cv2.resize(mask.astype(np.uint8), other[::-1], interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(resized(mask, other, RoundedResize()), by_opencv.astype(np.bool_))


@pytest.mark.parametrize(("original_size", "ops"), [(SIZE, 95), ((67, 91), 120)])
@pytest.mark.parametrize("method", ["logits", "probabilities"])
def test_a_device_is_waited_for_twice(method: MaskMethod, original_size: Size, ops: int) -> None:
    tensors = drawn(40)
    with counted() as work:
        encode_on_device(*tensors, place(SIZE, original_size), sigmoid=method == "probabilities", resize=RULES[method])
    assert work.waits == 2  # for the number of runs, and for the text
    assert work.ops <= ops


@pytest.mark.parametrize("method", ["logits", "probabilities"])
@pytest.mark.parametrize("original_size", [SIZE, (67, 91)])
def test_masks_without_foreground(method: MaskMethod, original_size: Size) -> None:
    _, prototypes, boxes = drawn(8)
    on_host, on_device = both_ways(torch.zeros(8, 4), prototypes, boxes, place(SIZE, original_size), method)
    assert on_host == on_device == encode(np.zeros((8, *original_size), dtype=np.uint8))


def test_nothing_found_nothing_pasted() -> None:
    branch = PrototypeMasks([FeatureSpec(8, stride) for stride in (8, 16, 32)], count=4)
    _, prototypes, boxes = drawn(8)
    with counted() as work:
        assert branch.paste(torch.zeros(0, 4), prototypes, boxes[:0], place(SIZE, SIZE)) == []
    assert work.waits == 0
