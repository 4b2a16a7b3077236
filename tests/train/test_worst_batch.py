"""The worst batch of a recipe: the largest shape, the most objects, full samplers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ENTRY
from subjects import SMALL, make_subject

from zoo.data.augment.settings import MultiScale
from zoo.data.coco import CocoGroundTruth
from zoo.measure.measurement import Subject
from zoo.models.boxes import EXCLUSIVE
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.samplers import RandomSampler, Sampled, Sampler
from zoo.train.schedule import Schedule
from zoo.train.trainer import MicroBatch
from zoo.train.training import profile_steps
from zoo.train.worst_batch import MOST_OBJECTS, _about, _largest_scale, worst_micro_batch
from zoo.types import Sample, Target


@pytest.fixture(scope="module")
def subject(tiny_coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    sizes = ["protocol.transform.size_rule={long:320,short:192}", "schedule.multi_scale.scales=[[320,192]]"]
    return make_subject(ENTRY, tiny_coco, tmp_path_factory.mktemp("run"), [*SMALL[:4], *sizes])


def test_the_largest_scale_of_a_recipe() -> None:
    def largest(mode: Any, *scales: tuple[int, int], ratio: tuple[float, float] = (1.0, 1.0)) -> tuple[int, int]:
        return _largest_scale(MultiScale(mode=mode, scales=scales, ratio=ratio))

    assert largest("fixed", (1333, 800)) == (1333, 800)
    assert largest("choice", (1333, 640), (1333, 800), (1333, 672)) == (1333, 800)
    assert largest("range", (1333, 800), (1333, 640)) == (1333, 800)
    assert largest("ratio", (640, 640), ratio=(0.8, 1.2)) == (768, 768)


def test_boxes_about_the_ground_truth_overlap_it() -> None:
    boxes = torch.tensor([[10.0, 10, 50, 30], [60, 60, 64, 90]])
    about = _about(boxes, 128)
    assert len(about) == 128
    assert float(EXCLUSIVE.iou(about, boxes).amax(dim=1).min()) > 0.75  # of every stage of a cascade
    assert len(torch.unique(about, dim=0)) == 128
    assert _about(boxes[:0], 128).shape == (0, 4)


def test_both_samplers_are_full_on_the_worst_batch_and_ordinary_steps_are_as_they_were(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, recipe, draw = subject.fresh(), subject.recipe, RandomSampler.__call__
    assert isinstance(detector, TwoStageDetector)
    assert recipe is not None
    rpn, stage = detector.rpn_head, detector.roi_head.last_stage
    assert isinstance(rpn.sampler, RandomSampler)
    assert isinstance(stage.sampler, RandomSampler)
    drawn: dict[Sampler, list[list[int]]] = {rpn.sampler: [], stage.sampler: []}

    def counting(self: RandomSampler, *arguments: Any) -> list[Sampled]:
        sampled = draw(self, *arguments)
        drawn[self].append([len(image.positive) for image in sampled])
        return sampled

    monkeypatch.setattr(RandomSampler, "__call__", counting)
    steps: list[int] = []
    found = profile_steps(
        *(recipe, detector, subject.ground_truth, subject.dataset.files),
        steps=1,
        worst_steps=2,
        seed=0,
        workers=0,
        after_step=lambda: steps.append(len(drawn[stage.sampler])),
    )
    assert (found.worst_input, found.worst_objects) == ((192, 320), [MOST_OBJECTS] * 2)
    assert steps == [1, 2, 3], "called after each step"
    for sampler, positives in drawn.items():
        assert isinstance(sampler, RandomSampler)
        assert positives[1:] == [[sampler.max_positives] * 2] * 2
        assert max(positives[0]) < sampler.max_positives
    assert "propose" not in vars(rpn), "the first stage is its own again"


def test_of_all_batches_the_largest_counts_and_then_the_most_objects(subject: Subject, tmp_path: Path) -> None:
    """The largest views of the recipe are asked for, with masks only once, on images that are crowded."""
    asked: list[tuple[Schedule, bool]] = []

    def views(schedule: Schedule, truth: CocoGroundTruth, files: Sequence[Path], masks: bool) -> list[MicroBatch]:
        asked.append((schedule, masks))
        assert truth.category_names == subject.ground_truth.category_names
        assert all(path.exists() for path in files)
        assert np.bincount(truth.image_index).tolist() == [MOST_OBJECTS] * len(files)
        ratio, both = truth.widths[0] / truth.heights[0], len(files) == 4
        return [batch_of(objects, masks, ratio, both) for objects in (3, 5)]

    def batch_of(objects: int, masks: bool, ratio: float, both: bool) -> MicroBatch:
        target = Target(torch.zeros(objects, 4), torch.zeros(objects, dtype=torch.int64))
        pixels = torch.zeros(4 if both else 2, round(6 * ratio), 3, dtype=torch.uint8)
        return [(Sample(pixels, int(masks), (4, 4), (1.0, 1.0)), target)] * 2

    assert subject.recipe is not None
    schedule = dataclasses.replace(
        subject.recipe.schedule, multi_scale=MultiScale(mode="range", scales=((64, 32), (64, 48)))
    )
    worst = worst_micro_batch(schedule, views, lambda batch: batch[0][0].size, subject.ground_truth, 2, tmp_path)
    assert [(sample.size, sample.image_id, len(target.labels)) for sample, target in worst] == [((4, 12), 1, 5)] * 2
    assert {each.multi_scale for each, _ in asked} == {MultiScale(mode="fixed", scales=((64, 48),))}
    assert [masks for _, masks in asked] == [False] * 8 + [True]
