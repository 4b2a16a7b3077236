"""Which of a network's many boxes are kept: proposals of a first stage, detections of the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from zoo.data.detections import Detections
from zoo.models.boxes import EXCLUSIVE, BoxConvention
from zoo.models.coders import BoxCoder
from zoo.models.nms import GroupedNms, OffsetNms
from zoo.types import ImageGeometry

Frame = Literal["input", "original"]
"""Whose pixels boxes are measured in: the network's input's, or the image file's."""

Rescale = Literal["by_scale", "by_ratio"]
"""Coordinates of the input are divided by the factors of its resize, or multiplied by the ratio of both sizes, which is
a float32 (torchvision). They differ by a rounding."""


class Proposals(NamedTuple):
    """Proposals of one image, best first: boxes (P, 4) in input pixels, scores (P,)."""

    boxes: Tensor
    scores: Tensor


@dataclass(frozen=True, slots=True)
class ProposalSelector:
    """How anchors become proposals.

    Attributes:
        pre_nms_top_n: best-scored anchors kept of each level, before suppression.
        post_nms_top_n: proposals kept of all levels together, after it.
        level_top_n: proposals kept of each level after suppression, before the best of all are taken; None: all.
        over: whether `post_nms_top_n` are kept of each "image", or of the whole "batch".
        iou_threshold: overlap above which the lower score falls, within a level.
        min_size: shortest side kept, in input pixels; with 0, boxes need some extent, with None not even that.
        nms: kind of suppression; its groups are the levels.
        convention: of the boxes.
        stand_in: score of the box of zeros that stands for a level of which nothing is left; None: nothing does.
        fill: an image with fewer proposals than `post_nms_top_n` gets boxes of zeros, scored 0, for the rest; they are
            classified as the others are.
        probabilities: scores are logits by which the best of each level are taken; from then on their sigmoids count,
            so that large logits become equal before the suppression, not before (torchvision).
        score_threshold: lowest score that enters the suppression; None: all do.
    """

    pre_nms_top_n: int
    post_nms_top_n: int
    level_top_n: int | None = None
    over: Literal["image", "batch"] = "image"
    iou_threshold: float = 0.7
    min_size: float | None = 0.0
    nms: GroupedNms = field(default_factory=OffsetNms)
    convention: BoxConvention = EXCLUSIVE
    stand_in: float | None = None
    fill: bool = False
    probabilities: bool = False
    score_threshold: float | None = None

    def __call__(
        self,
        scores: Sequence[Tensor],
        deltas: Sequence[Tensor],
        anchors: Sequence[Tensor],
        coder: BoxCoder,
        geometries: Sequence[ImageGeometry],
    ) -> list[Proposals]:
        """Proposals of each image.

        Args:
            scores: (N, M) a level, by which anchors are ranked.
            deltas: (N, M, 4) a level.
            anchors: (M, 4) a level.
            coder: of the deltas.
            geometries: one an image; boxes are clipped to its extent.
        """
        found = [
            self._of_image([x[i] for x in scores], [x[i] for x in deltas], anchors, coder, geometry)
            for i, geometry in enumerate(geometries)
        ]
        if self.over == "batch":
            return _best_of_batch(found, self.post_nms_top_n)
        best = [Proposals(boxes[: self.post_nms_top_n], best[: self.post_nms_top_n]) for boxes, best in found]
        return [_filled(image, self.post_nms_top_n) for image in best] if self.fill else best

    def _of_image(
        self,
        scores: Sequence[Tensor],
        deltas: Sequence[Tensor],
        anchors: Sequence[Tensor],
        coder: BoxCoder,
        geometry: ImageGeometry,
    ) -> Proposals:
        """Scores (M,), deltas (M, 4) and anchors (M, 4), a level each, to all that survive the suppression."""
        kept_scores, kept_boxes, kept_levels = [], [], []
        for level, (score, delta, anchor) in enumerate(zip(scores, deltas, anchors, strict=True)):
            if len(score) > self.pre_nms_top_n:
                score, best = score.topk(self.pre_nms_top_n)
                delta, anchor = delta[best], anchor[best]
            kept_scores.append(score)
            kept_boxes.append(self.convention.clip(coder.decode(anchor, delta), geometry.extent))
            kept_levels.append(torch.full_like(score, level, dtype=torch.int64))
        scored, boxes, levels = torch.cat(kept_scores), torch.cat(kept_boxes), torch.cat(kept_levels)
        if self.probabilities:
            scored = scored.sigmoid()
        if self.min_size is not None or self.score_threshold is not None:
            kept = self._eligible(boxes, scored)
            scored, boxes, levels = scored[kept], boxes[kept], levels[kept]
        keep = self.nms(boxes, scored, levels, self.iou_threshold)
        if self.level_top_n is not None:
            keep = keep[_rank_in_group(levels[keep]) < self.level_top_n]
        found = Proposals(boxes[keep], scored[keep])
        if self.stand_in is None:
            return found
        return _with_stand_ins(found, len(scores) - len(torch.unique(levels[keep])), self.stand_in)

    def _eligible(self, boxes: Tensor, scores: Tensor) -> Tensor:
        """Which of boxes (M, 4) and their scores (M,) enter the suppression, bool (M,)."""
        kept = torch.ones_like(scores, dtype=torch.bool)
        if self.min_size is not None:
            kept &= large_enough(boxes, self.min_size, self.convention)
        if self.score_threshold is not None:
            kept &= scores >= self.score_threshold
        return kept


@dataclass(frozen=True, slots=True)
class DetectionSelector:
    """Which (region, class) pairs become detections.

    Attributes:
        score_threshold: pairs must score above it, strictly.
        iou_threshold: overlap above which the lower score falls, within a class.
        max_detections: detections kept, best scores first.
        keep_ties: what scores as much as the last that is kept is kept too.
        pre_nms_top_n: best-scored pairs that enter the suppression, of each level where a head has levels; None: all.
        class_top_n: best-scored pairs of each class that enter it; None: all.
        min_size: shortest side kept, in pixels of the frame of suppression; with 0, boxes need some extent,
            with None not even that.
        decode_frame: the pixels that boxes are decoded and clipped in.
        nms_frame: the pixels that boxes are suppressed in.
        nms: kind of suppression; its groups are the classes.
        convention: of the boxes.
        clip_original: boxes are clipped once more when they are in original pixels, and what has no area left is not
            reported.
        rescale: how what was found in input pixels comes to those of the original.
    """

    score_threshold: float
    iou_threshold: float
    max_detections: int
    pre_nms_top_n: int | None = None
    min_size: float | None = None
    decode_frame: Frame = "input"
    nms_frame: Frame = "original"
    nms: GroupedNms = field(default_factory=OffsetNms)
    convention: BoxConvention = EXCLUSIVE
    clip_original: bool = False
    keep_ties: bool = False
    rescale: Rescale = "by_scale"
    class_top_n: int | None = None

    def __post_init__(self) -> None:
        if self.decode_frame == "original" and self.nms_frame == "input":
            raise ValueError("boxes decoded in original pixels cannot be suppressed in input pixels")
        if self.pre_nms_top_n is not None and self.class_top_n is not None:
            raise ValueError("pre_nms_top_n and class_top_n: the best are counted of all pairs, or of each class")
        if self.rescale not in get_args(Rescale):
            raise ValueError(f"rescale: {self.rescale!r} is none of {', '.join(get_args(Rescale))}")

    def candidates(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows (M,), labels (M,) and scores (M,) of the pairs among scores (R, K) that may be kept."""
        if self.class_top_n is not None:
            best, rows = scores.t().topk(min(self.class_top_n, len(scores)))  # (K, class_top_n) each
            label, place = (best > self.score_threshold).nonzero(as_tuple=True)
            row, scores = rows[label, place], best[label, place]
        else:
            pair = (scores > self.score_threshold).flatten().nonzero()[:, 0]
            classes, scores = scores.shape[1], scores.flatten()[pair]
            if self.pre_nms_top_n is not None:
                scores, best = _best(scores, self.pre_nms_top_n)
                pair = pair[best]
            row, label = pair // classes, pair % classes
        return row, label, scores

    def references(self, boxes: Tensor, geometry: ImageGeometry) -> Tensor:
        """Proposals (P, 4) of input pixels in the frame that they are decoded in."""
        return boxes / boxes.new_tensor(geometry.scale).repeat(2) if self.decode_frame == "original" else boxes

    def clip(self, boxes: Tensor, geometry: ImageGeometry) -> Tensor:
        """Decoded boxes (..., 4) cut to the image."""
        original = self.decode_frame == "original"
        return self.convention.clip(boxes, geometry.original_size if original else geometry.extent)

    def decode_candidates(
        self, scores: Tensor, deltas: Tensor, anchors: Tensor, coder: BoxCoder, geometry: ImageGeometry
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (P, 4), clipped, scores (P,) and labels (P,) of the pairs that may be kept.

        Args:
            scores: (M, K).
            deltas: (M, 4).
            anchors: (M, 4).
            coder: of the deltas.
            geometry: of the image.
        """
        row, labels, scores = self.candidates(scores)
        boxes = coder.decode(self.references(anchors[row], geometry), deltas[row])
        return self.clip(boxes, geometry), scores, labels

    def select(self, boxes: Tensor, scores: Tensor, labels: Tensor, geometry: ImageGeometry) -> Detections:
        """Detections of one image, in the frame of suppression.

        Args:
            boxes: (M, 4), decoded and clipped.
            scores: (M,).
            labels: int64 (M,).
            geometry: of the image.
        """
        if self.nms_frame != self.decode_frame:
            boxes = boxes * (1 / boxes.new_tensor(geometry.scale)).repeat(2)
        if self.min_size is not None:
            # An empty box overlaps nothing, so nothing would ever suppress it.
            large = large_enough(boxes, self.min_size, self.convention)
            boxes, scores, labels = boxes[large], scores[large], labels[large]
        keep = self.nms(boxes, scores, labels, self.iou_threshold)
        count = self.max_detections
        if self.keep_ties and len(keep) > count:
            count = int((scores[keep] >= scores[keep[count - 1]]).sum())
        keep = keep[:count]
        return Detections(boxes=boxes[keep], scores=scores[keep], labels=labels[keep])

    def to_original(self, found: Detections, geometry: ImageGeometry) -> Detections:
        """What `select` found in original pixels, where it did so in the input's; see `reported` for the last step."""
        boxes, keypoints = found.boxes, found.keypoints
        if self.nms_frame != "original":
            boxes = self._rescaled(boxes.view(len(boxes), 2, 2), geometry).flatten(1)  # two corners, x and y each
            if keypoints is not None:
                keypoints = torch.cat((self._rescaled(keypoints[..., :2], geometry), keypoints[..., 2:]), dim=-1)
        if self.clip_original:
            boxes = self.convention.clip(boxes, geometry.original_size)
        return Detections(boxes, found.scores, found.labels, found.masks, keypoints)

    def _rescaled(self, points: Tensor, geometry: ImageGeometry) -> Tensor:
        """Points (..., 2) of input pixels in those of the original."""
        if self.rescale == "by_scale":
            return points / points.new_tensor(geometry.scale)
        return points * (points.new_tensor(geometry.original_size[::-1]) / points.new_tensor(geometry.size[::-1]))

    def reported(self, found: Detections) -> Detections:
        """Of what was found, in original pixels, that which is reported."""
        return found[large_enough(found.boxes, 0.0, self.convention)] if self.clip_original else found


def large_enough(boxes: Tensor, min_size: float, convention: BoxConvention) -> Tensor:
    """Which of boxes (N, 4) have both sides of at least a size, and above 0."""
    size = convention.size(boxes)
    return ((size >= min_size) & (size > 0)).all(dim=1)


def _best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best so many of scores (M,), descending, and their positions; among equals the first come first."""
    if len(scores) <= count:
        return scores.sort(descending=True, stable=True)
    kept = (scores >= scores.topk(count, sorted=False).values.min()).nonzero()[:, 0]  # a few more where the last ties
    best, order = scores[kept].sort(descending=True, stable=True)
    return best[:count], kept[order[:count]]


def _rank_in_group(groups: Tensor) -> Tensor:
    """How many of the same group come before each of groups (N,), int64 (N,)."""
    same = groups[:, None] == torch.unique(groups)  # (N, G)
    return (same.cumsum(dim=0) * same).amax(dim=1) - 1 if len(groups) else groups


def _with_stand_ins(found: Proposals, count: int, score: float) -> Proposals:
    """Proposals and so many boxes of zeros, best first."""
    boxes = torch.cat((found.boxes, found.boxes.new_zeros(count, 4)))
    scores = torch.cat((found.scores, found.scores.new_full((count,), score)))
    order = scores.argsort(descending=True, stable=True)
    return Proposals(boxes[order], scores[order])


def _filled(found: Proposals, count: int) -> Proposals:
    """Proposals and as many boxes of zeros behind them as there are too few."""
    missing = max(count - len(found.scores), 0)
    return Proposals(
        torch.cat((found.boxes, found.boxes.new_zeros(missing, 4))),
        torch.cat((found.scores, found.scores.new_zeros(missing))),
    )


def _best_of_batch(found: Sequence[Proposals], top_n: int) -> list[Proposals]:
    """The best-scored of all images together, each again with its own."""
    scores = torch.cat([image.scores for image in found])
    best = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    best[scores.argsort(descending=True, stable=True)[:top_n]] = True
    kept = best.split([len(image.scores) for image in found])  # type: ignore[no-untyped-call] # torch's own
    return [Proposals(image.boxes[mask], image.scores[mask]) for image, mask in zip(found, kept, strict=True)]
