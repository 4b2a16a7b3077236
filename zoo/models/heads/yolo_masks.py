"""YOLOv8's masks: sums of prototypes, as in YOLACT (Bolya et al., 2019).

Legend: N images, D detections of one image, C prototypes, H and W of the prototypes (stride 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from zoo.data.rle import encode_window
from zoo.models.layers.csp import conv_block, prediction_branch
from zoo.models.losses.masks import STRIDE
from zoo.types import FeatureSpec, ImageGeometry, Rle, Size

MaskMethod: TypeAlias = Literal["logits", "probabilities"]

Axis: TypeAlias = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]
"""Of every pixel along one axis: the two source pixels it lies between, and the weight of the second."""


class Prototypes(nn.Module):
    """The finest feature map to prototypes of twice its resolution.

    Args:
        in_channels: channels of that map.
        width: channels of the hidden convolutions.
        count: number of prototypes, C.
    """

    def __init__(self, in_channels: int, width: int, count: int) -> None:
        super().__init__()
        self.conv1 = conv_block(in_channels, width, 3)
        self.upsample = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.conv2 = conv_block(width, width, 3)
        self.output = conv_block(width, count, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output(self.conv2(self.upsample(self.conv1(x))))
        return out


class PrototypeMasks(nn.Module):
    """Prototypes of the whole image, and for each anchor point the coefficients of its mask.

    Both methods interpolate the sum of the prototypes to the size of the network's input, bilinearly,
    and cut it to the box and the image. They differ in what is interpolated and how the result reaches
    the size of the image file:

    - "logits" (Ultralytics now): the sum itself, foreground above 0; the binary mask is interpolated,
      and a pixel stays foreground where all that it lies between is.
    - "probabilities" (8.0 to 8.2, with which the published mask AP was measured): its sigmoid,
      foreground above 0.5; the binary mask is resized by OpenCV, which rounds.

    Args:
        in_specs: channels and stride of each feature map, fine to coarse.
        count: number of prototypes, C.
        method: how a sum of prototypes becomes a mask.
    """

    def __init__(self, in_specs: Sequence[FeatureSpec], count: int = 32, method: MaskMethod = "logits") -> None:
        super().__init__()
        if method not in get_args(MaskMethod):
            raise ValueError(f"method: {method!r} is none of {', '.join(get_args(MaskMethod))}")
        if in_specs[0].stride != 2 * STRIDE:
            raise ValueError(f"prototypes need a finest map of stride {2 * STRIDE}, not {in_specs[0].stride}")
        finest = in_specs[0].channels
        self.method = method
        self.prototypes = Prototypes(finest, width=finest, count=count)
        self.coefficients = nn.ModuleList(
            prediction_branch(spec.channels, max(finest // 4, count), count) for spec in in_specs
        )

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Feature maps (N, C', H', W'), a level each, to coefficients (N, C, H', W') of each and prototypes."""
        coefficients = [branch(x) for branch, x in zip(self.coefficients, features, strict=True)]
        return coefficients, self.prototypes(features[0])

    def paste(
        self, coefficients: Tensor, prototypes: Tensor, boxes: Tensor, input_shape: Size, geometry: ImageGeometry
    ) -> list[Rle]:
        """The masks of one image, as COCO's run-length encodings.

        Args:
            coefficients: (D, C).
            prototypes: (C, H, W).
            boxes: (D, 4), in input pixels; masks are empty outside of them.
            input_shape: (height, width) of the network's input.
            geometry: where the image lies in it.
        """
        sums = torch.einsum("dc,chw->dhw", coefficients, prototypes)
        grids = (sums.sigmoid() if self.method == "probabilities" else sums).cpu().numpy()
        threshold = 0.5 if self.method == "probabilities" else 0.0
        (left, top), size, original_size = geometry.offset, geometry.size, geometry.original_size
        rows, columns = _axis(input_shape[0], grids.shape[1]), _axis(input_shape[1], grids.shape[2])
        enlarged = (
            None if size == original_size else (_axis(original_size[0], size[0]), _axis(original_size[1], size[1]))
        )
        masks = []
        for grid, (x1, y1, x2, y2) in zip(grids, np.ceil(boxes.cpu().numpy()).astype(np.int64), strict=True):
            x1, x2 = np.clip((x1, x2), left, left + size[1])
            y1, y2 = np.clip((y1, y2), top, top + size[0])
            window = _interpolate(grid, _part(rows, y1, y2), _part(columns, x1, x2)) > threshold
            place = (int(y1 - top), int(x1 - left))
            if enlarged is None:
                pass
            elif self.method == "probabilities":
                window, place = _resize(window, place, size, original_size)
            else:
                window, place = _stretch(window, place, *enlarged)
            masks.append(encode_window(window, place, original_size))
        return masks


def _axis(length: int, source: int) -> Axis:
    """Bilinear interpolation along one axis, half-pixel centres, in float32 as torch does it."""
    scale = np.float32(source) / np.float32(length)
    places = np.maximum((np.arange(length, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5), 0)
    low = np.minimum(places.astype(np.int64), source - 1)
    return low, np.minimum(low + 1, source - 1), (places - low).astype(np.float32)


def _part(axis: Axis, begin: int, end: int) -> Axis:
    low, high, weight = axis
    return low[begin:end], high[begin:end], weight[begin:end]


def _interpolate(grid: npt.NDArray[np.float32], rows: Axis, columns: Axis) -> npt.NDArray[np.float32]:
    """Values (h, w) of a grid (H, W) at h rows and w columns."""
    low, high, weight = rows
    lines = grid[low] * (1 - weight)[:, None] + grid[high] * weight[:, None]  # (h, W)
    low, high, weight = columns
    return (lines[:, low] * (1 - weight) + lines[:, high] * weight).astype(np.float32, copy=False)


def _stretch(
    window: npt.NDArray[np.bool_], place: tuple[int, int], rows: Axis, columns: Axis
) -> tuple[npt.NDArray[np.bool_], tuple[int, int]]:
    """A window of a mask in the mask of another size: the part that the window reaches, and where it begins.

    A pixel is foreground where the interpolated value is exactly 1.

    Args:
        window: (h, w).
        place: (row, column) of its first pixel.
        rows: of the other mask, between those of this one.
        columns: likewise.
    """
    padded = np.pad(window, 1).astype(np.float32)
    parts, begins = [], []
    for axis, first, extent in ((rows, place[0], window.shape[0]), (columns, place[1], window.shape[1])):
        begin, end = int(np.searchsorted(axis[1], first)), int(np.searchsorted(axis[0], first + extent))
        low, high, weight = _part(axis, begin, end)
        parts.append((np.maximum(low - first + 1, 0), np.minimum(high - first + 1, extent + 1), weight))
        begins.append(begin)
    return _interpolate(padded, *parts) >= 1, (begins[0], begins[1])


def _resize(
    window: npt.NDArray[np.bool_], place: tuple[int, int], size: Size, original_size: Size
) -> tuple[npt.NDArray[np.bool_], tuple[int, int]]:
    """A window of a mask of one size as the whole mask of another, resized by OpenCV."""
    mask = np.zeros(size, dtype=np.uint8)
    mask[place[0] : place[0] + window.shape[0], place[1] : place[1] + window.shape[1]] = window
    resized = cv2.resize(mask, original_size[::-1], interpolation=cv2.INTER_LINEAR)
    return resized.astype(np.bool_), (0, 0)
