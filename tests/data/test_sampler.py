"""In what order the images of a training come."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.data.sampler import AspectRatioBatchSampler, RatioBinSampler

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


def test_bins_of_ratios() -> None:
    """Height / width: six bins between 1/2 and 2, and one on either side; an edge belongs to the bin above it."""
    ratios = np.array([0.4, 0.5, 0.62, 0.63, 0.75, 1.0, 1.25, 1.26, 1.58, 1.99, 2.0, 3.0])
    sampler = RatioBinSampler(ratios, factor=3, batch_size=1, micro_batch_size=1, seed=0)
    assert sampler.bins.tolist() == [0, 1, 1, 2, 2, 4, 4, 5, 5, 6, 7, 7]
    halves = RatioBinSampler(ratios, factor=0, batch_size=1, micro_batch_size=1, seed=0)
    assert halves.bins.tolist() == [0] * 5 + [1] * 7


def test_a_bin_is_trained_on_as_soon_as_it_fills_a_micro_batch() -> None:
    sampler = RatioBinSampler(np.array([0.4, 3.0] * 4 + [1.1]), factor=3, batch_size=2, micro_batch_size=2, seed=0)
    assert sampler.steps_per_epoch == 4  # nine images, one process
    dealt = sampler._micro_batches([0, 1, 8, 3, 5, 2, 4, 7, 6])
    assert dealt == [[1, 3], [0, 2], [5, 7], [4, 6]]  # nothing is left over but 8, and the number of steps is reached
    # Of bins of one waiting image that began to fill first comes first, and is filled up with its first images.
    left = sampler._micro_batches([8, 1, 3, 0, 2, 5, 4])
    assert left == [[1, 3], [0, 2], [8, 8], [5, 1]]


def test_each_process_has_a_share_of_the_order() -> None:
    ratios = np.linspace(0.3, 3, 117)
    sampler = RatioBinSampler(ratios, factor=3, batch_size=16, micro_batch_size=2, seed=0)
    assert sampler.steps_per_epoch == 7  # 117 images: 15 of each of eight processes
    for epoch in range(2):
        steps = [sampler.step(7 * epoch + step) for step in range(7)]
        assert all(len({int(sampler.bins[i.image]) for i in row}) == 1 for step in steps for row in step)
        places = [index.position for step in steps for row in step for index in row]
        assert sorted(places) == list(range(112))
        shares = [{index.image for step in steps for index in step[process]} for process in range(8)]
        twice = sum(len(share) for share in shares) - len(set().union(*shares))
        assert twice <= 3, "120 places for 117 images"
    assert [i.image for i in sampler.step(0)[0]] != [i.image for i in sampler.step(7)[0]]


def test_a_set_of_few_images_makes_a_step() -> None:
    sampler = RatioBinSampler(np.ones(3), factor=3, batch_size=16, micro_batch_size=2, seed=0)
    assert sampler.steps_per_epoch == 1
    assert [len(row) for row in sampler.step(0)] == [2] * 8
    with pytest.raises(ValueError, match="does not split"):
        RatioBinSampler(np.ones(3), factor=3, batch_size=16, micro_batch_size=3, seed=0)
