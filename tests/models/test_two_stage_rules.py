"""Rules of the two stages that hardly show in an AP, on boxes small enough to check by hand."""

from __future__ import annotations

import math

import pytest
import torch
from geometries import geometry
from torch import Tensor

from zoo.models.anchors import AnchorGenerator
from zoo.models.assigners.max_iou import MaxIoUAssigner
from zoo.models.heads.box_head import StageBoxHead
from zoo.models.heads.roi import DetectionSettings, RoiHead
from zoo.models.heads.rpn import ProposalSettings, RpnHead
from zoo.models.losses.regression import L1Loss
from zoo.models.samplers import AllSampler
from zoo.types import FeatureSpec

SIZE = (32, 32)


class SameAnchors(AnchorGenerator):
    """One anchor a cell, of the same size on every level."""

    def base(self, stride: int) -> Tensor:
        return super().base(16)


def make_rpn(settings: ProposalSettings) -> RpnHead:
    """16 x 16 pixels an anchor, on levels of stride 8 and 16."""
    anchors = SameAnchors([8, 16], ratios=[1.0], scales=[1])
    specs = [FeatureSpec(1, 8), FeatureSpec(1, 16)]
    return RpnHead(specs, anchors, settings, settings, MaxIoUAssigner(0.7, 0.3, 0.3), AllSampler()).eval()


def propose(fine: Tensor, coarse: Tensor, deltas: Tensor | None = None, **settings: float) -> tuple[Tensor, Tensor]:
    """Proposals from logits (4, 4) and (2, 2), and deltas (4, 4, 4) of the fine level."""
    head = make_rpn(ProposalSettings(**settings))  # type: ignore[arg-type] # numbers
    fine_deltas = torch.zeros(4, 4, 4) if deltas is None else deltas
    ((boxes, scores),) = head.propose(
        [fine[None, None], coarse[None, None]], [fine_deltas[None], torch.zeros(1, 4, 2, 2)], [geometry(SIZE)]
    )
    return boxes, scores


def test_proposals_are_suppressed_within_their_level() -> None:
    # The anchors at (16, 16) of both levels are one and the same box: neither suppresses the other.
    fine, coarse = torch.full((4, 4), -9.0), torch.full((2, 2), -9.0)
    fine[2, 2], coarse[1, 1] = 2, 1
    boxes, scores = propose(fine, coarse)
    assert boxes[:2].tolist() == [[8, 8, 24, 24]] * 2
    assert scores[:2].tolist() == pytest.approx([1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-1))])


def test_the_best_of_a_level_are_taken_before_the_best_of_all() -> None:
    fine, coarse = torch.arange(16.0).view(4, 4), torch.full((2, 2), -9.0)
    _, scores = propose(fine, coarse, per_level=1)
    assert scores.tolist() == pytest.approx([1 / (1 + math.exp(-15)), 1 / (1 + math.exp(9))])
    _, scores = propose(fine, coarse, per_level=1, per_image=1)
    assert len(scores) == 1


def test_proposals_end_at_the_far_edge_of_the_image() -> None:
    boxes, _ = propose(torch.zeros(4, 4), torch.zeros(2, 2))
    assert float(boxes[:, 2].max()) == float(boxes[:, 3].max()) == 32


def test_empty_proposals_are_dropped() -> None:
    # Moved by twice its width the anchor at (0, 0) leaves the image and is cut to a line.
    fine, deltas = torch.full((4, 4), -9.0), torch.zeros(4, 4, 4)
    fine[0, 0], deltas[0, 0, 0] = 9, -2
    boxes, scores = propose(fine, torch.full((2, 2), -9.0), deltas)
    assert bool((boxes[:, 2:] > boxes[:, :2]).all())
    assert float(scores.max()) < 0.5


def make_roi_head(num_classes: int = 2) -> RoiHead:
    return RoiHead(
        [FeatureSpec(1, 16)], num_classes, DetectionSettings(), MaxIoUAssigner(0.5, 0.5), AllSampler(), L1Loss()
    )


def test_boxes_are_divided_by_the_factor_of_their_axis() -> None:
    proposals = torch.tensor([[8.0, 8, 24, 40]])
    logits = torch.tensor([[9.0, 0, 0]])
    found = make_roi_head().detect(
        logits, torch.zeros(1, 8), proposals, geometry((48, 32), (2.0, 4.0)), scale=(2.0, 4.0)
    )
    assert found.boxes.tolist() == [[4, 2, 12, 10]]
    assert found.labels.tolist() == [0]


def test_boxes_are_suppressed_in_pixels_of_the_original() -> None:
    # Shifts between classes are taken after the rescaling: the same boxes fall, whatever the scale.
    proposals = torch.tensor([[0.0, 0, 16, 16], [0, 0, 16, 14], [0, 0, 16, 2]])
    logits = torch.tensor([[9.0, 0, 0], [8.0, 0, 0], [7.0, 0, 0]])
    for scale in ((1.0, 1.0), (2.0, 0.5)):
        found = make_roi_head().detect(logits, torch.zeros(3, 8), proposals, geometry(SIZE, scale), scale)
        assert found.boxes[:, 3].tolist() == [16 / scale[1], 2 / scale[1]]


def test_one_map_serves_regions_of_every_size() -> None:
    head = make_roi_head()
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    rois = torch.tensor([[0.0, 160, 160, 176, 176], [0, 0, 0, 1024, 1024]])
    pooled = head.pooler([ramp], rois)
    assert pooled.shape == (2, 1, 7, 7)
    assert pooled[:, 0, :, 3].mean(dim=1).tolist() == pytest.approx([10, 31.5])  # half-pixel centres, stride 16


def test_a_stage_as_head_halves_averages_and_keeps_its_normalisation() -> None:
    head = StageBoxHead(in_channels=1024, pooled_size=14, num_classes=3, depth=50, style="caffe").train()
    assert not any(module.training for name, module in head.named_modules() if name.endswith("norm"))
    frozen = {name.split(".")[-2] for name, p in head.named_parameters() if not p.requires_grad}
    assert frozen == {"norm"}
    with torch.inference_mode():
        pooled = torch.rand(2, 1024, 14, 14)
        logits, deltas = head(pooled)
        assert head.stage(pooled).shape == (2, 2048, 7, 7)
    assert (logits.shape, deltas.shape) == ((2, 4), (2, 12))


def test_a_stage_as_head_needs_an_even_size() -> None:
    with pytest.raises(ValueError, match="pooled_size: 7"), torch.device("meta"):
        StageBoxHead(in_channels=1024, pooled_size=7, num_classes=3)
