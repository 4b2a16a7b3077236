"""How a head's small grid of mask values lies on its box: when it is pasted, and when its targets are cut out.

Legend: D detections and G ground-truth objects of one image, P regions of one image, S side of a grid (28).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor
from torchvision.ops import roi_align

from zoo.data.rle import encode_windows
from zoo.models import masks
from zoo.types import Rle, Size, Target

BORDER = 1
"""Cells of nothing around a grid that is resized, so that a mask can end inside its outermost cells."""


class MaskGrid(Protocol):
    """A rule for grids on boxes, in both directions."""

    def paste(self, probabilities: Tensor, boxes: Tensor, size: Size) -> list[Rle]:
        """Masks of the whole image.

        Args:
            probabilities: (D, S, S), in [0, 1], on any device; the work is done on the CPU.
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
        grids = F.pad(probabilities.detach().float().cpu(), (BORDER,) * 4)
        corners = _grown(boxes.detach().float().cpu(), (side + 2 * BORDER) / side).tolist()
        windows, places = [], []
        for grid, (x1, y1, x2, y2) in zip(grids, corners, strict=True):
            width, height = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
            resized = F.interpolate(grid[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
            left, top = min(max(x1, 0), size[1]), min(max(y1, 0), size[0])
            right, bottom = max(min(x2 + 1, size[1]), left), max(min(y2 + 1, size[0]), top)
            window = resized[top - y1 : bottom - y1, left - x1 : right - x1] > masks.THRESHOLD
            windows.append(np.asfortranarray(window.numpy()))
            places.append((top, left))
        return encode_windows(windows, places, size)

    def targets(self, target: Target, regions: Tensor, matched_gt_inds: Tensor, side: int) -> Tensor:
        """From bitmaps: averages over as many samples a cell as it has pixels; see `MaskGrid`."""
        bitmaps = _bitmaps(target)
        rois = torch.cat((matched_gt_inds[:, None].to(regions.dtype), regions), dim=1)  # (P, 5)
        cut: Tensor = roi_align(bitmaps[:, None].to(regions.dtype), rois, side, sampling_ratio=0, aligned=False)
        return cut[:, 0]  # (P, 1, S, S) -> (P, S, S)


def _bitmaps(target: Target) -> Tensor:
    if target.masks is None:
        raise ValueError("a mask head is trained on targets with masks, these have boxes only")
    return target.masks


def _grown(boxes: Tensor, factor: float) -> Tensor:
    """Boxes (D, 4) so much larger about their centres, int64, fractions cut off."""
    centres, halves = (boxes[:, 2:] + boxes[:, :2]) * 0.5, (boxes[:, 2:] - boxes[:, :2]) * 0.5 * factor
    return torch.cat((centres - halves, centres + halves), dim=1).long()
