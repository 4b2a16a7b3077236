"""faster-rcnn.pytorch's loader, by its own answers on 62 made-up images; and what is read and seen of real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hydra.utils import instantiate
from labeled_images import annotation, make
from parity import GOLDEN, SHARED, golden, needs_coco, needs_shared
from parity import sample as values_at

from zoo.config.compose import compose
from zoo.data.augment.jwyang import LABELS, RatioGroupedSet, fit_to_group, is_left, resized, training_set
from zoo.data.augment.ratio_groups import Window, crop_window, fixed_groups, ratio_of_group
from zoo.data.augment.settings import RatioGroups
from zoo.data.augment.source import LabeledImages
from zoo.data.coco import CocoGroundTruth
from zoo.data.images import decode
from zoo.data.loader import TrainLoader
from zoo.data.preprocess import HostNormalizer, Preprocess
from zoo.data.resamplers import OpenCvBilinearByFactor
from zoo.data.sampler import FixedGroupSampler, SampleIndex
from zoo.data.size_rules import ByFactor
from zoo.types import Sample, Target

SETTINGS = RatioGroups(narrowest=0.5, widest=2.0, max_objects=50)
TRANSFORM = Preprocess(ByFactor(60), OpenCvBilinearByFactor(), HostNormalizer([102.9801, 115.9465, 122.7717]))
ANSWERS: dict[str, npt.NDArray[Any]] = dict(np.load(GOLDEN / "jwyang" / "train_loader.npz"))
RATIOS = ANSWERS["size"][:, 0] / ANSWERS["size"][:, 1]
CLIPPED = RATIOS.clip(0.5, 2.0)
BATCH = int(ANSWERS["batch"])


class MiddleGenerator:
    """Draws the middle of a range, as the answers do."""

    def integers(self, low: int, high: int) -> int:
        return low + (high - low) // 2


def boxes_of(name: str, image: int) -> npt.NDArray[np.float32]:
    rows: npt.NDArray[np.float32] = ANSWERS[name]
    return rows[rows[:, 0] == image, 1:]


def test_groups() -> None:
    assert fixed_groups(CLIPPED, BATCH).ravel().tolist() == list(range(len(RATIOS) // BATCH * BATCH))
    assert fixed_groups(np.array([2.0, 0.5, 1.0, 0.5, 1.0]), 2).tolist() == [[1, 3], [2, 4]]
    assert fixed_groups(np.array([2.0, 0.5]), 5).tolist() == [[1, 1, 1, 0, 0]]


@pytest.mark.parametrize("image", range(len(RATIOS)))
def test_its_own_answers(image: int) -> None:
    first = image // BATCH * BATCH
    ratio = ratio_of_group(CLIPPED[first : first + BATCH])
    width, height = ANSWERS["resized"][image].tolist()
    boxes, is_long = boxes_of("boxes", image), not 0.5 <= RATIOS[image] <= 2
    places: list[list[int]] = [[-1, -1], [0, 0]]
    if is_long:
        window = crop_window((height, width), ratio, boxes)
        drawn = window.low != window.high
        start = window.draw(MiddleGenerator())  # type: ignore[arg-type] # draws, and nothing else
        places = [[window.low, window.high] if drawn else [-1, -1], [start, 0] if window.axis else [0, start]]
    assert places == [ANSWERS["range"][image].tolist(), ANSWERS["start"][image].tolist()]
    loaded = Sample(torch.zeros(height, width, 3), 7, (1, 1), (1.0, 1.0))
    sample, found = fit_to_group(loaded, boxes, ratio, is_long=is_long, generator=MiddleGenerator())  # type: ignore[arg-type] # draws, and nothing else
    assert sample.batch_shape == tuple(ANSWERS["canvas"][image])
    assert list(sample.pixels.shape[:2]) == ANSWERS["filled"][image].tolist()
    np.testing.assert_array_equal(found[is_left(found)], boxes_of("boxes_out", image))


def test_a_window_begins_everywhere_in_its_range() -> None:
    window = Window(axis=1, length=10, low=3, high=6)
    assert {window.draw(np.random.default_rng(i)) for i in range(30)} == {3, 4, 5}
    boxes = np.array([[2, 2, 40, 40]], dtype=np.float32)
    assert window.crop_boxes(boxes, 4).tolist() == [[0, 2, 9, 40]]


def made(folder: Path, sizes: list[tuple[int, int]], *rows: dict[str, Any], **changes: Any) -> RatioGroupedSet:
    truth, files = make(folder, sizes, list(rows))
    return of(truth, files, **changes)


def of(truth: CocoGroundTruth, files: list[Path], batch_size: int = 2, seed: int = 0) -> RatioGroupedSet:
    return training_set(truth, files, SETTINGS, TRANSFORM, batch_size=batch_size, seed=seed)


def example(dataset: RatioGroupedSet, entry: int = 0, place: int = 0) -> tuple[Sample, Target]:
    found = dataset[SampleIndex(entry, 0, place)]
    assert isinstance(found, tuple)
    return found


def test_boxes_are_whole_pixels_and_crowds_are_objects(tmp_path: Path) -> None:
    rows = [
        annotation(1, [10.7, 5.2, 20.9, 8.5], iscrowd=1),  # corners 10.7, 5.2, 30.6, 12.7
        annotation(1, [-4, -5, 100, 100], category_id=7),  # as wide as before where it begins: the whole image
        annotation(1, [3, 4, 0.5, 0.5]),  # one pixel, which is no box in the end
        annotation(1, [10, 10, 5, 5], area=0.0),
        annotation(1, [70, 10, 5, 5]),  # beyond the right edge
        annotation(2, [10, 10, 5, 5], area=0.0),
    ]
    dataset = made(tmp_path, [(30, 40), (30, 40)], *rows)
    assert dataset.images.account.images_left_out == {"without an object": 1}
    assert dataset.images.account.objects == 3
    sample, target = example(dataset)
    assert sample.scale == (2.0, 2.0)
    boxes = dict(zip(target.labels.tolist(), target.boxes.tolist(), strict=True))
    assert boxes == {0: [20.0, 10.0, 60.0, 24.0], 1: [0.0, 0.0, 78.0, 58.0]}
    mirrored = dict(zip(*(values.tolist() for values in (target.labels, example(dataset, 1)[1].boxes)), strict=True))
    assert sorted(mirrored.values()) == [[0.0, 0.0, 78.0, 58.0], [18.0, 10.0, 58.0, 24.0]]


def test_pixels_are_those_of_the_evaluation(tmp_path: Path) -> None:
    dataset = made(tmp_path, [(30, 41)], annotation(1, [10, 5, 20, 8]))
    file = dataset.images.files[0]
    assert torch.equal(example(dataset)[0].pixels, TRANSFORM(file).pixels)
    mirrored = decode(file)[:, ::-1, ::-1]  # as RGB
    sample, _ = example(dataset, 1)
    assert torch.equal(sample.pixels, TRANSFORM(mirrored).pixels)
    assert (sample.original_size, sample.batch_shape) == ((30, 41), (60, 82))


def test_at_most_fifty_objects_and_others_in_every_view(tmp_path: Path) -> None:
    rows = [annotation(1, [i % 30, i // 30, 3, 3]) for i in range(60)]
    dataset = made(tmp_path, [(30, 40)], *rows)
    first, second = (example(dataset, place=place)[1].boxes for place in (0, 1))
    assert first.shape == (50, 4)
    assert not torch.equal(first, second)
    assert torch.equal(first, example(dataset)[1].boxes)


def test_a_long_image_is_cut_to_its_group(tmp_path: Path) -> None:
    dataset = made(tmp_path, [(20, 90), (60, 30)], *(annotation(i, [4, 5, 10, 9]) for i in (1, 2)))
    assert dataset.groups.tolist() == [[1, 3], [0, 2]]
    assert [example(dataset, entry)[0].batch_shape for entry in range(4)] == [(60, 120), (120, 60)] * 2
    starts = {float(example(dataset, place=place)[1].boxes[0, 0]) for place in range(20)}
    assert len(starts) > 5, "the window is drawn anew"
    assert min(starts) >= 0
    assert max(starts) <= 12


def test_an_epoch_takes_every_group_once() -> None:
    groups = np.arange(24).reshape(4, 6)
    sampler = FixedGroupSampler(groups, micro_batch_size=3, seed=0)
    assert (sampler.steps_per_epoch, sampler.micro_batches_per_step) == (4, 2)
    steps = [[[place.image for place in part] for part in sampler.step(i)] for i in range(8)]
    as_groups = [[*parts[0], *parts[1]] for parts in steps]
    assert sorted(as_groups[:4]) == sorted(as_groups[4:]) == groups.tolist()
    assert as_groups[:4] != as_groups[4:]
    places = [place for i in range(4) for part in sampler.step(i) for place in part]
    assert [(place.epoch, place.position) for place in places] == [(0, i) for i in range(24)]
    assert FixedGroupSampler(groups, micro_batch_size=3, seed=0).step(5) == sampler.step(5)
    with pytest.raises(ValueError, match="does not split"):
        FixedGroupSampler(groups, micro_batch_size=4, seed=0)


def test_steps_come_in_order_and_again_after_a_resume(tmp_path: Path) -> None:
    sizes = [(30, 40), (40, 30), (30, 30)]
    dataset = made(tmp_path, sizes, *(annotation(i, [4, 5, 10, 9]) for i in (1, 2, 3)))
    loader = TrainLoader(dataset, FixedGroupSampler(dataset.groups, micro_batch_size=1, seed=0))
    whole = list(loader(0, 6))
    again = list(loader(4, 6))
    for before, after in zip(whole[4:], again, strict=True):
        assert [s.image_id for part in before for s, _ in part] == [s.image_id for part in after for s, _ in part]
        assert all(torch.equal(before[i][0][0].pixels, after[i][0][0].pixels) for i in (0, 1))
    for step in whole:
        assert len({sample.batch_shape for part in step for sample, _ in part}) == 1


@needs_coco
@needs_shared
def test_real_images_are_those_of_its_losses() -> None:
    """Pixels, boxes and labels of two images in the group of ratio 1 that its losses were taken of, to the bit."""
    case = golden("jwyang/jwyang_res101", "loss")
    config = compose("jwyang_faster_rcnn_r101_s600_6e")
    transform = instantiate(config["protocol"]["transform"], _convert_="all")
    truth = CocoGroundTruth.load(SHARED / "coco" / "annotations" / "instances_val2017.json")
    files = [SHARED / "coco" / "val2017" / name for name in truth.file_names]
    images = LabeledImages(truth.with_categories(config["data"]["classes"]), files, LABELS)
    inputs: list[torch.Tensor] = []
    for image_id, padded, count in zip(case["image_order"], case["gt_boxes"], case["num_boxes"], strict=True):
        loaded = images.load(images.image_ids.tolist().index(int(image_id)))
        sample, boxes = resized(loaded, int(image_id), transform)
        sample, boxes = fit_to_group(sample, boxes, np.float32(1), is_long=False, generator=np.random.default_rng(0))
        assert [*(sample.batch_shape or ()), np.float32(sample.scale[0])] == case["im_info"][len(inputs)].tolist()
        np.testing.assert_array_equal(boxes[is_left(boxes)], padded[: int(count), :4])
        assert (loaded.labels[is_left(boxes)] + 1).tolist() == padded[: int(count), 4].tolist()
        inputs.append(sample.pixels.permute(2, 0, 1))
    np.testing.assert_array_equal(values_at(torch.stack(inputs)), case["input_sample"])
