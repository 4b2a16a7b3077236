"""Box arithmetic: sizes, overlap and clipping, under the two conventions that detectors were written in.

Boxes are float (N, 4), xyxy in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class BoxConvention:
    """What the corners of a box are.

    Attributes:
        inclusive: corners are pixels, and both belong to the box, which is x2 - x1 + 1 wide, as the detectors
            before 2019 have it; otherwise corners are points, and it is x2 - x1 wide.
    """

    inclusive: bool = False

    def size(self, boxes: Tensor) -> Tensor:
        """Widths and heights (..., 2) of boxes (..., 4)."""
        return self._span(boxes[..., :2], boxes[..., 2:])

    def area(self, boxes: Tensor) -> Tensor:
        """Areas (...) of boxes (..., 4)."""
        size = self.size(boxes)
        return size[..., 0] * size[..., 1]

    def iou(self, boxes: Tensor, others: Tensor, floor: float = 1e-6) -> Tensor:
        """Intersection over union of every box with every other.

        Args:
            boxes: (N, 4).
            others: (M, 4).
            floor: smallest union divided by, so that empty boxes overlap nothing.

        Returns:
            (N, M), in [0, 1].
        """
        # Coordinates first, so that the last dimension is long; in place: of an image's anchors there are 268,569.
        first, second = boxes.t().contiguous(), others.t().contiguous()  # (4, N), (4, M)
        near = torch.maximum(first[:2, :, None], second[:2, None])  # (2, N, M)
        sides = torch.minimum(first[2:, :, None], second[2:, None]).sub_(near)
        del near
        if self.inclusive:
            sides.add_(1)
        width, height = sides.clamp_(min=0).unbind()
        intersection = width.mul_(height)  # (N, M)
        union = (self._area(first)[:, None] + self._area(second)).sub_(intersection)
        return intersection / union.clamp_(min=floor)

    def clip(self, boxes: Tensor, extent: tuple[float, float]) -> Tensor:
        """Boxes (..., 4) cut to an image: x to [0, width], inclusive ones to [0, width - 1], y alike.

        Args:
            boxes: (..., 4).
            extent: (height, width) of the image, not necessarily whole.
        """
        bottom, right = (side - 1 if self.inclusive else side for side in extent)
        x = boxes[..., 0::2].clamp(0, right)  # (..., 2)
        y = boxes[..., 1::2].clamp(0, bottom)
        return torch.stack((x, y), dim=-1).flatten(-2)  # (..., 2, 2) -> (..., 4)

    def centre_size(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Centres (..., 2) and sizes (..., 2) of boxes (..., 4)."""
        size = self.size(boxes)
        if self.inclusive:
            return torch.add(boxes[..., :2], size, alpha=0.5), size
        return (boxes[..., :2] + boxes[..., 2:]) * 0.5, size

    def corners(self, centre: Tensor, size: Tensor) -> Tensor:
        """Boxes (..., 4) of centres (..., 2) and sizes (..., 2), the inverse of `centre_size`."""
        near, far = torch.sub(centre, size, alpha=0.5), torch.add(centre, size, alpha=0.5)
        return torch.cat((near, far - 1 if self.inclusive else far), dim=-1)

    def to_xywh(self, boxes: Tensor) -> Tensor:
        """Corner, width and height (..., 4) of boxes (..., 4), as COCO writes them."""
        return torch.cat((boxes[..., :2], self.size(boxes)), dim=-1)

    def _area(self, corners: Tensor) -> Tensor:
        """Areas (N,) of corners (4, N)."""
        width, height = self._span(corners[:2], corners[2:]).unbind()
        return width * height

    def _span(self, near: Tensor, far: Tensor) -> Tensor:
        return far - near + 1 if self.inclusive else far - near


EXCLUSIVE = BoxConvention()
"""Corners are points: what every detector since 2019 computes with."""
