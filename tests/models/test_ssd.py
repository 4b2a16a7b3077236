"""SSD's head and pyramids in numbers that can be checked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from geometries import geometry
from torch import nn

from zoo.errors import UsageError
from zoo.models.assigners.max_iou import MaxIoUAssigner
from zoo.models.coders import DeltaCoder
from zoo.models.default_boxes import DefaultBoxes
from zoo.models.heads.anchor_head import AnchorOutputs
from zoo.models.heads.ssd import SsdHead, conv_predictor, separable_predictor
from zoo.models.losses.regression import SmoothL1Loss
from zoo.models.necks.ssd import Ssd300Neck, SsdLiteNeck
from zoo.models.selection import DetectionSelector
from zoo.types import Batch, FeatureSpec, Target


def tiny_head() -> SsdHead:
    """Two squares a cell, half and 0.71 of the input's side, on one level; two classes."""
    return SsdHead(
        [FeatureSpec(1, 8)],
        2,
        DefaultBoxes([[]], scales=[0.5, 1.0]),
        DeltaCoder((0.1, 0.1, 0.2, 0.2), min_growth=None),
        DetectionSelector(0.3, 0.5, 100, decode_frame="input", nms_frame="input", class_top_n=400),
        MaxIoUAssigner(0.5, 0.5, 0.0, ties="first"),
        SmoothL1Loss(),
        negative_ratio=1,
    )


def outputs_of(first: tuple[float, float, float]) -> AnchorOutputs:
    """Of 2 x 2 cells, of which the first square of the last cell has these probabilities; the others are background."""
    logits, deltas = torch.zeros(1, 6, 2, 2), torch.zeros(1, 8, 2, 2)
    logits[0, 2::3] = 20.0
    logits[0, :3, 1, 1] = torch.tensor(first).log()
    deltas[0, 0, 1, 1] = -1.25  # an eighth of its width to the left
    return AnchorOutputs([logits], [deltas])


def batch(count: int) -> Batch:
    return Batch(torch.zeros(count, 3, 16, 16), [geometry((16, 16))] * count, list(range(count)))


def test_classes_without_the_background_are_found() -> None:
    (found,) = tiny_head().detect(outputs_of((0.35, 0.2, 0.45)), batch(1))
    assert found.labels.tolist() == [0]
    assert found.scores.tolist() == pytest.approx([0.35])
    assert torch.allclose(found.boxes, torch.tensor([[7.0, 8, 15, 16]]))  # 8 wide, about (12, 12) less 1


def test_losses_of_positives_and_as_many_hard_negatives() -> None:
    torch.manual_seed(0)
    one = outputs_of((0.35, 0.2, 0.45))
    outputs = AnchorOutputs([torch.cat((one.logits[0],) * 2)], [torch.cat((one.deltas[0],) * 2)])
    outputs.logits[0][:, 2::3, 0, 0] = -math.inf  # the hardest: no background at all, but in a second image that counts
    outputs.logits[0][0, 5, 0, 0] = 20.0
    outputs.logits[0][0, :3, 0, 0] = torch.tensor((0.5, 0.25, 0.25)).log()
    target = Target(torch.tensor([[8.0, 8, 16, 16]]), torch.tensor([1]))
    nothing = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    found = tiny_head().losses(outputs, [target, nothing], batch(2))
    assert found["loss_cls"].item() == pytest.approx(-math.log(0.2) - math.log(0.25), rel=1e-5)
    assert found["loss_bbox"].item() == pytest.approx(1.25 - 0.5)


def test_layers_of_each_level() -> None:
    plain, separable = conv_predictor(4, 6), separable_predictor(4, 6)
    x = torch.rand(2, 4, 3, 3)
    assert plain(x).shape == separable(x).shape == (2, 6, 3, 3)
    assert [tuple(p.shape) for p in separable.parameters()] == [(4, 1, 3, 3), (4,), (4,), (6, 4, 1, 1), (6,)]
    norm = next(module for module in separable.modules() if isinstance(module, nn.BatchNorm2d))
    assert (norm.eps, norm.momentum) == (1e-3, 0.03)


def test_pyramids() -> None:
    with torch.device("meta"):
        neck = Ssd300Neck([FeatureSpec(512, 8), FeatureSpec(512, 16)])
        maps = neck((torch.zeros(1, 512, 38, 38), torch.zeros(1, 512, 19, 19)))
        lite = SsdLiteNeck([FeatureSpec(672, 16), FeatureSpec(480, 32)]).eval()
        small = lite((torch.zeros(1, 672, 20, 20), torch.zeros(1, 480, 10, 10)))
    assert [tuple(x.shape[1:3]) for x in maps] == [(512, 38), (1024, 19), (512, 10), (256, 5), (256, 3), (256, 1)]
    assert [(spec.channels, spec.stride) for spec in neck.out_specs] == [
        *((512, 8), (1024, 16), (512, 32)),
        *((256, 64), (256, 64), (256, 64)),
    ]
    assert [tuple(x.shape[1:3]) for x in small] == [(672, 20), (480, 10), (512, 5), (256, 3), (256, 2), (128, 1)]
    assert [spec.stride for spec in lite.out_specs] == [16, 32, 64, 128, 256, 512]


def test_ssdlite_in_training_wants_two_images() -> None:
    lite = SsdLiteNeck([FeatureSpec(4, 16), FeatureSpec(2, 32)])
    maps = (torch.rand(1, 4, 20, 20), torch.rand(1, 2, 10, 10))
    with pytest.raises(UsageError, match="one image at a time"):
        lite(maps)
    assert lite(tuple(torch.cat((x, x)) for x in maps))[-1].shape == (2, 128, 1, 1)
    assert lite.eval()(maps)[-1].shape == (1, 128, 1, 1)


def test_vectors_of_the_finest_map_have_one_length() -> None:
    torch.manual_seed(0)
    neck = Ssd300Neck([FeatureSpec(3, 8), FeatureSpec(2, 16)])
    finest = neck((torch.rand(1, 3, 10, 10) + 0.1, torch.rand(1, 2, 17, 17)))[0]
    assert torch.allclose(finest.norm(dim=1), torch.tensor(20.0))
