"""How a head's small grid of mask values lies on its box: when it is pasted, and when its targets are cut out.

Legend: D detections and G ground-truth objects of one image, P regions of one image, S side of a grid (28).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor
from torchvision.ops import roi_align

from zoo.data.rle import encode_windows
from zoo.models import masks
from zoo.models.bitmap_encoding import encode_bitmaps
from zoo.types import Rle, Size, Target

BORDER = 1
"""Cells of nothing around a grid that is resized, so that a mask can end inside its outermost cells."""


class MaskGrid(Protocol):
    """A rule for grids on boxes, in both directions."""

    def paste(self, probabilities: Tensor, boxes: Tensor, size: Size) -> list[Rle]:
        """Masks of the whole image.

        Args:
            probabilities: (D, S, S), in [0, 1].
            boxes: (D, 4), in pixels of the image.
            size: of the image.
        """
        ...

    def targets(self, target: Target, regions: Tensor, matched_gt_inds: Tensor, side: int) -> Tensor:
        """What a mask head is to answer for regions, float (P, S, S).

        Args:
            target: with masks, of one image.
            regions: (P, 4), in pixels of the masks.
            matched_gt_inds: int64 (P,), the object of each region.
            side: S.

        Raises:
            ValueError: the target has none of the masks that the rule cuts.
        """
        ...


class SampledMaskGrid:
    """The grid is sampled at the middle of each pixel, and targets are 0 or 1 (mmdetection, detectron2)."""

    def paste(self, probabilities: Tensor, boxes: Tensor, size: Size) -> list[Rle]:
        """See `MaskGrid` and `zoo.models.masks.paste`."""
        return masks.paste(probabilities, boxes, size)

    def targets(self, target: Target, regions: Tensor, matched_gt_inds: Tensor, side: int) -> Tensor:
        """From bitmaps or from polygons; see `MaskGrid`."""
        if target.polygons is not None:
            return masks.rasterize(target.polygons, regions, matched_gt_inds, side)
        return masks.crop(_bitmaps(target), regions, matched_gt_inds, side)


class ResizedMaskGrid:
    """The grid is resized to the pixels of its box, whose corners are pixels, and targets are any share of a cell.

    So has torchvision it, after Detectron's first code.
    """

    def paste(self, probabilities: Tensor, boxes: Tensor, size: Size) -> list[Rle]:
        """A pixel is foreground where it is above one half; see `MaskGrid`.

        The grid gets a border, its box grows by as much and then loses its fractions.
        """
        side = probabilities.shape[-1]
        grids = F.pad(probabilities.detach().float(), (BORDER,) * 4)
        grown = _grown(boxes.detach().float(), (side + 2 * BORDER) / side)
        paste = _resize_windows if boxes.device.type == "cpu" else _resize_on_device
        return paste(grids, grown, size)

    def targets(self, target: Target, regions: Tensor, matched_gt_inds: Tensor, side: int) -> Tensor:
        """From bitmaps: averages over as many samples a cell as it has pixels; see `MaskGrid`."""
        bitmaps = _bitmaps(target)
        rois = torch.cat((matched_gt_inds[:, None].to(regions.dtype), regions), dim=1)  # (P, 5)
        cut: Tensor = roi_align(bitmaps[:, None].to(regions.dtype), rois, side, sampling_ratio=0, aligned=False)
        return cut[:, 0]  # (P, 1, S, S) -> (P, S, S)


def _resize_windows(grids: Tensor, corners: Tensor, size: Size) -> list[Rle]:
    """Grids (D, S, S) on boxes (D, 4) whose corners are pixels, each by itself."""
    windows, places = [], []
    for grid, (x1, y1, x2, y2) in zip(grids, corners.tolist(), strict=True):
        width, height = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
        resized = F.interpolate(grid[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
        left, top = min(max(x1, 0), size[1]), min(max(y1, 0), size[0])
        right, bottom = max(min(x2 + 1, size[1]), left), max(min(y2 + 1, size[0]), top)
        window = resized[top - y1 : bottom - y1, left - x1 : right - x1] > masks.THRESHOLD
        windows.append(np.asfortranarray(window.numpy()))
        places.append((top, left))
    return encode_windows(windows, places, size)


def _resize_on_device(grids: Tensor, corners: Tensor, size: Size) -> list[Rle]:
    """The same for all grids at once, on whole images: on a GPU that is quicker than windows of many sizes."""
    side = grids.shape[-1]
    begins, sides = corners[:, None, :2], (corners[:, None, 2:] - corners[:, None, :2] + 1).clamp(min=1)  # (D, 1, 2)
    pixels = [torch.arange(length, device=corners.device) for length in size[::-1]]
    x, y = (_Axis.of(pixel - begins[..., i], sides[..., i], side) for i, pixel in enumerate(pixels))
    index = y.low[:, None].expand(-1, side, -1), y.high[:, None].expand(-1, side, -1)
    grids = grids.transpose(1, 2)  # column by column, as runs go
    lines = torch.lerp(grids.gather(2, index[0]), grids.gather(2, index[1]), y.weight[:, None])  # (D, S, H)

    def bitmaps(part: slice) -> Tensor:
        index = (x.low[part, :, None].expand(-1, -1, size[0]), x.high[part, :, None].expand(-1, -1, size[0]))
        first, second = (lines[part].gather(1, neighbours) for neighbours in index)  # (n, W, H)
        values = torch.lerp(first, second, x.weight[part, :, None])
        return (values > masks.THRESHOLD).logical_and_(x.inside[part, :, None]).logical_and_(y.inside[part, None])

    work = 3 * size[0] * size[1]  # two cells and a value a pixel
    return encode_bitmaps(bitmaps, len(corners), size, corners.device, work)


@dataclass(frozen=True, slots=True)
class _Axis:
    """One axis of grids that are resized to boxes, (D, L) each, at the pixels of an image.

    Attributes:
        low: the first of the two cells that a pixel lies between.
        high: the second.
        weight: of the second.
        inside: whether the pixel lies in the box.
    """

    low: Tensor
    high: Tensor
    weight: Tensor
    inside: Tensor

    @classmethod
    def of(cls, pixels: Tensor, lengths: Tensor, side: int) -> _Axis:
        """Pixels (D, L) counted from the first of each box, of so many (D, 1), in a grid of so many cells."""
        scale = torch.full_like(lengths, side, dtype=torch.float32) / lengths
        places = ((pixels + 0.5) * scale - 0.5).clamp(0, side - 1)
        low = places.long()
        return cls(low, (low + 1).clamp(max=side - 1), places - low, (pixels >= 0) & (pixels < lengths))


def _bitmaps(target: Target) -> Tensor:
    if target.masks is None:
        raise ValueError("a mask head is trained on targets with masks, these have boxes only")
    return target.masks


def _grown(boxes: Tensor, factor: float) -> Tensor:
    """Boxes (D, 4) so much larger about their centres, int64, fractions cut off."""
    centres, halves = (boxes[:, 2:] + boxes[:, :2]) * 0.5, (boxes[:, 2:] - boxes[:, :2]) * 0.5 * factor
    return torch.cat((centres - halves, centres + halves), dim=1).long()
