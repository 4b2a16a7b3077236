"""Instance masks: from a head's small grids to COCO's run-length encoding, and from bitmaps or polygons to a head's
targets.

Legend: D detections and G ground-truth objects of one image, R regions, S side of a head's grid (28), L vertices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor
from torchvision.ops import roi_align

from zoo.data.rle import Bits, decode, encode_windows, from_segmentation
from zoo.models.bitmap_encoding import encode_bitmaps
from zoo.models.boxes import EXCLUSIVE
from zoo.types import Rle, Size

THRESHOLD = 0.5
"""Probability from which a pixel is foreground."""

MARGIN = 1
"""Pixels around a box that are sampled too: interpolation lets a mask reach half a cell beyond it."""

MIN_SIDE = 0.1
"""Shortest side, in pixels, of a region that polygons are stretched by."""

ROUNDING = np.float32(1e-6)
"""More than two ways to interpolate differ by in float32. Pixels so close to the threshold are looked at twice."""

Floats: TypeAlias = npt.NDArray[np.float32]


def paste(probabilities: Tensor, boxes: Tensor, size: Size) -> list[Rle]:
    """Masks on their boxes, as COCO's run-length encodings of the whole image.

    A pixel is foreground where the grid, stretched over the box and bilinearly interpolated at the
    pixel's centre, zero outside, reaches THRESHOLD: `grid_sample` without aligned corners. On a CPU
    only the window of each box is sampled, a matrix product an axis, and only its runs are encoded:
    many times quicker than an image a mask, with the same result. A box without area has an empty mask.

    Args:
        probabilities: (D, S, S), in [0, 1].
        boxes: (D, 4), in pixels of the image.
        size: of the image.
    """
    if boxes.device.type != "cpu":
        return _paste_on_device(probabilities.detach().float(), boxes.detach().float(), size)
    corners = boxes.detach().float().numpy()
    grids = probabilities.detach().float().numpy()
    x = _along(corners[:, 0::2], size[1], grids.shape[-1])
    y = _along(corners[:, 1::2], size[0], grids.shape[-1])
    buffer = np.empty(size[0] * size[1], dtype=np.float32)  # a new one for each mask costs as much as what fills it
    windows = (_foreground(grid, x.of(i), y.of(i), buffer) for i, grid in enumerate(grids))
    return encode_windows(windows, list(zip(y.first, x.first, strict=True)), size)


def _paste_on_device(grids: Tensor, boxes: Tensor, size: Size) -> list[Rle]:
    """The definition of `paste`, on whole images: on a GPU that is quicker than windows of many sizes.

    Args:
        grids: (D, S, S).
        boxes: (D, 4).
        size: of the image.
    """
    begins, sides = boxes[:, None, :2], (boxes[:, 2:] - boxes[:, :2])[:, None]  # (D, 1, 2)
    has_area = (sides > 0).all(dim=2)[:, :, None]  # (D, 1, 1)
    sides = sides.masked_fill(~has_area, 1)
    centres = (torch.arange(side, dtype=torch.float32, device=boxes.device) + 0.5 for side in size[::-1])
    x, y = (
        (centre - begins[..., i]) / sides[..., i] * 2 - 1 for i, centre in enumerate(centres)
    )  # (D, W) and (D, H), -1 and 1 being the edges of the box

    def bitmaps(part: slice) -> Tensor:
        few_x, few_y = x[part, :, None].expand(-1, -1, size[0]), y[part, None].expand(-1, size[1], -1)
        places = torch.stack((few_x, few_y), dim=3)  # (n, W, H, 2)
        values = F.grid_sample(grids[part, None], places, align_corners=False)[:, 0]
        return (values >= THRESHOLD).logical_and_(has_area[part])

    work = 3 * size[0] * size[1]  # two coordinates and a value a pixel
    return encode_bitmaps(bitmaps, len(boxes), size, boxes.device, work)


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of the windows of all boxes.

    Attributes:
        first: the first pixel of each window.
        bounds: where the pixels of each window begin in the two below, one after another, and the last ones end.
        places: (T,), where each pixel's centre lies in its box, -1 and 1 being the edges.
        weights: (T, S), of the grid's cells in each pixel.
    """

    first: list[int]
    bounds: list[int]
    places: Floats
    weights: Floats

    def of(self, box: int) -> tuple[Floats, Floats]:
        """Places (t,) and weights (t, S) of one window."""
        window = slice(self.bounds[box], self.bounds[box + 1])
        return self.places[window], self.weights[window]


def _along(intervals: Floats, length: int, side: int) -> _Axis:
    """One axis of all windows; that of a box without extent has no pixels.

    Args:
        intervals: (D, 2), where each box begins and ends.
        length: pixels of the image.
        side: cells of the grid.
    """
    begin, end = intervals.T
    first = (np.floor(begin) - MARGIN).clip(0, length).astype(np.int64)
    last = np.where(end > begin, (np.ceil(end) + MARGIN).clip(0, length), first).astype(np.int64)
    counts = last - first
    stops = counts.cumsum()
    pixels = np.arange(counts.sum()) + (first - stops + counts).repeat(counts)  # (T,)
    places = (pixels.astype(np.float32) + 0.5 - begin.repeat(counts)) / (end - begin).repeat(counts) * 2 - 1
    cells = ((places + 1) * side - 1) / 2
    weights = cells[:, None] - np.arange(side, dtype=np.float32)  # (T, S); in place from here on: it is large
    np.abs(weights, out=weights)
    np.subtract(1, weights, out=weights)
    np.maximum(weights, 0, out=weights)
    return _Axis(first.tolist(), [0, *stops.tolist()], places, weights)


def _foreground(grid: Floats, x: tuple[Floats, Floats], y: tuple[Floats, Floats], buffer: Floats) -> Bits:
    """The window (h, w) of one mask, laid out in columns.

    Args:
        grid: (S, S).
        x: places (w,) and weights (w, S) of the columns.
        y: places (h,) and weights (h, S) of the rows.
        buffer: for as many values as the image has pixels.
    """
    width, height = len(x[0]), len(y[0])
    values = np.matmul(x[1] @ grid.T, y[1].T, out=buffer[: width * height].reshape(width, height))
    likely, certain = values >= THRESHOLD - ROUNDING, values >= THRESHOLD + ROUNDING
    if np.count_nonzero(likely) != np.count_nonzero(certain):
        columns, rows = (likely & ~certain).nonzero()
        places = torch.from_numpy(np.stack((x[0][columns], y[0][rows]), axis=1))
        exact = F.grid_sample(torch.from_numpy(grid)[None, None], places[None, None], align_corners=False)
        likely[columns, rows] = (exact[0, 0, 0] >= THRESHOLD).numpy()
    return likely.T


def crop(masks: Tensor, regions: Tensor, matched_gt_inds: Tensor, side: int) -> Tensor:
    """What a mask head is to answer for regions: the masks of their objects, cut out and scaled.

    RoIAlign with half-pixel centres and as many samples a cell as it has pixels, then a threshold.

    Args:
        masks: uint8 (G, H, W), 1 on the object.
        regions: (R, 4), in pixels of the masks; cut to their area.
        matched_gt_inds: int64 (R,), the object of each region.
        side: S, of the answer.

    Returns:
        float (R, S, S), 0 or 1.
    """
    corners = EXCLUSIVE.clip(regions, (masks.shape[1], masks.shape[2]))
    rois = torch.cat((matched_gt_inds[:, None].to(corners.dtype), corners), dim=1)  # (R, 5)
    cut: Tensor = roi_align(masks[:, None].to(corners.dtype), rois, side, sampling_ratio=0, aligned=True)
    return (cut[:, 0] >= THRESHOLD).to(corners.dtype)  # (R, 1, S, S) -> (R, S, S)


def rasterize(polygons: Sequence[Sequence[Tensor]], regions: Tensor, matched_gt_inds: Tensor, side: int) -> Tensor:
    """What a mask head is to answer for regions: the polygons of their objects, cut out, scaled and rasterised.

    By the rule of pycocotools, on the CPU, as PaddleDetection and detectron2 have it.

    Args:
        polygons: of each object (G) its polygons, (L, 2) each, x and y in the pixels of the regions.
        regions: (R, 4).
        matched_gt_inds: int64 (R,), the object of each region.
        side: S, of the answer.

    Returns:
        float (R, S, S), 0 or 1, where the regions are.
    """
    corners = regions.double().cpu()
    scales = side / (corners[:, 2:] - corners[:, :2]).clamp(min=MIN_SIDE)  # (R, 2)
    grids = np.empty((len(regions), side, side), dtype=np.uint8)
    for grid, corner, scale, owner in zip(grids, corners[:, :2], scales, matched_gt_inds.tolist(), strict=True):
        segmentation = [((points - corner) * scale).ravel().tolist() for points in polygons[owner]]
        grid[:] = decode(from_segmentation(segmentation, (side, side)))
    return torch.from_numpy(grids).to(regions)
