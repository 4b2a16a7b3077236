"""Which of a network's many boxes are kept: proposals of a first stage, detections of the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Literal, NamedTuple, get_args

import numpy as np
import torch
from torch import Tensor

from zoo.data.detections import Detections
from zoo.models.boxes import EXCLUSIVE, BoxConvention
from zoo.models.coders import BoxCoder
from zoo.models.device_constants import constant, kept_on_device
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
class RankedAnchors:
    """The best anchors of each level as boxes, level by level.

    Attributes:
        scores: (N, K).
        boxes: (N, K, 4), in input pixels, not clipped.
        levels: (K,), numbers of their levels.
        num_levels: how many levels there are.
    """

    scores: Tensor
    boxes: Tensor
    levels: Tensor
    num_levels: int


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

    def rank(
        self, scores: Tensor, deltas: Tensor, anchors: Tensor, level_sizes: Sequence[int], coder: BoxCoder
    ) -> RankedAnchors:
        """The best anchors of each level, of which as many are taken for any image.

        Args:
            scores: (N, M), by which anchors are ranked: those of all levels, one after another.
            deltas: (N, M, 4), of any precision.
            anchors: (M, 4).
            level_sizes: number of anchors of each level.
            coder: of the deltas.
        """
        scores, places = self._best_of_levels(scores, level_sizes)  # (N, K) each
        levels = _level_numbers(tuple(min(size, self.pre_nms_top_n) for size in level_sizes), scores.device)  # (K,)
        chosen = deltas.gather(1, places[..., None].expand(-1, -1, 4)).float()  # (N, K, 4)
        return RankedAnchors(scores, coder.decode(anchors[places], chosen), levels, len(level_sizes))

    def select(self, ranked: RankedAnchors, geometries: Sequence[ImageGeometry]) -> list[Proposals]:
        """Proposals of each image.

        Args:
            ranked: of the batch.
            geometries: one an image; boxes are clipped to its extent.
        """
        images = zip(ranked.scores, ranked.boxes, geometries, strict=True)
        found = [self._of_image(*image, ranked.levels, ranked.num_levels) for image in images]
        if self.over == "batch":
            return _best_of_batch(found, self.post_nms_top_n)
        best = [Proposals(boxes[: self.post_nms_top_n], best[: self.post_nms_top_n]) for boxes, best in found]
        return [_filled(image, self.post_nms_top_n) for image in best] if self.fill else best

    def _best_of_levels(self, scores: Tensor, level_sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
        """The best of scores (N, M) of each level, and their places among all anchors: (N, K) each, level by level.

        A level that is taken as a whole stays in its order.
        """
        best, places = [], []
        first = 0
        for level in torch.split(scores, list(level_sizes), dim=1):
            if level.shape[1] > self.pre_nms_top_n:
                score, place = level.topk(self.pre_nms_top_n)
                place = place + first if first else place
            else:
                score = level
                place = torch.arange(first, first + level.shape[1], device=level.device).expand_as(level)
            best.append(score)
            places.append(place)
            first += level.shape[1]
        return torch.cat(best, dim=1), torch.cat(places, dim=1)

    def _of_image(
        self, scores: Tensor, boxes: Tensor, geometry: ImageGeometry, levels: Tensor, num_levels: int
    ) -> Proposals:
        """Scores (K,), boxes (K, 4) and levels (K,) of one image to all that survive the suppression."""
        boxes = self.convention.clip(boxes, geometry.extent)
        if self.probabilities:
            scores = scores.sigmoid()
        keep = self.nms(boxes, scores, levels, self.iou_threshold, self._eligible(boxes, scores))
        if self.level_top_n is not None:
            keep = keep[_rank_in_group(levels[keep], num_levels) < self.level_top_n]
        found = Proposals(boxes[keep], scores[keep])
        if self.stand_in is None:
            return found
        present = _membership(levels[keep], num_levels).any(dim=0)  # (L,)
        return _with_stand_ins(found, num_levels - int(present.sum()), self.stand_in)

    def _eligible(self, boxes: Tensor, scores: Tensor) -> Tensor | None:
        """Which of boxes (K, 4) and their scores (K,) enter the suppression, bool (K,); None where all do."""
        large = None if self.min_size is None else large_enough(boxes, self.min_size, self.convention)
        if self.score_threshold is None:
            return large
        certain = scores >= self.score_threshold
        return certain if large is None else large & certain


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

    def candidates(self, scores: Tensor, level_sizes: Sequence[int] | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Rows (M,), labels (M,) and scores (M,) of the pairs among scores (R, K) that may be kept.

        Args:
            scores: (R, K).
            level_sizes: rows of each level, one after another, where a head has levels.
        """
        if self.class_top_n is not None:
            best, rows = scores.t().topk(min(self.class_top_n, len(scores)))  # (K, class_top_n) each
            label, place = (best > self.score_threshold).nonzero(as_tuple=True)
            return rows[label, place], label, best[label, place]
        row, label = (scores > self.score_threshold).nonzero(as_tuple=True)
        scores = scores[row, label]
        if self.pre_nms_top_n is not None:
            stops = [len(row)]
            if level_sizes is not None:
                ends = constant(tuple(accumulate(level_sizes)), row.dtype, row.device)
                stops = torch.searchsorted(row, ends).tolist()
            best = _best_of_parts(scores, stops, self.pre_nms_top_n)
            row, label, scores = row[best], label[best], scores[best]
        return row, label, scores

    def references(self, boxes: Tensor, geometry: ImageGeometry) -> Tensor:
        """Proposals (P, 4) of input pixels in the frame that they are decoded in."""
        if self.decode_frame == "input":
            return boxes
        return (_corners(boxes) / _point(geometry.scale, boxes)).flatten(-2)

    def clip(self, boxes: Tensor, geometry: ImageGeometry) -> Tensor:
        """Decoded boxes (..., 4) cut to the image."""
        original = self.decode_frame == "original"
        return self.convention.clip(boxes, geometry.original_size if original else geometry.extent)

    def decode_candidates(
        self,
        scores: Tensor,
        deltas: Tensor,
        anchors: Tensor,
        coder: BoxCoder,
        geometry: ImageGeometry,
        level_sizes: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (P, 4), clipped, scores (P,) and labels (P,) of the pairs that may be kept.

        Args:
            scores: (M, K).
            deltas: (M, 4), of any precision.
            anchors: (M, 4).
            coder: of the deltas.
            geometry: of the image.
            level_sizes: anchors of each level, one after another, where a head has levels.
        """
        row, labels, scores = self.candidates(scores, level_sizes)
        boxes = coder.decode(self.references(anchors[row], geometry), deltas[row].float())
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
            factors = [_ratio(1, factor) for factor in geometry.scale]
            boxes = (_corners(boxes) * _point(factors, boxes)).flatten(-2)
        # An empty box overlaps nothing, so nothing would ever suppress it.
        large = None if self.min_size is None else large_enough(boxes, self.min_size, self.convention)
        keep = self.nms(boxes, scores, labels, self.iou_threshold, large)
        count = self.max_detections
        if self.keep_ties and len(keep) > count:
            best = scores[keep]
            count = int((best >= best[count - 1]).sum())
        keep = keep[:count]
        return Detections(boxes=boxes[keep], scores=scores[keep], labels=labels[keep])

    def to_original(self, found: Detections, geometry: ImageGeometry) -> Detections:
        """What `select` found in original pixels, where it did so in the input's; see `reported` for the last step."""
        boxes, keypoints = found.boxes, found.keypoints
        if self.nms_frame != "original":
            boxes = self._rescaled(_corners(boxes), geometry).flatten(-2)
            if keypoints is not None:
                keypoints = torch.cat((self._rescaled(keypoints[..., :2], geometry), keypoints[..., 2:]), dim=-1)
        if self.clip_original:
            boxes = self.convention.clip(boxes, geometry.original_size)
        return Detections(boxes, found.scores, found.labels, found.masks, keypoints)

    def _rescaled(self, points: Tensor, geometry: ImageGeometry) -> Tensor:
        """Points (..., 2) of input pixels in those of the original."""
        if self.rescale == "by_scale":
            return points / _point(geometry.scale, points)
        ratios = [_ratio(*sides) for sides in zip(geometry.original_size[::-1], geometry.size[::-1], strict=True)]
        return points * _point(ratios, points)

    def reported(self, found: Detections) -> Detections:
        """Of what was found, in original pixels, that which is reported."""
        return found[large_enough(found.boxes, 0.0, self.convention)] if self.clip_original else found


def large_enough(boxes: Tensor, min_size: float, convention: BoxConvention) -> Tensor:
    """Which of boxes (N, 4) have both sides of at least a size, and above 0."""
    size = convention.size(boxes)
    return (size >= min_size if min_size > 0 else size > 0).all(dim=1)


def _corners(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) as two points each (..., 2, 2)."""
    return boxes.view(*boxes.shape[:-1], 2, 2)


def _point(values: Sequence[float], like: Tensor) -> Tensor:
    """x and y (2,), written on the device of another tensor: for a copy the host would wait."""
    point = like.new_full((2,), values[0])
    if values[1] != values[0]:
        point[1] = values[1]
    return point


def _ratio(numerator: float, denominator: float) -> float:
    """A quotient of two float32 in float32."""
    return float(np.float32(numerator) / np.float32(denominator))


def _best_of_parts(scores: Tensor, stops: Sequence[int], count: int) -> Tensor:
    """Positions of the best so many of each part of scores (M,), which end at `stops`; see `_best`."""
    return torch.cat([_best(scores[start:stop], count) + start for start, stop in pairwise([0, *stops])])


def _best(scores: Tensor, count: int) -> Tensor:
    """Positions of the best so many of scores (M,), descending; among equals the first come first."""
    if len(scores) > count and scores.device.type == "cpu":  # a GPU sorts all of them sooner than it tells which tie
        kept = (scores >= scores.topk(count, sorted=False).values.min()).nonzero()[:, 0]  # more where the last ties
        return kept[scores[kept].argsort(descending=True, stable=True)[:count]]
    return scores.argsort(descending=True, stable=True)[:count]


def _group_numbers(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """The group (N,) of each box where the groups, one after another, have so many."""
    return torch.cat([torch.full((size,), group, device=device) for group, size in enumerate(sizes)])


_level_numbers = kept_on_device(_group_numbers)


def _membership(groups: Tensor, count: int) -> Tensor:
    """Which of so many groups G each of groups (N,) is, bool (N, G)."""
    return groups[:, None] == torch.arange(count, device=groups.device)


def _rank_in_group(groups: Tensor, count: int) -> Tensor:
    """How many of the same group, of so many, come before each of groups (N,), int64 (N,)."""
    same = _membership(groups, count)
    return (same.cumsum(dim=0) * same).amax(dim=1) - 1


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
    boxes = torch.cat([image.boxes for image in found])
    images = _group_numbers(tuple(len(image.scores) for image in found), scores.device)
    best = scores.argsort(descending=True, stable=True)[:top_n].sort().values  # each image's are side by side
    counts = _membership(images[best], len(found)).sum(dim=0).tolist()
    return [
        Proposals(*image)
        for image in zip(torch.split(boxes[best], counts), torch.split(scores[best], counts), strict=True)
    ]
