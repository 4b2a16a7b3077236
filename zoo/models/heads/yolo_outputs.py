"""What YOLOv8's head says of a batch: maps of each level, and the same by anchor point.

Legend: N images, M anchor points of all levels, K object classes, C prototypes of masks, H and W of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

REG_MAX = 16
"""How many distances a side has a logit for: 0 to 15 cells."""


@dataclass(slots=True)
class YoloMaps:
    """What the branches give, a map a level.

    Attributes:
        box_dist: (N, 4 * REG_MAX, H, W) a level, logits of the distances, side-major: left, top, right, bottom.
        logits: (N, K, H, W) a level.
        coefficients: (N, C, H, W) a level, of the prototypes that make up a mask; None without masks.
        prototypes: (N, C, H, W), at stride 4, for all levels; None without masks.
    """

    box_dist: list[Tensor]
    logits: list[Tensor]
    coefficients: list[Tensor] | None = None
    prototypes: Tensor | None = None


@dataclass(frozen=True, slots=True)
class BoxDistributions:
    """Where boxes come from: the distance of each side to its anchor point, as a distribution.

    Attributes:
        dist_logits: (N, M, 4, REG_MAX).
        points: (M, 2), x and y in cells of the point's level.
        strides: (M, 1), pixels a cell.
    """

    dist_logits: Tensor
    points: Tensor
    strides: Tensor

    def boxes(self) -> Tensor:
        """Boxes (N, M, 4), xyxy in input pixels, whose sides have their expected distance."""
        return dist2bbox(self.points, self.dist_logits) * self.strides


@dataclass(slots=True)
class YoloOutputs:
    """Outputs by anchor point; points row by row, levels one after another. All are float32.

    Attributes:
        boxes: (N, M, 4), xyxy in input pixels.
        logits: (N, M, K).
        coefficients: (N, M, C); None without masks.
        prototypes: (N, C, H, W); None without masks.
        box_dist: what the boxes were made of, which losses need; None of an exported network.
    """

    boxes: Tensor
    logits: Tensor
    coefficients: Tensor | None = None
    prototypes: Tensor | None = None
    box_dist: BoxDistributions | None = None


def box_distributions(box_dist: Sequence[Tensor], strides: Sequence[int]) -> BoxDistributions:
    """Maps (N, 4 * REG_MAX, H, W), a level each, as distributions about the centres of their cells."""
    flat = flatten_levels(box_dist).float()
    points, pixels = [], []
    for x, stride in zip(box_dist, strides, strict=True):
        rows, columns = (torch.arange(side, dtype=torch.float32, device=x.device) + 0.5 for side in x.shape[2:])
        grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)  # (H, W, 2)
        points.append(grid.reshape(-1, 2))
        pixels.append(torch.full((x.shape[2] * x.shape[3], 1), float(stride), device=x.device))
    return BoxDistributions(flat.reshape(*flat.shape[:2], 4, REG_MAX), torch.cat(points), torch.cat(pixels))


def dist2bbox(points: Tensor, dist_logits: Tensor) -> Tensor:
    """Boxes (N, M, 4), xyxy in cells, whose sides have their expected distance from the points.

    Args:
        points: (M, 2), x and y in cells.
        dist_logits: (N, M, 4, REG_MAX).
    """
    numbers = torch.arange(REG_MAX, dtype=dist_logits.dtype, device=dist_logits.device)
    distances = dist_logits.softmax(dim=3) @ numbers  # (N, M, 4)
    return torch.cat((points - distances[..., :2], points + distances[..., 2:]), dim=2)


def flatten_levels(maps: Sequence[Tensor]) -> Tensor:
    """Maps (N, C, H, W), a level each, to (N, M, C)."""
    return torch.cat([x.flatten(2) for x in maps], dim=2).transpose(1, 2)
