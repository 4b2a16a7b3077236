"""FCOS's head in numbers that can be checked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from geometries import batch_of, geometry
from torch import nn

from zoo.models.anchors import CentredAnchors
from zoo.models.assigners.fcos import FcosAssigner
from zoo.models.heads.fcos import FcosHead, FcosOutputs, centerness_targets
from zoo.models.losses.classification import FocalLoss
from zoo.models.losses.regression import GIoULoss
from zoo.models.selection import DetectionSelector
from zoo.types import FeatureSpec, Target


def no_tower(*_: int) -> nn.Module:
    return nn.Identity()


def tiny_head(ratios: tuple[float, ...] = (1.0,)) -> FcosHead:
    """A square of 8 x 8 pixels a cell, on one level of stride 8."""
    return FcosHead(
        [FeatureSpec(1, 8)],
        2,
        CentredAnchors(ratios=ratios, scales=[1]),
        DetectionSelector(0.2, 0.6, 100, decode_frame="input", nms_frame="input"),
        FcosAssigner(),
        FocalLoss(),
        GIoULoss(),
        no_tower,
        channels=1,
    )


def outputs_of(score: float, centerness: float, distances: tuple[float, float, float, float]) -> FcosOutputs:
    """Of 2 x 3 cells, of which the one in the corner (1, 2) says something, of class 1."""
    outputs = FcosOutputs(
        [torch.full((1, 2, 2, 3), -20.0)], [torch.zeros(1, 4, 2, 3)], [torch.full((1, 1, 2, 3), -20.0)]
    )
    outputs.logits[0][0, 1, 1, 2] = math.log(score / (1 - score))
    outputs.centerness[0][0, 0, 1, 2] = math.log(centerness / (1 - centerness))
    outputs.deltas[0][0, :, 1, 2] = torch.tensor(distances)
    return outputs


def test_a_score_is_the_geometric_mean_with_centerness() -> None:
    (found,) = tiny_head().detect(outputs_of(0.9, 0.4, (1, 0.5, 0.25, 2)), batch_of(geometry((20, 24))))
    assert found.scores.tolist() == pytest.approx([0.6])
    assert found.boxes.tolist() == [[8, 4, 18, 20]]  # about (16, 8), cut at the bottom
    assert found.labels.tolist() == [1]


def test_the_middle_of_a_box_is_1_and_its_side_0() -> None:
    distances = torch.tensor([[2.0, 3, 2, 3], [1, 1, 4, 4], [0, 1, 1, 1], [1, 4, 4, 4]])
    assert centerness_targets(distances).tolist() == [1, 0.25, 0, 0.5]


def test_losses_are_divided_by_the_positives_of_the_batch() -> None:
    outputs = outputs_of(0.5, 0.5, (1, 1, 1, 1))
    both = FcosOutputs(*([torch.cat((x[0], x[0]))] for x in (outputs.logits, outputs.deltas, outputs.centerness)))
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    target = Target(torch.tensor([[10.0, 2, 22, 14]]), torch.tensor([1]))  # about (16, 8): 6 pixels to each side
    found = tiny_head().losses(both, [target, nothing], batch_of(geometry((16, 24)), geometry((16, 24))))
    right, wrong = 0.25 * 0.5**2 * math.log(2), 0.75 * 0.5**2 * math.log(2)
    assert found["loss_cls"].item() == pytest.approx(right + wrong, rel=1e-5)
    assert found["loss_bbox"].item() == pytest.approx(1 - 12**2 / 16**2)
    assert found["loss_centerness"].item() == pytest.approx(math.log(2))  # 1 is wanted, 0.5 is said


def test_there_is_one_square_a_cell() -> None:
    with pytest.raises(ValueError, match="FCOS has one a cell, not 2"):
        tiny_head((0.5, 1.0))
