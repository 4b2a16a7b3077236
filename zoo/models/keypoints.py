"""Keypoints of objects: from a head's heat maps to points, and from annotated points to a head's targets.

He et al., "Mask R-CNN", 2017. A point of a region is where its heat map is highest; what is trained is a softmax over
all cells of the map. Continuous coordinates c and discrete ones d go together as c = d + 0.5 (Heckbert, 1990).

Legend: D detections of one image, P regions of one image, K keypoints of an object, S side of a heat map (56).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor

SMALLEST_SIDE = 1.0
"""Pixels that a box has at least a side when its heat map is stretched over it."""


def locate(heatmaps: Tensor, boxes: Tensor) -> Tensor:
    """Keypoints in the pixels of their boxes, and the logit of each.

    The heat map is stretched over the box by cubic interpolation, a cell a pixel; the middle of the highest is the
    keypoint.

    Args:
        heatmaps: (D, K, S, S), logits.
        boxes: (D, 4).

    Returns:
        (D, K, 3), x, y and logit.
    """
    found = heatmaps.new_zeros((*heatmaps.shape[:2], 3))
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=SMALLEST_SIDE)  # (D, 2)
    cells = sides.ceil()
    for heatmap, keypoints, (width, height) in zip(heatmaps, found, cells.int().tolist(), strict=True):
        stretched = F.interpolate(heatmap[:, None], (height, width), mode="bicubic", align_corners=False)
        scores, places = stretched.flatten(1).max(dim=1)  # (K, 1, h, w) -> (K,)
        keypoints[:, 0], keypoints[:, 1], keypoints[:, 2] = places % width, places // width, scores
    middles = found[..., :2] + 0.5
    found[..., :2] = middles * (sides / cells)[:, None] + boxes[:, None, :2]
    return found


def heatmap_targets(keypoints: Tensor, regions: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Which cell of a region's heat map each keypoint lies in, int64 (P, K), and whether it is trained on, bool (P, K).

    It is where it is annotated and lies in the region; one on the far edges belongs to the last cell.

    Args:
        keypoints: (P, K, 3), x, y and visibility, of the object of each region.
        regions: (P, 4), in the same pixels.
        side: S.
    """
    near, far = regions[:, None, :2], regions[:, None, 2:]  # (P, 1, 2)
    points = keypoints[..., :2]
    cells = ((points - near) * (side / (far - near))).floor().long()  # (P, K, 2)
    cells = torch.where(points == far, side - 1, cells)
    inside = ((cells >= 0) & (cells < side)).all(dim=-1)
    trained = inside & (keypoints[..., 2] > 0)
    return torch.where(trained, cells[..., 1] * side + cells[..., 0], 0), trained
