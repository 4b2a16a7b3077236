"""Instance masks: from a head's small grids to COCO's run-length encoding, and from bitmaps to a head's targets.

Legend: D detections and G ground-truth objects of one image, R regions, S side of a head's grid (28).
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision.ops import roi_align

from zoo.types import Rle, Size

THRESHOLD = 0.5
"""Probability from which a pixel is foreground."""

MARGIN = 1
"""Pixels around a box that are sampled too: interpolation lets a mask reach half a cell beyond it."""


def paste(probabilities: Tensor, boxes: Tensor, size: Size) -> list[Rle]:
    """Masks on their boxes, as COCO's run-length encodings of the whole image.

    A pixel is foreground where the grid, stretched over the box and bilinearly interpolated at the
    pixel's centre, zero outside, reaches THRESHOLD. Only the window of each box is sampled and only
    its runs are encoded: many times quicker than an image a mask, with the same result. A box
    without area has an empty mask.

    Args:
        probabilities: (D, S, S), in [0, 1], on any device; the work is done on the CPU.
        boxes: (D, 4), in pixels of the image.
        size: of the image.
    """
    corners = boxes.detach().float().cpu()
    grids = probabilities.detach().float().cpu()
    columns, left, right = _along(corners[:, 0::2], size[1])
    rows, top, bottom = _along(corners[:, 1::2], size[0])
    masks = []
    for grid, x, y, x1, x2, y1, y2 in zip(grids, columns, rows, left, right, top, bottom, strict=True):
        values = _sample(grid, x[x1:x2], y[y1:y2])  # (h, w)
        masks.append(encode_window((values >= THRESHOLD).numpy(), (y1, x1), size))
    return masks


def _along(intervals: Tensor, length: int) -> tuple[Tensor, list[int], list[int]]:
    """One axis of all boxes.

    Args:
        intervals: (D, 2), where each box begins and ends.
        length: pixels of the image.

    Returns:
        Where each pixel centre lies in each box, (D, length), -1 and 1 being its edges; and the first
        and past-the-last pixel of each window, equal for a box without extent.
    """
    begin, end = intervals[:, :1], intervals[:, 1:]  # (D, 1)
    places = (torch.arange(length) + 0.5 - begin) / (end - begin) * 2 - 1
    first = (begin.floor() - MARGIN).clamp(0, length)
    last = torch.where(end > begin, (end.ceil() + MARGIN).clamp(0, length), first)
    return places, first[:, 0].int().tolist(), last[:, 0].int().tolist()


def _sample(grid: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Values (h, w) of a grid (S, S) at columns x (w,) and rows y (h,)."""
    places = x.new_empty((len(y), len(x), 2))
    places[..., 0] = x
    places[..., 1] = y[:, None]
    return F.grid_sample(grid[None, None], places[None], align_corners=False)[0, 0]


def encode_window(window: npt.NDArray[np.bool_], corner: tuple[int, int], size: Size) -> Rle:
    """The run-length encoding of an image that is background but for a window of it.

    Args:
        window: (h, w), foreground; wholly inside the image.
        corner: (row, column) of its first pixel.
        size: of the image.
    """
    height, width = size
    rows, columns = window.shape
    # COCO's runs go down the columns: these are laid out one after another, a background pixel before each.
    flat = np.zeros(columns * (rows + 1) + 1, dtype=np.bool_)
    flat[1:].reshape(columns, rows + 1)[:, :rows] = window.T
    edges = np.flatnonzero(flat[1:] != flat[:-1])  # (E,), where runs begin and, past their end, stop
    edges += edges // (rows + 1) * (height - rows - 1) + corner[1] * height + corner[0]
    if rows == height:
        # A run that stops at the foot of one column and begins at the head of the next is one run.
        joined = edges[1:] == edges[:-1]
        lasting = np.ones(len(edges), dtype=np.bool_)
        lasting[1:][joined] = lasting[:-1][joined] = False
        edges = edges[lasting]
    ends = edges if len(edges) and edges[-1] == height * width else np.append(edges, height * width)
    runs = {"size": [height, width], "counts": np.diff(ends, prepend=0).tolist()}
    encoded = cast(dict[str, Any], coco_mask.frPyObjects(cast(Any, runs), height, width))
    return Rle(size=[height, width], counts=encoded["counts"].decode("ascii"))


def crop(masks: Tensor, regions: Tensor, owners: Tensor, side: int) -> Tensor:
    """What a mask head is to answer for regions: the masks of their objects, cut out and scaled.

    RoIAlign with half-pixel centres and as many samples a cell as it has pixels, then a threshold.

    Args:
        masks: uint8 (G, H, W), 1 on the object.
        regions: (R, 4), in pixels of the masks; cut to their area.
        owners: int64 (R,), the object of each region.
        side: S, of the answer.

    Returns:
        float (R, S, S), 0 or 1.
    """
    height, width = masks.shape[1:]
    limits = regions.new_tensor([width, height, width, height])
    corners = torch.minimum(regions.clamp(min=0), limits)
    rois = torch.cat((owners[:, None].to(corners.dtype), corners), dim=1)  # (R, 5)
    cut: Tensor = roi_align(masks[:, None].to(corners.dtype), rois, side, sampling_ratio=0, aligned=True)
    return (cut[:, 0] >= THRESHOLD).to(corners.dtype)  # (R, 1, S, S) -> (R, S, S)
