"""faster-rcnn.pytorch's targets, losses and gradients, on a batch of two real images in one shape."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from parity import SHARED, golden, needs_coco, needs_shared, sample
from test_jwyang import CASE, ENTRY, build, loaded
from torch import Tensor

from zoo.data.augment.jwyang import fit_to_group
from zoo.models.assigners.max_iou import Matches
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.heads.roi_stage import RoiStage
from zoo.models.heads.roi_targets import RoiTargets
from zoo.models.samplers import AllSampler, Sampled, Sampler
from zoo.models.selection import ProposalSelector
from zoo.types import Batch, Target

pytestmark = [pytest.mark.long, needs_shared]

Answers = dict[str, npt.NDArray[Any]]

CLASSES = 80
REGIONS = 256
"""Of an image, in the golden."""

GRADIENTS = {
    "RCNN_base.5.0.conv1.weight": "backbone.layer2.0.conv1.conv.weight",
    "RCNN_base.6.22.conv3.weight": "backbone.layer3.22.conv3.conv.weight",
    "RCNN_rpn.RPN_Conv.weight": "rpn_head.conv.weight",
    "RCNN_rpn.RPN_cls_score.weight": "rpn_head.logits.weight",
    "RCNN_rpn.RPN_bbox_pred.weight": "rpn_head.deltas.weight",
    "RCNN_top.0.0.conv1.weight": "roi_head.stages.0.shared.blocks.0.conv1.conv.weight",
    "RCNN_cls_score.weight": "roi_head.stages.0.box_head.logits.weight",
    "RCNN_bbox_pred.weight": "roi_head.stages.0.box_head.deltas.weight",
}
"""Key of the published file -> name here, of those with a known gradient."""


class EvenSampler(Sampler):
    """Every positive, and negatives at even distances for the rest: how the golden was made deterministic."""

    def sample(self, positive: Tensor, negative: Tensor, matches: Matches, labels: Tensor) -> Sampled:
        count = REGIONS - len(positive)
        places = ((torch.arange(count) + 0.5) / count * len(negative)).floor().long()
        return Sampled(positive, negative[places])


def read_targets(answers: Answers) -> list[Target]:
    """What is trained on in each image."""
    images = zip(torch.from_numpy(answers["gt_boxes"]), answers["num_boxes"].tolist(), strict=True)
    return [Target(rows[:count, :4].clone(), rows[:count, 4].long() - 1) for rows, count in images]


def read_batch(detector: TwoStageDetector, answers: Answers) -> Batch:
    """The two images, each cut to the same square."""
    samples = []
    for image in answers["image_order"].tolist():
        one = detector.transform(SHARED / "coco" / "val2017" / f"{image}.jpg")
        none = np.zeros((0, 4), dtype=np.float32)
        generator = np.random.default_rng(0)
        samples.append(fit_to_group(one, none, np.float32(1), is_long=False, generator=generator)[0])
    return detector.prepare(samples)


def test_anchors_of_the_golden() -> None:
    # The first stage's targets depend on the boxes alone.
    answers, detector = golden(CASE, "loss"), build(ENTRY["e2e_600"])
    rpn = detector.rpn_head
    rpn.sampler = AllSampler()
    geometries = detector.normalizer(
        [detector.transform(np.zeros((600, 600, 3), np.uint8))] * 2, torch.device("cpu")
    ).geometries
    assigned = rpn.assign([(38, 38)], read_targets(answers), geometries, torch.device("cpu"))
    assert list(zip(*assigned.counts, strict=True)) == list(map(tuple, answers["rpn_num_pos_neg"].tolist()))


@dataclass(slots=True)
class Step:
    """One training step: the regions that were trained on, the losses, and the norms of gradients by checkpoint key."""

    answers: Answers
    stage: RoiStage
    sampled: list[RoiTargets]
    losses: dict[str, float]
    gradients: dict[str, float]


@pytest.fixture(scope="module")
def step() -> Step:
    answers, detector = golden(CASE, "loss"), loaded(ENTRY["e2e_600"])
    rpn, stage = detector.rpn_head, detector.roi_head.last_stage
    batch = read_batch(detector, answers)
    assert tuple(batch.images.shape) == tuple(answers["input_shape"])
    assert np.array_equal(sample(batch.images), answers["input_sample"])
    assert [list(geometry.extent) for geometry in batch.geometries] == answers["im_info"][:, :2].tolist()
    sampled: list[RoiTargets] = []
    assign = stage.assign

    def watch(*arguments: Any) -> list[RoiTargets]:
        sampled.extend(assign(*arguments))
        return sampled

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rpn, "sampler", AllSampler())
        patch.setattr(rpn, "training_proposals", with_fewer(rpn.training_proposals, 200))
        patch.setattr(stage, "sampler", EvenSampler())
        patch.setattr(stage, "assign", watch)
        losses = detector.train()(batch, read_targets(answers))
        sum(losses.values()).backward()
    detector.eval()
    parameters = dict(detector.named_parameters())
    gradients = {key: float(parameters[name].grad.double().norm()) for key, name in GRADIENTS.items()}  # type: ignore[union-attr]
    detector.zero_grad()
    return Step(answers, stage, sampled, {name: float(loss.detach()) for name, loss in losses.items()}, gradients)


def with_fewer(selector: ProposalSelector, count: int) -> ProposalSelector:
    """The selector of the recipe, which leaves so many proposals."""
    assert (selector.pre_nms_top_n, selector.post_nms_top_n, selector.fill) == (12000, 2000, True)
    return replace(selector, post_nms_top_n=count)


@pytest.mark.nightly
@needs_coco
def test_regions(step: Step) -> None:
    for image, regions, labels, targets in zip(
        step.sampled,
        *(torch.from_numpy(step.answers[name]) for name in ("rois", "roi_labels", "roi_targets")),
        strict=True,
    ):
        # There the ground truth comes behind the proposals, and class 0 is the background.
        found = torch.cat((image.regions, ((image.labels + 1) % (CLASSES + 1))[:, None]), dim=1)  # (P, 5)
        wanted = torch.cat((regions[:, 1:], labels[:, None]), dim=1)
        positive = int((image.labels < CLASSES).sum())
        assert positive == int((labels > 0).sum())
        assert (found[positive:] - wanted[positive:]).abs().max() <= 2e-3
        nearest = torch.cdist(wanted[:positive], found[:positive], p=torch.inf)  # (O, O)
        order = nearest.argmin(dim=1)
        assert sorted(order.tolist()) == list(range(positive))
        assert nearest.amin(dim=1).max() <= 2e-3
        deltas = step.stage.coder.encode(image.references, image.boxes)[order]
        assert (deltas - targets[:positive]).abs().max() <= 1e-3
        assert not targets[positive:].any()


@pytest.mark.nightly
@needs_coco
def test_losses(step: Step) -> None:
    names = {
        "rpn_cls": "loss_rpn_cls",
        "rpn_box": "loss_rpn_bbox",
        "rcnn_cls": "loss_cls",
        "rcnn_box": "loss_bbox",
    }
    for theirs, ours in names.items():
        assert step.losses[ours] == pytest.approx(float(step.answers[theirs]), rel=1e-6), theirs
    assert sum(step.losses.values()) == pytest.approx(float(step.answers["total"]), rel=1e-6)
    assert len(step.losses) == len(names)


@pytest.mark.nightly
@needs_coco
def test_gradients(step: Step) -> None:
    known = golden(CASE, "grad")
    assert set(known) == set(GRADIENTS)
    for key, norm in known.items():
        assert step.gradients[key] == pytest.approx(float(norm), rel=5e-5), key
