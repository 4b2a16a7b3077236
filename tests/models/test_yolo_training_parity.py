"""YOLOv8's labels, assignment, losses and gradients agree with Ultralytics on a batch of two real images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from class_names import class_names
from parity import SHARED, golden, needs_coco, needs_shared, weights
from test_yolo_parity import DEEP
from torch import Tensor

from zoo.config.build import build_model, load_weights
from zoo.config.compose import compose
from zoo.data.augment import ultralytics
from zoo.data.augment.operations import LetterboxSquare, ResizeRelative, apply
from zoo.data.augment.source import LabeledImages
from zoo.data.coco import CocoGroundTruth
from zoo.models.assigners.max_iou import NEGATIVE
from zoo.models.assigners.task_aligned import Assignment
from zoo.models.detectors.dense import DenseDetector
from zoo.models.heads.yolo import YoloHead
from zoo.models.heads.yolo_losses import YoloLosses
from zoo.models.layers.conv import norms
from zoo.models.layers.skip_init import SkipInit
from zoo.models.losses.masks import instance_map
from zoo.types import Sample, Target

pytestmark = [pytest.mark.long, needs_shared, needs_coco]

CASES = ["yolov8n", "yolov8n-seg", *DEEP]
IMAGES = (520707, 349184)
SIDE = 640
TOLERANCE = 5e-5
"""Relative: what the sums of another number of threads, or of another correct program, may differ by."""


@dataclass(slots=True)
class Step:
    """One training step: what went in, what was assigned, what it cost."""

    case: str
    model: DenseDetector
    samples: list[Sample]
    targets: list[Target]
    assigned: list[Assignment]
    losses: dict[str, Tensor]

    @property
    def answers(self) -> dict[str, npt.NDArray[Any]]:
        return golden(f"ultralytics/{self.case}", "loss")

    def rank(self, image: int) -> npt.NDArray[np.int64]:
        """The number that the original gives each object: in order, with masks from large to small."""
        target = self.targets[image]
        if target.masks is None:
            return np.arange(len(target.labels))
        cells = instance_map_areas(target.masks)
        return np.argsort(np.argsort(-cells, kind="stable"))


def instance_map_areas(masks: Tensor) -> npt.NDArray[np.int64]:
    """Cells of each object (G,), those that others cover too included."""
    alone = [instance_map(mask[None], (SIDE, SIDE), (0, 0)) >= 0 for mask in masks]
    return np.array([int(cells.sum()) for cells in alone])


@pytest.fixture(scope="module", params=CASES)
def step(request: pytest.FixtureRequest) -> Step:
    model, samples, targets = load(request.param), *examples(masks=request.param.endswith("-seg"))
    model.train()
    for norm in norms(model):
        norm.eval()
    assigned: list[Assignment] = []
    criterion = criterion_of(model)
    assign = criterion.assign

    def watched(*given: Any) -> list[Assignment]:
        assigned.extend(assign(*given))
        return list(assigned)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(criterion, "assign", watched)
        losses = model(samples, targets)
    assert isinstance(losses, dict)
    return Step(request.param, model, samples, targets, assigned, losses)


def load(case: str, *overrides: str) -> DenseDetector:
    with SkipInit("meta"):
        model = build_model(compose(f"ultralytics_{case.replace('-', '_')}", overrides), class_names(80))
    load_weights(model, weights(f"ultralytics/{case}"), "ultralytics")
    assert isinstance(model, DenseDetector)
    return model


def criterion_of(model: DenseDetector) -> YoloLosses:
    assert isinstance(model.dense_head, YoloHead)
    return model.dense_head.criterion


def examples(masks: bool) -> tuple[list[Sample], list[Target]]:
    """The images on squares, not augmented."""
    truth = CocoGroundTruth.load(SHARED / "coco" / "annotations" / "instances_val2017.json")
    files = [SHARED / "coco" / "val2017" / name for name in truth.file_names]
    images = LabeledImages(truth, files, ultralytics.LABELS)
    samples, targets = [], []
    for image_id in IMAGES:
        image = images.load(int(np.searchsorted(images.image_ids, image_id)))
        view = apply((ResizeRelative(SIDE), LetterboxSquare(SIDE)), image, np.random.default_rng(0))
        square = Sample(torch.from_numpy(view.pixels), image_id, (SIDE, SIDE), (1.0, 1.0), batch_shape=(SIDE, SIDE))
        target = Target(torch.from_numpy(view.boxes), torch.from_numpy(view.labels))
        if masks:
            target.masks = torch.from_numpy(view.bitmaps())
        samples.append(square)
        targets.append(target)
    return samples, targets


def assert_close(name: str, got: Tensor, expected: npt.NDArray[Any], tolerance: float) -> None:
    off = abs(float(got.detach()) / float(expected) - 1)
    assert off <= tolerance, f"{name}: off by {off:.2g}, relative"


def test_boxes_come_from_the_outlines(step: Step) -> None:
    corners = np.concatenate([target.boxes.numpy() for target in step.targets]) / SIDE
    boxes = np.concatenate(((corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]), axis=1)
    first = step.answers["gt_batch_idx"] == 0
    order = np.concatenate((np.argsort(step.rank(0)), first.sum() + np.argsort(step.rank(1))))
    assert np.abs(boxes[order] - step.answers["gt_xywhn"]).max() < 1e-6
    labels = np.concatenate([target.labels.numpy() for target in step.targets])
    assert labels[order].tolist() == step.answers["gt_cls"].tolist()


def test_maps_of_instances(step: Step) -> None:
    for i, target in enumerate(step.targets):
        if target.masks is not None:
            cells = np.bincount(instance_map(target.masks, (SIDE, SIDE), (0, 0)).ravel().numpy() + 1)
            known = step.answers["gt_mask_hist"][i]
            assert cells[np.append(0, np.argsort(step.rank(i)) + 1)].tolist() == known[: len(cells)].tolist()


def test_positives_and_their_scores(step: Step) -> None:
    found = []
    for i, (matches, scores) in enumerate(step.assigned):
        points = (matches != NEGATIVE).nonzero()[:, 0].tolist()
        found += [(i, point, int(step.rank(i)[matches[point]]), float(scores[point])) for point in points]
    assert [list(row[:3]) for row in found] == step.answers["pos"].tolist()
    worst = np.abs(np.array([row[3] for row in found]) - step.answers["pos_target_score"]).max()
    assert worst < 1e-5


def test_losses(step: Step) -> None:
    for name, value in step.losses.items():
        assert_close(name, value, step.answers[name.removeprefix("loss_")], TOLERANCE)
    total = len(IMAGES) * torch.stack(list(step.losses.values())).sum()
    assert_close("total", total, step.answers["total"], TOLERANCE)


def test_gradients(step: Step) -> None:
    """Norms of the gradients, taken in float64: in float32 those of millions of values are off."""
    known = golden(f"ultralytics/{step.case}", "grad")
    keys = {fingerprint(tensor): key for key, tensor in weights(f"ultralytics/{step.case}").items()}
    parameters = {keys[fingerprint(parameter)]: parameter for parameter in step.model.parameters()}
    parameters = {key: parameter for key, parameter in parameters.items() if key in known}
    assert parameters.keys() == known.keys()
    total = len(IMAGES) * torch.stack(list(step.losses.values())).sum()
    for key, gradient in zip(parameters, torch.autograd.grad(total, list(parameters.values())), strict=True):
        assert_close(key, gradient.double().norm(), known[key], TOLERANCE)


def fingerprint(values: Tensor) -> int:
    return hash((tuple(values.shape), values.detach().float().flatten()[:64].numpy().tobytes()))


def test_losses_of_the_first_release(step: Step) -> None:
    criterion = criterion_of(load(step.case, "loss=yolo_v800"))
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(step.model.dense_head, "criterion", criterion)
        losses = step.model(step.samples, step.targets)
    assert isinstance(losses, dict)
    answers = golden(f"ultralytics/{step.case}", "loss_v800")
    for name, value in losses.items():
        assert_close(name, value, answers[name.removeprefix("loss_")], TOLERANCE)
