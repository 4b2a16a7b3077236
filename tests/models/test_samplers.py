"""Samplers: numbers, shares, order, and the generator they draw from."""

from __future__ import annotations

import torch

from zoo.models.assigners.max_iou import IGNORED, NEGATIVE
from zoo.models.samplers import AllSampler, RandomSampler

MATCHES = torch.tensor([3, NEGATIVE, IGNORED, 0, NEGATIVE, NEGATIVE, 0])
"""Three positives, three negatives, one that is ignored."""


def many(positives: int, negatives: int) -> torch.Tensor:
    return torch.cat((torch.zeros(positives, dtype=torch.int64), torch.full((negatives,), NEGATIVE)))


def test_all_keeps_everything_but_the_ignored() -> None:
    sampled = AllSampler()(MATCHES)
    assert sampled.positive.tolist() == [0, 3, 6]
    assert sampled.negative.tolist() == [1, 4, 5]


def test_random_keeps_all_where_there_are_few() -> None:
    sampled = RandomSampler(256, 0.5)(MATCHES)
    assert sampled.positive.tolist() == [0, 3, 6]
    assert sampled.negative.tolist() == [1, 4, 5]


def test_random_limits_positives_to_their_share() -> None:
    sampled = RandomSampler(8, 0.25)(many(100, 100))
    assert len(sampled.positive) == 2
    assert len(sampled.negative) == 6


def test_random_fills_up_with_negatives() -> None:
    sampled = RandomSampler(8, 0.5)(many(1, 100))
    assert sampled.positive.tolist() == [0]
    assert len(sampled.negative) == 7


def test_random_draws_without_replacement_and_in_order() -> None:
    matches = many(50, 50)
    sampled = RandomSampler(40, 0.5)(matches)
    for indices, is_chosen in ((sampled.positive, matches >= 0), (sampled.negative, matches == NEGATIVE)):
        assert indices.tolist() == sorted(set(indices.tolist()))
        assert len(indices) == 20
        assert bool(is_chosen[indices].all())


def test_random_repeats_with_the_global_seed() -> None:
    def draw(seed: int) -> list[int]:
        torch.manual_seed(seed)
        return RandomSampler(16, 0.5)(many(100, 100)).negative.tolist()

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


def test_random_draws_every_candidate_about_equally_often() -> None:
    torch.manual_seed(0)
    counts = torch.zeros(10)
    for _ in range(1000):
        counts[RandomSampler(4, 0.5)(many(10, 0)).positive] += 1
    assert counts.sum() == 2000
    assert float((counts - 200).abs().max()) < 60  # 5 standard deviations are 63
