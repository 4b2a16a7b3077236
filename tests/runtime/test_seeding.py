"""Seeds of a run."""

from __future__ import annotations

import random

import numpy as np
import torch

from zoo.runtime.seeding import micro_batch_seed, seed_everything, seed_micro_batch


def test_every_generator_is_seeded() -> None:
    drawn = []
    for seed in (1, 1, 2):
        seed_everything(seed)
        drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
    assert drawn[0] == drawn[1]
    assert all(one != other for one, other in zip(drawn[0], drawn[2], strict=True))


def test_seeds_of_micro_batches_are_all_different_and_stay_what_they_are() -> None:
    seeds = {micro_batch_seed(seed, index) for seed in range(20) for index in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert micro_batch_seed(0, 0) == 7_896_617_691_693_857_887
    assert micro_batch_seed(3, 17) == 2_963_875_794_002_553_787


def test_a_micro_batch_draws_the_same_whatever_came_before() -> None:
    drawn = []
    for before in (1, 2):
        torch.manual_seed(before)
        seed_micro_batch(5, 4)
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)
    assert torch.equal(drawn[0], torch.rand(3, generator=torch.Generator().manual_seed(micro_batch_seed(5, 4))))
