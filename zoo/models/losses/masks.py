"""Losses of masks that are sums of prototypes, and the maps of instances they are held against.

Legend: G objects of one image, P positive anchor points, C prototypes; H and W of the prototypes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from zoo.types import Size

STRIDE = 4
"""Input pixels a cell of the prototypes, and so of the maps."""

NO_INSTANCE = -1
"""Value of a cell of a map that no object covers."""


def instance_map(masks: Tensor, input_shape: Size, offset: tuple[int, int]) -> Tensor:
    """Which object each cell belongs to, int64 (H, W): where several do, the smallest; NO_INSTANCE where none does.

    A cell is of an object where at least two of the four pixels in its middle are.

    Args:
        masks: uint8 (G, h, w), 1 on the object, in pixels of the image without borders.
        input_shape: (height, width) of the network's input, multiples of STRIDE.
        offset: (x, y) of the image's first pixel in it.
    """
    height, width = input_shape
    left, top = offset
    borders = (left, width - left - masks.shape[2], top, height - top - masks.shape[1])
    padded = F.pad(masks, borders)
    middle = [padded[:, row::STRIDE, column::STRIDE] for row in (1, 2) for column in (1, 2)]
    cells = torch.stack(middle).sum(dim=0) >= 2  # (G, H, W)
    none = torch.full(cells.shape[1:], NO_INSTANCE, dtype=torch.int64, device=masks.device)
    if not len(cells):
        return none
    order = cells.sum(dim=(1, 2)).argsort(descending=True, stable=True)  # (G,), from large to small
    rank = torch.arange(len(order), device=masks.device)[:, None, None]
    last = torch.where(cells[order], rank, -1).amax(dim=0)  # (H, W)
    return torch.where(last >= 0, order[last], none)


def prototype_mask_losses(
    coefficients: Tensor, prototypes: Tensor, instances: Tensor, boxes: Tensor, matches: Tensor
) -> Tensor:
    """Cross entropy of each mask inside its object's box, over the box's area in cells, (P,).

    Args:
        coefficients: (P, C).
        prototypes: (C, H, W).
        instances: (H, W), as `instance_map` gives it.
        boxes: (P, 4), xyxy of the object of each point, in cells.
        matches: int64 (P,), the object of each point.
    """
    sums = torch.einsum("pc,chw->phw", coefficients.float(), prototypes.float())
    rows, columns = (torch.arange(side, device=boxes.device) for side in instances.shape)
    x1, y1, x2, y2 = boxes[:, :, None].unbind(dim=1)  # (P, 1) each
    within_rows, within_columns = (rows >= y1) & (rows < y2), (columns >= x1) & (columns < x2)
    inside = within_rows[:, :, None] & within_columns[:, None, :]  # (P, H, W)
    own = (instances[None] == matches[:, None, None]).float()
    entropy = F.binary_cross_entropy_with_logits(sums, own, reduction="none")
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return (entropy * inside).sum(dim=(1, 2)) / area
