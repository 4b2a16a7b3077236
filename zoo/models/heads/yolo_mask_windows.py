"""YOLOv8's masks on the host: their edges, moved to the image file, and their run lengths.

Legend: D detections, C prototypes of W cells across and H along, w and h of a window, E edges of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from zoo.data.rle import encode_edges
from zoo.models.heads.yolo_mask_edge_resize import EdgeResize
from zoo.models.heads.yolo_mask_edges import find_edges, pad
from zoo.models.heads.yolo_mask_resize import MaskResize
from zoo.types import ImageGeometry, Rle

Floats: TypeAlias = npt.NDArray[np.float32]
Ints: TypeAlias = npt.NDArray[np.int64]

_MASKS_AT_A_TIME = 40
"""At most; few enough that boxes lie close to each other, many enough that a step costs more than its call."""


def encode_on_host(
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
    weights, padded = coefficients.numpy(), pad(prototypes.numpy())
    windows, size = _windows(boxes.numpy(), geometry), geometry.original_size
    enlarge = None if size == geometry.size else EdgeResize.of(geometry, resize)
    encoded = encode_edges(np.zeros(0, dtype=np.int64), len(windows), size)  # of what is not in the image
    for some in _close_together(windows):
        few = windows[some]
        find = partial(find_edges, weights[some], padded, few, sigmoid=sigmoid)
        left, top = (few[:, :2] - geometry.offset).T  # in the image
        if enlarge:
            widths = few[:, 2] - few[:, 0]
            edges = find((widths.cumsum() - widths) * enlarge.pitch + top, enlarge.pitch)
            edges = enlarge(edges, left, widths)
        else:
            edges = find(np.arange(len(some)) * (size[0] * size[1] + 1) + left * size[0] + top, size[0])
        for i, rle in zip(some.tolist(), encode_edges(edges, len(some), size), strict=True):
            encoded[i] = rle
    return encoded


def _windows(boxes: Floats, geometry: ImageGeometry) -> Ints:
    """The pixels of each box that lie in the image, (D, 4): x1, y1, and x2 and y2 beyond them, or as large."""
    (left, top), (height, width) = geometry.offset, geometry.size
    low = np.array([left, top, left, top])
    corners = np.ceil(boxes).clip(low, low + np.array([width, height, width, height])).astype(np.int64)
    corners[:, 2:] = np.maximum(corners[:, :2], corners[:, 2:])
    return corners


def _close_together(windows: Ints) -> Iterator[Ints]:
    """Indices, ascending, of windows (D, 4) that lie close together: the leaves of a k-d tree; none of empty ones."""

    def split(some: Ints) -> Iterator[Ints]:
        if len(some) <= _MASKS_AT_A_TIME:
            yield np.sort(some)
            return
        sides = windows[some]
        ordered = some[sides[:, np.ptp(sides, axis=0).argmax()].argsort()]
        for half in np.split(ordered, [len(some) // 2]):
            yield from split(half)

    filled = np.flatnonzero((windows[:, :2] < windows[:, 2:]).all(axis=1))
    return split(filled) if len(filled) else iter(())
