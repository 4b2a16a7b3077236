"""Assignment by overlap (Girshick et al., 2014; Ren et al., 2015).

Legend: N candidates (anchors or proposals), G ground-truth boxes.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor

from zoo.models.boxes import EXCLUSIVE, BoxConvention

NEGATIVE = -1
"""A candidate that is background."""

IGNORED = -2
"""A candidate that is neither object nor background, and is not trained on."""


Ties = Literal["all", "first"]
"""Which of the candidates that overlap a box equally well, and best, are low-quality matches."""


class Matches(NamedTuple):
    """What candidates are taken for.

    Attributes:
        gt_inds: int64 (N,), the index of the matched ground-truth box, NEGATIVE or IGNORED.
        overlaps: (N,), with the box that each candidate overlaps most; 0 without ground truth.
        background: bool (N,), what overlaps no box enough to be anything else by itself: the negatives, and those
            low-quality matches that would be negative without this rule.
    """

    gt_inds: Tensor
    overlaps: Tensor
    background: Tensor


class Assigner(Protocol):
    """A rule by which candidates are matched with ground-truth boxes."""

    def __call__(self, candidates: Tensor, boxes: Tensor) -> Matches:
        """Match candidates (N, 4) with ground-truth boxes (G, 4); without ground truth everything is negative."""
        ...


class MaxIoUAssigner:
    """Each candidate goes to the ground-truth box it overlaps most, if it overlaps it enough.

    Args:
        positive_iou: overlap from which a candidate is an object, this value included.
        negative_iou: overlap below which it is background; in between it is ignored.
        min_pos_iou: a ground-truth box whose best overlap reaches this much also makes every candidate positive that
            overlaps it exactly that best. None: there are no such low-quality matches.
        reassign: a low-quality match goes to the box that makes it positive, even away from another that it overlaps
            more, and to the last of several (mmdetection); otherwise to the box that it overlaps most.
        convention: of candidates and boxes.
        skip_pixels: a box of a single pixel, where corners are pixels, overlaps nothing, and such a candidate is
            ignored: what fills up dense batches are boxes of zeros (faster-rcnn.pytorch).
        ties: "all" candidates that overlap a box exactly best are low-quality matches, or the "first" alone (SSD).
    """

    def __init__(
        self,
        positive_iou: float,
        negative_iou: float,
        min_pos_iou: float | None = None,
        convention: BoxConvention = EXCLUSIVE,
        reassign: bool = True,
        skip_pixels: bool = False,
        ties: Ties = "all",
    ) -> None:
        if negative_iou > positive_iou:
            raise ValueError(f"negative_iou: {negative_iou} is above positive_iou, {positive_iou}")
        if ties not in get_args(Ties):
            raise ValueError(f"ties: {ties!r} is none of {', '.join(get_args(Ties))}")
        self.positive_iou = positive_iou
        self.negative_iou = negative_iou
        self.min_pos_iou = min_pos_iou
        self.convention = convention
        self.reassign = reassign
        self.skip_pixels = skip_pixels
        self.ties = ties

    @torch.no_grad()
    def __call__(self, candidates: Tensor, boxes: Tensor) -> Matches:
        """Match candidates (N, 4) with ground-truth boxes (G, 4); without ground truth everything is negative."""
        if len(candidates) and len(boxes):
            matches = self._match(candidates, boxes)
        else:
            none = candidates.new_zeros(len(candidates))
            matches = Matches(torch.full_like(none, NEGATIVE, dtype=torch.int64), none, none == 0)
        if not self.skip_pixels:
            return matches
        skipped = self.single_pixels(candidates)
        gt_inds = matches.gt_inds.masked_fill(skipped, IGNORED)
        return Matches(gt_inds, matches.overlaps, matches.background & ~skipped)

    def _match(self, candidates: Tensor, boxes: Tensor) -> Matches:
        """The same of some candidates and some boxes, where no candidate is left out."""
        overlaps = self.convention.iou(boxes, candidates)  # (G, N)
        if self.skip_pixels:
            overlaps.masked_fill_(self.single_pixels(boxes)[:, None], 0)
        best, nearest = overlaps.max(dim=0)  # among equals the first box
        background = best < self.negative_iou
        gt_inds = nearest.masked_fill(best < self.positive_iou, IGNORED).masked_fill_(background, NEGATIVE)
        if self.min_pos_iou is not None:
            low_quality = _low_quality_matches(overlaps, self.min_pos_iou, self.ties)
            gt_inds = torch.where(low_quality >= 0, low_quality if self.reassign else nearest, gt_inds)
        return Matches(gt_inds, best, background)

    def single_pixels(self, boxes: Tensor) -> Tensor:
        """Which of boxes (N, 4) are a single pixel, bool (N,)."""
        return (self.convention.size(boxes) == 1).all(dim=1)


def _low_quality_matches(overlaps: Tensor, minimum: float, ties: Ties) -> Tensor:
    """For each candidate of overlaps (G, N) the last box whose best overlap it reaches, or -1."""
    best, first = overlaps.max(dim=1, keepdim=True)  # (G, 1) each
    places = torch.arange(overlaps.shape[1], device=overlaps.device) if ties == "first" else None
    matched = overlaps == best if places is None else places == first  # (G, N)
    matched &= best >= minimum
    ranks = torch.arange(1, len(overlaps) + 1, dtype=torch.int32, device=overlaps.device)[:, None]
    return (matched * ranks).amax(dim=0) - 1
