"""Samplers: numbers, shares, order, and the generator they draw from."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from zoo.models.assigners.max_iou import IGNORED, NEGATIVE, Matches
from zoo.models.samplers import AllSampler, FullSampler, LibraSampler, RandomSampler, Sampled, Sampler

LABELS = torch.zeros(4, dtype=torch.int64)


def matches_of(gt_inds: Tensor, overlaps: Tensor | None = None, background: Tensor | None = None) -> Matches:
    """Matches whose overlaps are 1 for objects, and whose background is what is negative, unless they are given."""
    negative = gt_inds == NEGATIVE
    overlaps = (~negative).float() if overlaps is None else overlaps
    return Matches(gt_inds, overlaps, negative if background is None else background)


def sample(sampler: Sampler, matches: Matches, labels: Tensor = LABELS) -> Sampled:
    """Of one image."""
    (sampled,) = sampler([matches], [labels])
    return sampled


MATCHES = matches_of(torch.tensor([3, NEGATIVE, IGNORED, 0, NEGATIVE, NEGATIVE, 0]))
"""Three positives, three negatives, one that is ignored."""


def many(positives: int, negatives: int) -> Matches:
    return matches_of(torch.cat((torch.zeros(positives, dtype=torch.int64), torch.full((negatives,), NEGATIVE))))


def test_all_keeps_everything_but_the_ignored() -> None:
    sampled = sample(AllSampler(), MATCHES)
    assert sampled.positive.tolist() == [0, 3, 6]
    assert sampled.negative.tolist() == [1, 4, 5]


def test_random_keeps_all_where_there_are_few() -> None:
    sampled = sample(RandomSampler(256, 0.5), MATCHES)
    assert sampled.positive.tolist() == [0, 3, 6]
    assert sampled.negative.tolist() == [1, 4, 5]


def test_random_limits_positives_to_their_share() -> None:
    sampled = sample(RandomSampler(8, 0.25), many(100, 100))
    assert len(sampled.positive) == 2
    assert len(sampled.negative) == 6


def test_random_fills_up_with_negatives() -> None:
    sampled = sample(RandomSampler(8, 0.5), many(1, 100))
    assert sampled.positive.tolist() == [0]
    assert len(sampled.negative) == 7


def test_random_draws_without_replacement_and_in_order() -> None:
    matches = many(50, 50)
    sampled = sample(RandomSampler(40, 0.5), matches)
    for indices, is_chosen in ((sampled.positive, ~matches.background), (sampled.negative, matches.background)):
        assert indices.tolist() == sorted(set(indices.tolist()))
        assert len(indices) == 20
        assert bool(is_chosen[indices].all())


def test_random_repeats_with_the_global_seed() -> None:
    def draw(seed: int) -> list[int]:
        torch.manual_seed(seed)
        return sample(RandomSampler(16, 0.5), many(100, 100)).negative.tolist()

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


def test_random_draws_every_candidate_about_equally_often() -> None:
    torch.manual_seed(0)
    counts = torch.zeros(10)
    for _ in range(1000):
        counts[sample(RandomSampler(4, 0.5), many(10, 0)).positive] += 1
    assert counts.sum() == 2000
    assert float((counts - 200).abs().max()) < 60  # 5 standard deviations are 63


def test_negatives_may_be_drawn_with_replacement() -> None:
    torch.manual_seed(0)
    negative = sample(RandomSampler(64, 0.5, replacement=True), many(0, 65)).negative
    assert len(negative) == 64
    assert len(set(negative.tolist())) < 50  # 65 (1 - 1/e) are expected, 41
    assert sample(RandomSampler(64, 0.5, replacement=True), many(0, 64)).negative.tolist() == list(range(64))


def test_a_low_quality_match_that_is_drawn_as_negative_is_no_positive() -> None:
    # The first is positive by itself, the second but a low-quality match.
    matches = matches_of(torch.tensor([0, 0, NEGATIVE]), background=torch.tensor([False, True, True]))
    sampled = sample(RandomSampler(256, 0.5, negatives_override=True), matches)
    assert (sampled.positive.tolist(), sampled.negative.tolist()) == ([0], [1, 2])
    sampled = sample(RandomSampler(256, 0.5), matches)
    assert (sampled.positive.tolist(), sampled.negative.tolist()) == ([0, 1], [2])


def test_what_is_not_drawn_as_negative_stays_positive() -> None:
    torch.manual_seed(0)
    background = torch.cat((torch.tensor([True]), torch.ones(10_000, dtype=torch.bool)))
    matches = matches_of(torch.cat((torch.tensor([0]), torch.full((10_000,), NEGATIVE))), background=background)
    sampled = sample(RandomSampler(8, 0.5, negatives_override=True), matches)
    assert sampled.positive.tolist() == [0]
    assert len(sampled.negative) == 7


def ranges(low: int, middle: int, positives: int) -> Matches:
    """Negatives that overlap by 0.1 and by 0.4, and positives that overlap by 1."""
    gt_inds = torch.cat((torch.full((low + middle,), NEGATIVE), torch.zeros(positives, dtype=torch.int64)))
    overlaps = torch.cat((torch.full((low,), 0.1), torch.full((middle,), 0.4), torch.ones(positives)))
    return matches_of(gt_inds, overlaps)


def test_libra_draws_negatives_of_every_range() -> None:
    # Of 24 negatives a third is wanted of each range; the highest has none, and the rest is drawn from all.
    torch.manual_seed(0)
    sampled = sample(LibraSampler(32, 0.25), ranges(10_000, 8, 8))
    assert len(sampled.positive) == 8
    assert len(sampled.negative) == len(set(sampled.negative.tolist())) == 24
    assert int((sampled.negative >= 10_000).sum()) == 8
    assert sampled.negative.tolist() == sorted(sampled.negative.tolist())


def test_libra_fills_up_with_negatives_or_keeps_to_their_share() -> None:
    assert len(sample(LibraSampler(32, 0.25), ranges(100, 0, 2)).negative) == 30
    assert len(sample(LibraSampler(32, 0.25, fill_up=False), ranges(100, 0, 2)).negative) == 24
    # Where there are no more than are missing all of them are taken.
    assert len(sample(LibraSampler(32, 0.25, fill_up=False), ranges(30, 0, 2)).negative) == 30


def test_libra_may_draw_positives_of_every_class() -> None:
    # 8 are wanted; of 2 classes 5 each may be drawn, and are cut to 8: at least 3 of the class with 5 members.
    torch.manual_seed(0)
    gt_inds = torch.cat((torch.full((1000,), 0), torch.full((5,), 1)))
    for balanced, least in ((True, 3), (False, 0)):
        sampled = sample(LibraSampler(32, 0.25, balance_classes=balanced), matches_of(gt_inds), torch.tensor([7, 9]))
        assert len(sampled.positive) == 8
        assert least <= int((sampled.positive >= 1000).sum()) <= (5 if balanced else 1)


def test_libra_tops_up_with_positives_of_any_class() -> None:
    # 8 are wanted; one object of each of 5 classes but the first, of which 3 may be drawn first: 4 + 3 and another.
    gt_inds = torch.cat((torch.full((100,), 0), torch.arange(1, 5)))
    sampled = sample(LibraSampler(32, 0.25, balance_classes=True), matches_of(gt_inds), torch.arange(5))
    assert len(sampled.positive) == len(set(sampled.positive.tolist())) == 8
    assert sampled.positive[-4:].tolist() == [100, 101, 102, 103]


@pytest.mark.parametrize(
    ("positives", "negatives", "expected"),
    [
        (100, 1000, (32, 96)),
        (5, 1000, (5, 123)),
        (100, 3, (32, 96)),  # drawn again
        (0, 3, (0, 128)),
        (5, 0, (128, 0)),
        (0, 0, (0, 0)),
    ],
)
def test_full_is_always_the_same_number(positives: int, negatives: int, expected: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matches = many(positives, negatives)
    sampled = sample(FullSampler(128, 0.25), matches)
    assert (len(sampled.positive), len(sampled.negative)) == expected
    assert bool((matches.gt_inds[sampled.positive] >= 0).all())
    assert bool((matches.gt_inds[sampled.negative] == NEGATIVE).all())
    if negatives:
        assert len(set(sampled.positive.tolist())) == len(sampled.positive), "objects come once"


def test_full_draws_background_again_even_where_there_is_enough() -> None:
    torch.manual_seed(0)
    negative = sample(FullSampler(128, 0.25), many(0, 200)).negative
    assert len(set(negative.tolist())) < len(negative) == 128
    assert negative.tolist() == sorted(negative.tolist())


def test_the_generator_may_be_asked_even_where_all_are_taken() -> None:
    # So that a seed gives torchvision's samples: of three positives and three negatives, then of many.
    torch.manual_seed(0)
    sampled = sample(RandomSampler(8, 0.5, always_draw=True), MATCHES)
    assert (sampled.positive.tolist(), sampled.negative.tolist()) == ([0, 3, 6], [1, 4, 5])
    after = torch.randperm(9)
    torch.manual_seed(0)
    assert [len(torch.randperm(3)) for _ in range(2)] == [3, 3]
    assert torch.equal(torch.randperm(9), after)
