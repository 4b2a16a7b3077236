"""Task-aligned assignment (Feng et al., "TOOD", 2021), as YOLOv8 does it.

Legend: M anchor points, G ground-truth boxes, K object classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from zoo.models.assigners.max_iou import NEGATIVE
from zoo.models.losses.regression import complete_iou

EPSILON = 1e-9
"""What an anchor point inside a box keeps from each side at least, and what keeps a division finite."""


class Assignment(NamedTuple):
    """What each anchor point is trained on.

    Attributes:
        matches: int64 (M,), the index of the ground-truth box, or NEGATIVE.
        scores: float (M,), how sure of its class the point should be; 0 where nothing is matched.
    """

    matches: Tensor
    scores: Tensor


class TaskAlignedAssigner:
    """A box takes the points inside it that classify and localise it best already.

    How well a point does is score^score_power * overlap^overlap_power, the overlap being the complete
    IoU (CIoU) of the box that it predicts, not below 0. A point that several boxes want goes to the
    one it overlaps most of all that it lies inside of, be it one that did not want it.

    Args:
        topk: number of points that a box takes at most.
        score_power: exponent of the score.
        overlap_power: exponent of the overlap.
        smallest_side: the sides of smaller boxes are widened to so many pixels before it is asked what
            lies inside, so that they hold a point at all; None leaves them as they are (8.0.0).
        contest_outside: whether a point that several boxes want goes to the one it overlaps most of all
            in the image, also of those that it lies outside of (8.0.0).
    """

    def __init__(
        self,
        topk: int = 10,
        score_power: float = 0.5,
        overlap_power: float = 6.0,
        smallest_side: float | None = 16.0,
        contest_outside: bool = False,
    ) -> None:
        self.topk = topk
        self.score_power = score_power
        self.overlap_power = overlap_power
        self.smallest_side = smallest_side
        self.contest_outside = contest_outside

    @torch.no_grad()
    def __call__(self, scores: Tensor, predicted: Tensor, points: Tensor, boxes: Tensor, labels: Tensor) -> Assignment:
        """Match anchor points with the ground-truth boxes of one image.

        Args:
            scores: (M, K), in [0, 1].
            predicted: (M, 4), the box of each point, xyxy in pixels.
            points: (M, 2), x and y in pixels.
            boxes: (G, 4), xyxy in pixels.
            labels: int64 (G,).
        """
        if not len(boxes):
            return Assignment(
                torch.full_like(scores[:, 0], NEGATIVE, dtype=torch.int64), torch.zeros_like(scores[:, 0])
            )
        inside = self._inside(points, boxes)  # (G, M)
        overlaps = complete_iou(boxes[:, None], predicted[None]).clamp(min=0)  # (G, M)
        if not self.contest_outside:
            overlaps = torch.where(inside, overlaps, 0)
        alignment = scores.T[labels] ** self.score_power * overlaps**self.overlap_power  # (G, M)
        taken = self._best(torch.where(inside, alignment, 0)) & inside
        # The first of equals, as `argmax` gives it.
        winner = torch.zeros_like(taken).scatter_(0, overlaps.argmax(dim=0, keepdim=True), True)
        taken = torch.where(taken.sum(dim=0) > 1, winner, taken)
        return Assignment(
            matches=torch.where(taken.any(dim=0), taken.int().argmax(dim=0), NEGATIVE),
            scores=_target_scores(alignment * taken, overlaps * taken),
        )

    def _inside(self, points: Tensor, boxes: Tensor) -> Tensor:
        """Whether each point lies inside each box, bool (G, M)."""
        if self.smallest_side is not None:
            centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
            sides = sides.clamp(min=self.smallest_side)
            boxes = torch.cat((centres - sides / 2, centres + sides / 2), dim=1)
        before, after = points[None] - boxes[:, None, :2], boxes[:, None, 2:] - points[None]  # (G, M, 2)
        return torch.minimum(before, after).amin(dim=2) > EPSILON

    def _best(self, alignment: Tensor) -> Tensor:
        """Which points are among the best of each box, bool (G, M)."""
        best = alignment.topk(min(self.topk, alignment.shape[1]), dim=1).indices
        return torch.zeros_like(alignment, dtype=torch.bool).scatter_(1, best, True)


def _target_scores(alignment: Tensor, overlaps: Tensor) -> Tensor:
    """Scores (M,) in proportion to the alignment: the best point of a box gets the best overlap of its points.

    Args:
        alignment: (G, M), 0 where a box does not have a point.
        overlaps: (G, M), 0 where a box does not have a point.
    """
    best_overlap = overlaps.amax(dim=1, keepdim=True)
    best_alignment = alignment.amax(dim=1, keepdim=True)
    return (alignment * best_overlap / (best_alignment + EPSILON)).amax(dim=0)
