"""Proposals and detections, selected one level, one class and one image after another, as one would write it down."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import nms

from zoo.models.coders import BoxCoder
from zoo.models.selection import DetectionSelector, Proposals, ProposalSelector, large_enough
from zoo.types import ImageGeometry


def proposals_of_image(
    selector: ProposalSelector,
    scores: Sequence[Tensor],
    deltas: Sequence[Tensor],
    anchors: Sequence[Tensor],
    coder: BoxCoder,
    geometry: ImageGeometry,
) -> Proposals:
    """What a selector is to keep of scores (M,), deltas (M, 4) and anchors (M, 4), a level each."""
    kept_scores, kept_boxes, kept_levels = [], [], []
    for level, (score, delta, anchor) in enumerate(zip(scores, deltas, anchors, strict=True)):
        if len(score) > selector.pre_nms_top_n:
            score, best = score.topk(selector.pre_nms_top_n)
            delta, anchor = delta[best], anchor[best]
        kept_scores.append(score)
        kept_boxes.append(selector.convention.clip(coder.decode(anchor, delta), geometry.extent))
        kept_levels.append(torch.full_like(score, level, dtype=torch.int64))
    best, boxes, levels = torch.cat(kept_scores), torch.cat(kept_boxes), torch.cat(kept_levels)
    if selector.probabilities:
        best = best.sigmoid()
    enters = torch.ones_like(best, dtype=torch.bool)
    if selector.min_size is not None:
        enters &= large_enough(boxes, selector.min_size, selector.convention)
    if selector.score_threshold is not None:
        enters &= best >= selector.score_threshold
    best, boxes, levels = best[enters], boxes[enters], levels[enters]
    keep = selector.nms(boxes, best, levels, selector.iou_threshold)[: selector.post_nms_top_n]
    return Proposals(boxes[keep], best[keep])


def detections_of_image(
    selector: DetectionSelector,
    scores: Sequence[Tensor],
    deltas: Sequence[Tensor],
    references: Sequence[Tensor],
    coder: BoxCoder,
    geometry: ImageGeometry,
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, scores and labels to be kept of scores (M, K), deltas (M, 4) and references (M, 4), a level each.

    Everything is decoded before anything is looked at, in input pixels.
    """
    parts = []
    for score, delta, reference in zip(scores, deltas, references, strict=True):
        boxes = selector.convention.clip(coder.decode(reference, delta), geometry.extent)
        row, label = (score > selector.score_threshold).nonzero(as_tuple=True)
        order = score[row, label].argsort(descending=True, stable=True)[: selector.pre_nms_top_n]
        row, label = row[order], label[order]
        parts.append((boxes[row], score[row, label], label))
    boxes, best, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    if selector.nms_frame == "original":
        boxes = boxes * (1 / boxes.new_tensor(geometry.scale)).repeat(2)
    if selector.min_size is not None:
        large = large_enough(boxes, selector.min_size, selector.convention)
        boxes, best, labels = boxes[large], best[large], labels[large]
    keep = selector.nms(boxes, best, labels, selector.iou_threshold)[: selector.max_detections]
    return boxes[keep], best[keep], labels[keep]


def survivors(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    """Indices, best score first and among equals as they come, of what each group by itself leaves."""
    kept = []
    for group in torch.unique(groups):
        members = (groups == group).nonzero()[:, 0]
        kept.append(members[nms(boxes[members], scores[members], iou_threshold)])
    ascending = torch.cat(kept).sort().values
    return ascending[scores[ascending].argsort(descending=True, stable=True)]
