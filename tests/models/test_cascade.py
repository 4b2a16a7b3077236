"""The stages of a cascade: whose boxes are the regions of the next, who votes on the class."""

from __future__ import annotations

import math

import pytest
import torch
from class_names import class_names
from geometries import geometry
from small_heads import make_roi_head
from torch import Tensor, nn

from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.errors import UsageError
from zoo.models.boxes import BoxConvention
from zoo.models.coders import DeltaCoder
from zoo.models.heads.roi import RoiHead
from zoo.models.heads.roi_stage import RoiStage
from zoo.models.layers.roi_pooler import RoiPooler
from zoo.types import Target

WIDENING = (0.0, 0.0, 1.0, 0.0)
"""Deltas of a box twice as wide for a coder of std log 2."""

LOG_2 = 0.6931471805599453


class Spy(RoiPooler):
    """Keeps the regions that were pooled."""

    def __init__(self, pooler: RoiPooler) -> None:
        self.__dict__ = pooler.__dict__
        self.rois: list[Tensor] = []

    def __call__(self, features: list[Tensor], rois: Tensor) -> Tensor:  # type: ignore[override] # a list alone
        self.rois.append(rois)
        return super().__call__(features, rois)


def cascade(stds: tuple[float, ...] = (LOG_2, LOG_2 / 2, 0.0)) -> RoiHead:
    """Three stages whose heads answer the same deltas for every region, and know one class each."""
    head = make_roi_head(coders=[DeltaCoder((1, 1, std, std)) for std in stds], class_agnostic=True).eval()
    for i, stage in enumerate(head.stages):
        box_head = stage.get_submodule("box_head")
        for layer in (box_head.get_submodule("logits"), box_head.get_submodule("deltas")):
            nn.init.zeros_(layer.weight)  # type: ignore[arg-type] # it has one
        box_head.get_submodule("logits").bias.data = torch.tensor([[9.0, 0, 0], [0, 9.0, 0], [0, 0, 9.0]][i])
        box_head.get_submodule("deltas").bias.data = torch.tensor(WIDENING)
    return head


PROPOSALS = [torch.tensor([[16.0, 0, 32, 16]]), torch.tensor([[0.0, 0, 16, 16], [64, 64, 96, 96]])]


@torch.inference_mode()
def test_the_boxes_of_a_stage_are_the_regions_of_the_next_unclipped() -> None:
    head = cascade()
    spies = [Spy(stage.pooler) for stage in head.stages]  # type: ignore[arg-type] # a pooler
    for stage, spy in zip(head.stages, spies, strict=True):
        stage.pooler = spy  # type: ignore[assignment] # no module
    regions, logits, deltas = head([torch.rand(2, 1, 8, 8)], PROPOSALS)
    # 16 wide about 24: twice that, then by another root of two.
    first, second, third = (spy.rois[0][0] for spy in spies)
    assert first.tolist() == [0, 16, 0, 32, 16]
    assert second.tolist() == pytest.approx([0, 8, 0, 40, 16])
    assert third.tolist() == pytest.approx([0, 24 - 16 * 2**0.5, 0, 24 + 16 * 2**0.5, 16], rel=1e-6)
    assert [len(image) for image in regions] == [1, 2]
    assert torch.equal(torch.cat(regions), spies[2].rois[0][:, 1:])
    assert float(regions[1][0, 0]) < 0  # beyond the image
    assert (logits.shape, deltas.shape) == ((3, 3, 3), (3, 4))


@torch.inference_mode()
def test_every_head_votes_on_what_the_last_stage_pooled() -> None:
    head = cascade((0.0, 0.0, 0.0))
    with torch.no_grad():
        for stage in head.stages:
            nn.init.normal_(stage.get_submodule("box_head").get_submodule("logits").weight)  # type: ignore[arg-type]
    features = [torch.rand(2, 1, 8, 8)]
    regions, logits, _ = head(features, PROPOSALS)
    pooled = head.last_stage.pool(features, regions)
    for vote, stage in zip(logits, head.stages, strict=True):
        assert torch.equal(vote, stage.get_submodule("box_head")(pooled)[0])


@torch.inference_mode()
def test_scores_are_the_mean_of_the_votes_and_all_classes_share_a_box() -> None:
    logits = torch.tensor([[[9.0, 0, 0]], [[0, 9.0, 0]], [[0, 9.0, 0]]])  # (V, P, K + 1)
    regions, deltas = torch.tensor([[8.0, 8, 24, 24]]), torch.tensor([WIDENING])
    found = cascade().detect(logits, deltas, regions, geometry((32, 32)))
    sure = float(torch.tensor([9.0, 0, 0]).softmax(dim=0)[0])
    other = (1 - sure) / 2
    assert found.labels.tolist() == [1, 0]
    assert found.scores.tolist() == pytest.approx([(2 * sure + other) / 3, (sure + 2 * other) / 3])
    assert found.boxes.tolist() == [[8, 8, 24, 24]] * 2  # the last coder takes no notice of widths


def test_inclusive_boxes_are_handed_on_inclusively() -> None:
    coder = DeltaCoder((1, 1, LOG_2, LOG_2), convention=BoxConvention(inclusive=True))
    head = make_roi_head(coders=[coder, coder], class_agnostic=True)
    boxes = head.last_stage.decode(torch.tensor([[16.0, 0, 31, 15]]), torch.tensor([WIDENING]))
    assert boxes.tolist() == [[[8, 0, 39, 15]]]


def test_every_stage_is_trained_on_what_the_one_before_makes_of_its_regions() -> None:
    # Regions grow by 2 and by a root of 2; the object, which each stage gets again, comes first.
    head = cascade().train()
    spies = [Spy(stage.pooler) for stage in head.stages]  # type: ignore[arg-type] # a pooler
    for stage, spy in zip(head.stages, spies, strict=True):
        stage.pooler = spy  # type: ignore[assignment] # no module
    target, features = Target(torch.tensor([[0.0, 0, 32, 16]]), torch.tensor([1])), torch.rand(1, 1, 8, 8)
    losses = head.losses([features], [torch.tensor([[16.0, 0, 32, 16]])], [target], [geometry((64, 64))])
    assert sorted(losses) == [f"loss_{name}_{stage}" for name in ("bbox", "cls") for stage in (1, 2, 3)]
    seen = [spy.rois[0][:, 1:].tolist() for spy in spies]
    assert seen[0] == [[0, 0, 32, 16], [16, 0, 32, 16]]
    assert seen[1] == [[0, 0, 32, 16], pytest.approx([8, 0, 40, 16])]
    assert seen[2] == [[0, 0, 32, 16], pytest.approx([24 - 16 * 2**0.5, 0, 24 + 16 * 2**0.5, 16], rel=1e-6)]
    # Both regions overlap the object enough in every stage; only the second is sure of its class.
    right = math.log1p(2 * math.exp(-9))
    assert losses["loss_cls_1"].item() == pytest.approx(right + 9)
    assert losses["loss_cls_2"].item() == pytest.approx(right, abs=1e-6)
    assert losses["loss_cls_3"].item() == pytest.approx(right + 9)


def test_no_gradient_goes_through_the_boxes_of_a_stage() -> None:
    head = cascade((1.0, 1.0, 1.0)).train()
    target, features = Target(torch.tensor([[0.0, 0, 32, 16]]), torch.tensor([1])), torch.rand(1, 1, 8, 8)
    losses = head.losses([features], [torch.tensor([[16.0, 0, 32, 16]])], [target], [geometry((64, 64))])
    (losses["loss_bbox_2"] + losses["loss_bbox_3"] + losses["loss_cls_3"]).backward()  # type: ignore[no-untyped-call] # torch's own
    assert head.stages[0].get_submodule("box_head.deltas").bias.grad is None


def test_stages_weigh_their_losses() -> None:
    head, target = cascade((1.0, 1.0, 1.0)).train(), Target(torch.tensor([[0.0, 0, 32, 16]]), torch.tensor([1]))
    arguments = [torch.rand(1, 1, 8, 8)], [torch.tensor([[16.0, 0, 32, 16]])], [target], [geometry((64, 64))]
    whole = {name: loss.item() for name, loss in head.losses(*arguments).items()}
    for stage in head.stages:
        assert isinstance(stage, RoiStage)
        stage.loss_weight = 0.25
    quarter = {name: loss.item() for name, loss in head.losses(*arguments).items()}
    assert quarter == pytest.approx({name: loss / 4 for name, loss in whole.items()})


def test_another_loss_must_not_go_into_one_stage_alone() -> None:
    config = compose("paddle_cascade_rcnn_dcn_r50_vd_fpn_3x_server_side", ["loss=giou"])
    with torch.device("meta"), pytest.raises(UsageError, match="loss: box_loss is taken by none"):
        build_model(config, class_names(3))


def test_a_box_for_each_class_cannot_be_handed_on() -> None:
    with pytest.raises(ValueError, match="stage0 must be class_agnostic"):
        make_roi_head(coders=[DeltaCoder(), DeltaCoder()])
