"""YOLOv8's masks on a device: whole maps of all masks at a time, with few kernels and without asking for a value.

Legend: D detections, n of them at a time, W and H of the prototypes' grid, C prototypes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

from zoo.models.bitmap_encoding import encode_bitmaps
from zoo.models.heads.yolo_mask_resize import MaskResize
from zoo.models.losses.masks import STRIDE
from zoo.models.true_float32 import without_tf32
from zoo.types import ImageGeometry, Rle


def encode_on_device(
    coefficients: Tensor,
    prototypes: Tensor,
    boxes: Tensor,
    geometry: ImageGeometry,
    *,
    sigmoid: bool,
    resize: MaskResize,
) -> list[Rle]:
    """The masks of one image, as COCO's run-length encodings.

    Args:
        coefficients: (D, C), D at least 1.
        prototypes: (C, H, W).
        boxes: (D, 4), in pixels of the input, which is four times as large as the prototypes.
        geometry: where the image lies in the input.
        sigmoid: it is the sigmoid of the prototypes' sums that is interpolated.
        resize: the rule by which the masks reach the size of the image file.
    """
    columns_first = prototypes.transpose(1, 2)  # as runs go
    with without_tf32():  # a mask's edge lies where a sum changes its sign
        sums = coefficients @ columns_first.flatten(1)
    sums = sums.view(len(boxes), *columns_first.shape[1:])  # (D, W, H)
    grids, threshold = (sums.sigmoid(), 0.5) if sigmoid else (sums, 0.0)
    input_shape = (STRIDE * sums.shape[1], STRIDE * sums.shape[2])  # (width, height)
    (left, top), (height, width) = geometry.offset, geometry.size
    columns = torch.arange(left, left + width, device=boxes.device)
    rows = torch.arange(top, top + height, device=boxes.device)
    across = ((columns >= boxes[:, 0:1]) & (columns < boxes[:, 2:3]))[:, :, None]  # (D, width, 1)
    along = ((rows >= boxes[:, 1:2]) & (rows < boxes[:, 3:4]))[:, None]  # (D, 1, height)
    enlarge = _resizer(resize, geometry, boxes.device)

    def bitmaps(part: slice) -> Tensor:
        maps = F.interpolate(grids[None, part], input_shape, mode="bilinear", align_corners=False)[0]
        masks = maps[:, left : left + width, top : top + height] > threshold
        return enlarge(masks.logical_and_(across[part]).logical_and_(along[part]))

    return encode_bitmaps(bitmaps, len(boxes), geometry.original_size, boxes.device, input_shape[0] * input_shape[1])


def _resizer(resize: MaskResize, geometry: ImageGeometry, device: torch.device) -> Callable[[Tensor], Tensor]:
    """What resizes masks, bool (n, width, height) of the input, to the image file's."""
    if geometry.size == geometry.original_size:
        return lambda masks: masks
    rows, columns = (resize.axis(*sides) for sides in zip(geometry.original_size, geometry.size, strict=True))
    tables: list[npt.NDArray[Any]] = [columns.low, columns.high, *columns.across, rows.low, rows.high, *rows.along]
    left, right, *rest = _moved(tables, device)
    across, (upper, lower, *along) = rest[: len(columns.across)], rest[len(columns.across) :]
    weights = [table.short()[:, None] for table in across]
    terms = [table.short() for table in along]

    def enlarge(masks: Tensor) -> Tensor:
        sums = resize.across(masks.index_select(1, left), masks.index_select(1, right), *weights)
        found: Tensor = resize.along(sums.index_select(2, upper), sums.index_select(2, lower), *terms)
        return found

    return enlarge


def _moved(tables: Sequence[npt.NDArray[Any]], device: torch.device) -> Sequence[Tensor]:
    """Tables (L,) on a device, int32: one copy, which nothing waits for, as it comes from pinned memory."""
    packed = torch.from_numpy(np.concatenate([table.astype(np.int32) for table in tables]))
    if device.type == "cuda":
        packed = packed.pin_memory()
    return torch.split(packed.to(device, non_blocking=True), [len(table) for table in tables])
