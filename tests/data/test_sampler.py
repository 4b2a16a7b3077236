"""In what order the images of a training come."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.data.sampler import AspectRatioBatchSampler

LANDSCAPE = np.array([True] * 7 + [False] * 4)


def images(sampler: AspectRatioBatchSampler, step: int) -> list[list[int]]:
    return [[index.image for index in micro_batch] for micro_batch in sampler.step(step)]


def test_a_micro_batch_is_all_landscape_or_all_portrait() -> None:
    sampler = AspectRatioBatchSampler(LANDSCAPE, batch_size=4, micro_batch_size=2, seed=0)
    assert sampler.steps_per_epoch == 3  # 4 + 2 micro-batches
    for epoch in range(3):
        rows = [row for step in range(3) for row in images(sampler, 3 * epoch + step)]
        assert all(LANDSCAPE[row].all() or not LANDSCAPE[row].any() for row in rows)
        assert {image for row in rows for image in row} == set(range(11))
    assert images(sampler, 0) != images(sampler, 3)


def test_every_place_of_an_epoch_is_taken_once() -> None:
    sampler = AspectRatioBatchSampler(LANDSCAPE, batch_size=4, micro_batch_size=2, seed=0, repeat=3)
    assert sampler.steps_per_epoch == 9  # 21 landscape ones in 11 micro-batches, 12 portrait ones in 6
    every = [index for step in range(18) for row in sampler.step(step) for index in row]
    assert len({(index.epoch, index.position) for index in every}) == len(every) == 72
    assert [sampler.step(7)] == [
        AspectRatioBatchSampler(LANDSCAPE, batch_size=4, micro_batch_size=2, seed=0, repeat=3).step(7)
    ]
    with pytest.raises(ValueError, match="does not split"):
        AspectRatioBatchSampler(LANDSCAPE, batch_size=4, micro_batch_size=3, seed=0)


@pytest.mark.parametrize(
    ("number", "per_gpu", "steps"), [(117266, 1, 14659), (117266, 2, 7329), (17, 2, 1), (33, 2, 2), (3, 2, 1)]
)
def test_the_last_images_of_an_epoch_can_be_left_out(number: int, per_gpu: int, steps: int) -> None:
    """Of 8 GPUs: COCO's images with an object, as PaddleDetection counts its iterations; and sets of few."""
    alike = np.ones(number, dtype=bool)
    sampler = AspectRatioBatchSampler(alike, batch_size=8 * per_gpu, micro_batch_size=per_gpu, seed=0, drop_last=True)
    assert sampler.steps_per_epoch == steps
    if number > 8 * per_gpu:
        last = images(sampler, steps - 1)
        assert [len(row) for row in last] == [per_gpu] * 8
        seen = {image for step in range(min(steps, 5)) for row in images(sampler, step) for image in row}
        assert len(seen) >= min(steps, 5) * 8 * per_gpu - 1  # one may come twice: the set is odd
