"""Losses of masks that are sums of prototypes, and the maps of instances they are held against.

Legend: G objects of one image, P positive anchor points, C prototypes; H and W of the prototypes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from zoo.types import Size

STRIDE = 4
"""Of the prototypes, and so of the maps."""

NOBODY = -1
"""A cell of a map that no object covers."""


def instance_map(masks: Tensor, canvas: Size, corner: Size) -> Tensor:
    """Which object each cell belongs to, int64 (H, W): where several do, the smallest; NOBODY where none does.

    A cell is of an object where at least two of the four pixels in its middle are.

    Args:
        masks: uint8 (G, h, w), 1 on the object, in pixels of the image without borders.
        canvas: size of the network's input, a multiple of STRIDE.
        corner: (row, column) of the image's first pixel in it.
    """
    height, width = canvas
    top, left = corner
    borders = (left, width - left - masks.shape[2], top, height - top - masks.shape[1])
    padded = F.pad(masks, borders)
    middle = [padded[:, row::STRIDE, column::STRIDE] for row in (1, 2) for column in (1, 2)]
    cells = torch.stack(middle).sum(dim=0) >= 2  # (G, H, W)
    nobody = torch.full(cells.shape[1:], NOBODY, dtype=torch.int64, device=masks.device)
    if not len(cells):
        return nobody
    order = cells.sum(dim=(1, 2)).argsort(descending=True, stable=True)  # (G,), from large to small
    rank = torch.arange(len(order), device=masks.device)[:, None, None]
    last = torch.where(cells[order], rank, -1).amax(dim=0)  # (H, W)
    return torch.where(last >= 0, order[last], nobody)


def prototype_mask_losses(
    coefficients: Tensor, prototypes: Tensor, wanted: Tensor, boxes: Tensor, matches: Tensor
) -> Tensor:
    """Cross entropy of each mask inside its object's box, over the box's area in cells, (P,).

    Args:
        coefficients: (P, C).
        prototypes: (C, H, W).
        wanted: (H, W), as `instance_map` gives it.
        boxes: (P, 4), xyxy of the object of each point, in cells.
        matches: int64 (P,), the object of each point.
    """
    sums = torch.einsum("pc,chw->phw", coefficients.float(), prototypes.float())
    rows, columns = (torch.arange(side, device=boxes.device) for side in wanted.shape)
    x1, y1, x2, y2 = boxes[:, :, None].unbind(dim=1)  # (P, 1) each
    within_rows, within_columns = (rows >= y1) & (rows < y2), (columns >= x1) & (columns < x2)
    inside = within_rows[:, :, None] & within_columns[:, None, :]  # (P, H, W)
    own = (wanted[None] == matches[:, None, None]).float()
    entropy = F.binary_cross_entropy_with_logits(sums, own, reduction="none")
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return (entropy * inside).sum(dim=(1, 2)) / area
