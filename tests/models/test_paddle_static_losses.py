"""What PaddleDetection's static graph makes of small inputs: its box losses, and what its stages are trained to say."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from cases import ENTRIES
from parity import GOLDEN
from torch import Tensor

from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.heads.anchor_head import AnchorHead
from zoo.models.heads.anchor_targets import anchor_targets
from zoo.models.heads.roi_stage import RoiStage
from zoo.models.heads.roi_targets import RoiTargets
from zoo.models.layers.skip_init import SkipInit
from zoo.models.samplers import RandomSampler
from zoo.types import ImageGeometry, Target

FASTER, CASCADE = (f"{name}_rcnn_dcn_r50_vd_fpn_3x_server_side" for name in ("faster", "cascade"))

with np.load(GOLDEN / "paddle" / "static_losses.npz") as archive:
    ANSWERS: dict[str, npt.NDArray[np.float32]] = dict(archive)

SCALE = float(ANSWERS["targets/im_info"][0, 2])
GEOMETRY = ImageGeometry((450, 600), (450.0, 600.0), (SCALE, SCALE), (300, 400), (480, 608))
NUM_CLASSES = 80


def answer(name: str) -> Tensor:
    return torch.from_numpy(ANSWERS[name])


def own_labels(name: str) -> Tensor:
    """Labels as they are here: the background, 0 there, comes last."""
    return (answer(name).long() - 1) % (NUM_CLASSES + 1)


@functools.cache
def build(case: str) -> TwoStageDetector:
    """The detector of a case, without storage; all regions and anchors are sampled."""
    (name,) = ENTRIES[f"paddle/{case}"]
    config = compose(name)
    with SkipInit("meta"):
        model = build_model(config, config["data"]["classes"])
    assert isinstance(model, TwoStageDetector)
    for part in (model.rpn_head, *model.roi_head.stages):
        assert isinstance(part, AnchorHead | RoiStage)
        if isinstance(part.sampler, RandomSampler):
            part.sampler.num_samples = part.sampler.max_positives = 10**9
    return model


def stages(case: str) -> list[RoiStage]:
    return [stage for stage in build(case).roi_head.stages if isinstance(stage, RoiStage)]


def test_complete_iou() -> None:
    (stage,) = stages(FASTER)
    labels, names = answer("ciou/labels").long(), ("pred", "target", "weight", "grad_pred")
    prediction, target, weight, gradient = (answer(f"ciou/{name}").view(len(labels), -1, 4) for name in names)
    positive = labels.nonzero()[:, 0]
    assert (weight.sum(dim=2).nonzero() == torch.stack((positive, labels[positive]), dim=1)).all()  # of its class each
    references = torch.tensor([[100.0, 50, 163, 81]]).expand(len(positive), 4)
    boxes = stage.coder.decode(references, target[positive, labels[positive]])
    own = prediction[positive, labels[positive]].requires_grad_()
    loss = stage.box_loss.loss_from_deltas(stage.coder, references, own, boxes) / len(labels)
    loss.backward()  # type: ignore[no-untyped-call] # torch's own
    assert loss.item() == pytest.approx(float(ANSWERS["ciou/loss"]), rel=1e-6)
    assert own.grad is not None
    assert float((own.grad - gradient[positive, labels[positive]]).abs().max()) < 2e-6


def test_balanced_l1() -> None:
    stage = stages(CASCADE)[0]
    labels, names = answer("balanced_l1/labels"), ("pred", "target", "grad_pred")
    prediction, target, gradient = (answer(f"balanced_l1/{name}")[labels > 0, 4:] for name in names)
    prediction.requires_grad_()
    loss = stage.box_loss(prediction, target) / len(labels)
    loss.backward()
    assert loss.item() == pytest.approx(float(ANSWERS["balanced_l1/loss"]), rel=1e-6)
    assert prediction.grad is not None
    assert float((prediction.grad - gradient).abs().max()) < 1e-6


def test_targets_of_three_stages() -> None:
    # The original leaves out the row of a crowd among the ground truth; its readers give it none.
    labels, crowd = own_labels("targets/gt_class"), int(ANSWERS["targets/is_crowd"].argmax())
    target = Target(answer("targets/gt_bbox") * SCALE, labels)
    regions = answer("targets/rois")
    assert [stage.loss_weight for stage in stages(CASCADE)] == [1, 0.5, 0.25]
    for number, stage in enumerate(stages(CASCADE)):
        got = without(stage.assign([regions], [target], [GEOMETRY])[0], crowd)
        expected = {name: answer(f"targets/stage{number}/{name}") for name in ("rois", "max_overlap", "bbox_targets")}
        assert (got.labels == own_labels(f"targets/stage{number}/labels")).all()
        assert float((got.regions - expected["rois"]).abs().max()) < 1e-3
        assert float((got.overlaps - expected["max_overlap"]).abs().max()) < 1e-5
        deltas = stage.coder.encode(got.references, got.boxes)
        assert float((deltas - expected["bbox_targets"][: len(deltas), 4:]).abs().max()) < 2e-5
        if number < 2:
            assert ANSWERS[f"targets/stage{number + 1}/overlap_in"] == pytest.approx(got.overlaps.numpy(), abs=1e-5)
            refined = stage.coder.encode(got.regions, answer(f"targets/stage{number + 1}/rois_in"))
            (regions,) = stage.refine(refined, [got])


def without(targets: RoiTargets, row: int) -> RoiTargets:
    """All but one positive."""
    regions, positives = torch.arange(len(targets.labels)) != row, torch.arange(len(targets.boxes)) != row
    return replace(
        targets,
        regions=targets.regions[regions],
        labels=targets.labels[regions],
        overlaps=targets.overlaps[regions],
        matched_gt_inds=targets.matched_gt_inds[positives],
        references=targets.references[positives],
        boxes=targets.boxes[positives],
    )


def test_targets_of_the_first_stage() -> None:
    # The original's list of positives begins with stand-ins, of weight 0, for those that were drawn as negatives.
    rpn = build(FASTER).rpn_head
    assert rpn.valid_anchors == "inside"
    anchors, boxes = answer("rpn/anchors"), answer("targets/gt_bbox")[answer("targets/is_crowd") == 0] * SCALE
    height, width = GEOMETRY.extent
    inside = (anchors[:, :2] >= 0).all(dim=1) & (anchors[:, 2] < width) & (anchors[:, 3] < height)
    target = Target(boxes, torch.zeros(len(boxes), dtype=torch.int64))
    got = anchor_targets(anchors, [inside.nonzero()[:, 0]], [target], rpn.assigner, rpn.sampler)
    real = ANSWERS["rpn/inside"][:, 0] > 0
    positive = got.positive
    assert positive.tolist() == ANSWERS["rpn/location_index"][real].tolist()
    negative = ANSWERS["rpn/score_index"][ANSWERS["rpn/labels"] == 0]
    assert got.negative.tolist() == sorted(negative.tolist())
    deltas = rpn.coder.encode(anchors[positive], got.boxes)
    assert deltas.numpy() == pytest.approx(ANSWERS["rpn/targets"][real], abs=1e-5)
