"""Samplers: which of the assigned candidates a step is trained on.

Legend: N candidates, G ground-truth boxes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from zoo.models.assigners.max_iou import IGNORED, NEGATIVE, Matches


@dataclass(frozen=True, slots=True)
class Sampled:
    """Positions of the sampled candidates of one image, ascending.

    Attributes:
        positive: int64 (P,), objects.
        negative: int64 (Q,), background.
        replaced: whether a negative may come more than once.
    """

    positive: Tensor
    negative: Tensor
    replaced: bool = False


class Sampler(ABC):
    """Matches to the candidates that are trained on.

    The candidates of all images are told apart in one go: the host, which has to know how many there are, waits twice
    for a whole batch.
    """

    def __call__(self, matches: Sequence[Matches], labels: Sequence[Tensor]) -> list[Sampled]:
        """Sample from the matches of each image, one after the other.

        Args:
            matches: of N candidates, as an assigner gives them, one an image.
            labels: int64 (G,), classes of the ground-truth boxes, one an image.
        """
        gt_inds = _padded([image.gt_inds for image in matches], IGNORED)  # (images, N)
        positive, negative = gt_inds >= 0, self.negatives(matches, gt_inds)
        pools = positions(torch.cat((positive, negative)))
        images = zip(pools[: len(matches)], pools[len(matches) :], matches, labels, strict=True)
        return [self.sample(*image) for image in images]

    def negatives(self, matches: Sequence[Matches], gt_inds: Tensor) -> Tensor:  # noqa: ARG002 - others look at them
        """Which candidates may be drawn as negatives, bool (images, N); IGNORED fills up shorter rows of `gt_inds`."""
        return gt_inds == NEGATIVE

    @abstractmethod
    def sample(self, positive: Tensor, negative: Tensor, matches: Matches, labels: Tensor) -> Sampled:
        """Sample from one image.

        Args:
            positive: int64 (P,), positions of all its positives, ascending.
            negative: int64 (Q,), positions of all that may be drawn as negatives, ascending.
            matches: of its candidates.
            labels: int64 (G,), classes of its ground-truth boxes.
        """


class AllSampler(Sampler):
    """Every positive and every negative."""

    def sample(self, positive: Tensor, negative: Tensor, matches: Matches, labels: Tensor) -> Sampled:  # noqa: ARG002
        """See `Sampler`."""
        return Sampled(positive, negative)


class RandomSampler(Sampler):
    """A fixed number, positives up to a fraction of it, negatives for the rest (Girshick, 2015).

    Drawn from torch's global generator, of the device the matches are on; positives without replacement.

    Args:
        num_samples: candidates an image; fewer where there are fewer.
        positive_fraction: largest fraction of positives.
        replacement: where there are more negatives than are wanted, they are drawn with replacement.
        negatives_override: low-quality matches that overlap no box more than background does may be drawn as negatives
            too, and are no positives then (PaddleDetection before its version 2).
        always_draw: the generator is asked even where all candidates are taken, so that a seed gives the samples that
            it gives in torchvision.
    """

    def __init__(
        self,
        num_samples: int,
        positive_fraction: float,
        replacement: bool = False,
        negatives_override: bool = False,
        always_draw: bool = False,
    ) -> None:
        self.num_samples = num_samples
        self.max_positives = int(num_samples * positive_fraction)
        self.replacement = replacement
        self.negatives_override = negatives_override
        self.always_draw = always_draw

    def negatives(self, matches: Sequence[Matches], gt_inds: Tensor) -> Tensor:
        """Which candidates may be drawn as negatives, bool (images, N)."""
        if not self.negatives_override:
            return super().negatives(matches, gt_inds)
        return _padded([image.background for image in matches], False)

    def sample(self, positive: Tensor, negative: Tensor, matches: Matches, labels: Tensor) -> Sampled:  # noqa: ARG002
        """See `Sampler`."""
        positive = _draw(positive, self.max_positives, always=self.always_draw)
        missing = self.num_samples - len(positive)
        negative = _draw(negative, missing, self.replacement, always=self.always_draw)
        if self.negatives_override:
            positive = positive[~torch.isin(positive, negative)]
        return Sampled(positive, negative, replaced=self.replacement)


class FullSampler(Sampler):
    """Always the same number, as faster-rcnn.pytorch draws regions.

    Positives up to a fraction, without replacement, and negatives for the rest, with replacement even where there would
    be enough of them. Where there are no negatives, all are positives, with replacement. Where there is neither,
    nothing is sampled; the original stops there.

    Args:
        num_samples: candidates an image.
        positive_fraction: largest fraction of positives, as long as there are negatives.
    """

    def __init__(self, num_samples: int, positive_fraction: float) -> None:
        self.num_samples = num_samples
        self.max_positives = round(num_samples * positive_fraction)

    def sample(self, positive: Tensor, negative: Tensor, matches: Matches, labels: Tensor) -> Sampled:  # noqa: ARG002
        """See `Sampler`."""
        if not len(negative):
            return Sampled(_draw_again(positive, self.num_samples), negative)
        positive = _draw(positive, self.max_positives)
        return Sampled(positive, _draw_again(negative, self.num_samples - len(positive)), replaced=True)


class LibraSampler(Sampler):
    """As many negatives of every range of overlaps (Pang et al., "Libra R-CNN", 2019), as PaddleDetection draws them.

    Where there are more negatives than are wanted, a third of them is drawn from each third of the range between 0 and
    the largest overlap of all candidates, or what is in it, and the rest from all that are left.

    Args:
        num_samples: candidates an image; fewer where there are fewer.
        positive_fraction: largest fraction of positives.
        balance_classes: where there are more positives than that, about as many of each class are drawn.
        fill_up: negatives are to make up for missing positives; otherwise only their own fraction is drawn of them
            where there are more than are missing.
    """

    BINS = 3
    """Ranges of overlaps."""

    def __init__(
        self, num_samples: int, positive_fraction: float, *, balance_classes: bool = False, fill_up: bool = True
    ) -> None:
        self.num_samples = num_samples
        self.max_positives = int(num_samples * positive_fraction)
        self.balance_classes = balance_classes
        self.fill_up = fill_up

    def sample(self, positive: Tensor, negative: Tensor, matches: Matches, labels: Tensor) -> Sampled:
        """See `Sampler`."""
        if len(positive) > self.max_positives and self.balance_classes:
            positive = self._of_each_class(positive, labels[matches.gt_inds[positive]])
        positive = _draw(positive, self.max_positives)
        missing = self.num_samples - len(positive)
        if len(negative) > missing:
            wanted = missing if self.fill_up else self.num_samples - self.max_positives
            negative = self._of_each_range(negative, matches.overlaps, wanted)
        return Sampled(positive, negative)

    def _of_each_class(self, positive: Tensor, labels: Tensor) -> Tensor:
        """Positives, a like number of each class, and others where that makes fewer than are wanted.

        Args:
            positive: int64 (P,).
            labels: int64 (P,), their classes.
        """
        classes = torch.unique(labels)
        share = round(self.max_positives / len(classes)) + 1
        drawn = torch.cat([_draw(positive[labels == label], share) for label in classes])
        return _topped_up(drawn, positive, self.max_positives)

    def _of_each_range(self, negative: Tensor, overlaps: Tensor, wanted: int) -> Tensor:
        """So many negatives, a like number of each range of overlaps.

        Args:
            negative: int64 (Q,).
            overlaps: (N,), of all candidates.
            wanted: how many.
        """
        width = overlaps.max() / self.BINS
        bins = [(overlaps[negative] >= i * width) & (overlaps[negative] < (i + 1) * width) for i in range(self.BINS)]
        drawn = torch.cat([_draw(negative[inside], wanted // self.BINS) for inside in bins])
        return _topped_up(drawn, negative, wanted)


def positions(masks: Tensor) -> list[Tensor]:
    """Where each of masks (M, N) is true, int64 (P,), ascending; the host waits twice, however many masks there are."""
    counts: list[int] = masks.sum(dim=1).tolist()
    return list(masks.nonzero()[:, 1].split(counts))  # type: ignore[no-untyped-call] # torch's own


def _padded(rows: Sequence[Tensor], fill: int) -> Tensor:
    """Rows (N,) as one tensor, the shorter ones filled up."""
    return pad_sequence(list(rows), batch_first=True, padding_value=fill)


def _draw(indices: Tensor, max_count: int, replacement: bool = False, always: bool = False) -> Tensor:
    """At most so many of indices (N,), in their order."""
    if len(indices) <= max_count and not always:
        return indices
    if replacement:
        return _draw_again(indices, max_count)
    return indices[torch.randperm(len(indices), device=indices.device)[:max_count]].sort().values


def _draw_again(indices: Tensor, count: int) -> Tensor:
    """So many of indices (N,), in their order, each of which may come again; none of none."""
    if not len(indices):
        return indices
    return indices[torch.randint(len(indices), (count,), device=indices.device)].sort().values


def _topped_up(drawn: Tensor, candidates: Tensor, count: int) -> Tensor:
    """What was drawn, and of the other candidates as many as are missing, ascending."""
    others = candidates[~torch.isin(candidates, drawn)]
    return torch.cat((drawn, _draw(others, max(count - len(drawn), 0)))).sort().values
