"""Rules of the two stages that hardly show in an AP, on boxes small enough to check by hand."""

from __future__ import annotations

import functools
import math
from typing import Any, Literal

import pytest
import torch
from class_names import class_names
from geometries import geometry
from small_heads import make_roi_head, make_rpn
from torch import Tensor, nn

from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.errors import UsageError
from zoo.models.anchors import CentredAnchors
from zoo.models.backbones.resnet import ResNet
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.heads.anchor_head import AnchorOutputs
from zoo.models.heads.keypoint_head import ConvKeypointHead
from zoo.models.heads.roi_targets import RoiTargets
from zoo.models.layers.roi_pooler import RoiPooler
from zoo.models.selection import DetectionSelector, ProposalSelector
from zoo.types import FeatureSpec, Target

SIZE = (32, 32)

MASKS, KEYPOINTS = "torchvision_maskrcnn_resnet50_fpn", "torchvision_keypointrcnn_resnet50_fpn"


class SameAnchors(CentredAnchors):
    """One anchor a cell, of the same size on every level."""

    def base(self, stride: int) -> Tensor:
        return super().base(16)


def propose(
    fine: Tensor,
    coarse: Tensor,
    deltas: Tensor | None = None,
    ranked_by: Literal["sigmoid", "logit"] = "sigmoid",
    **settings: Any,
) -> tuple[Tensor, Tensor]:
    """Proposals from logits (4, 4) and (2, 2), and deltas (4, 4, 4) of the fine level; 16 x 16 pixels an anchor."""
    selector = ProposalSelector(**{"pre_nms_top_n": 1000, "post_nms_top_n": 1000, **settings})
    specs = [FeatureSpec(1, 8), FeatureSpec(1, 16)]
    head = make_rpn(specs, SameAnchors(ratios=[1.0], scales=[1]), selector, scores=ranked_by).eval()
    fine_deltas = torch.zeros(4, 4, 4) if deltas is None else deltas
    outputs = AnchorOutputs([fine[None, None], coarse[None, None]], [fine_deltas[None], torch.zeros(1, 4, 2, 2)])
    ((boxes, scores),) = head.propose(outputs, [geometry(SIZE)])
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
    _, scores = propose(fine, coarse, pre_nms_top_n=1)
    assert scores.tolist() == pytest.approx([1 / (1 + math.exp(-15)), 1 / (1 + math.exp(9))])
    _, scores = propose(fine, coarse, pre_nms_top_n=1, post_nms_top_n=1)
    assert len(scores) == 1


def test_large_logits_are_equal_as_scores_and_not_as_logits() -> None:
    fine, coarse = torch.full((4, 4), -9.0), torch.full((2, 2), -9.0)
    fine[3, 3], coarse[1, 1] = 19, 18
    assert propose(fine, coarse)[1][:2].tolist() == [1, 1]
    assert propose(fine, coarse, ranked_by="logit")[1][:2].tolist() == [19, 18]
    with pytest.raises(ValueError, match="scores: 'rank'"):
        propose(fine, coarse, ranked_by="rank")  # type: ignore[arg-type]


def test_scores_do_not_depend_on_the_batch() -> None:
    # To the last bit: a sigmoid over a whole batch would round the last few anchors of an image otherwise.
    torch.manual_seed(0)
    outputs = AnchorOutputs([torch.randn(3, 1, 101, 101)], [torch.zeros(3, 4, 101, 101)])
    selector = ProposalSelector(pre_nms_top_n=20_000, post_nms_top_n=20_000, min_size=None)
    head = make_rpn([FeatureSpec(1, 16)], CentredAnchors(ratios=[1.0], scales=[1]), selector).eval()
    together = head.propose(outputs, [geometry((1616, 1616))] * 3)
    for i, found in enumerate(together):
        (alone,) = head.propose(
            AnchorOutputs([outputs.logits[0][i : i + 1]], [outputs.deltas[0][i : i + 1]]), [geometry((1616, 1616))]
        )
        assert torch.equal(found.scores, alone.scores)


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


def test_boxes_are_divided_by_the_factor_of_their_axis() -> None:
    proposals = torch.tensor([[8.0, 8, 24, 40]])
    logits = torch.tensor([[[9.0, 0, 0]]])
    found = make_roi_head().detect(logits, torch.zeros(1, 8), proposals, geometry((48, 32), (2.0, 4.0)))
    assert found.boxes.tolist() == [[4, 2, 12, 10]]
    assert found.labels.tolist() == [0]


def test_boxes_are_suppressed_in_pixels_of_the_original() -> None:
    # Shifts between classes are taken after the rescaling: the same boxes fall, whatever the scale.
    proposals = torch.tensor([[0.0, 0, 16, 16], [0, 0, 16, 14], [0, 0, 16, 2]])
    logits = torch.tensor([[[9.0, 0, 0], [8.0, 0, 0], [7.0, 0, 0]]])
    for scale in ((1.0, 1.0), (2.0, 0.5)):
        found = make_roi_head().detect(logits, torch.zeros(3, 8), proposals, geometry(SIZE, scale))
        assert found.boxes[:, 3].tolist() == [16 / scale[1], 2 / scale[1]]


def test_one_map_serves_regions_of_every_size() -> None:
    head = make_roi_head()
    ramp = torch.arange(64.0).expand(1, 1, 64, 64)
    rois = torch.tensor([[0.0, 160, 160, 176, 176], [0, 0, 0, 1024, 1024]])
    pooled = head.last_stage.pooler([ramp], rois)
    assert pooled.shape == (2, 1, 7, 7)
    assert pooled[:, 0, :, 3].mean(dim=1).tolist() == pytest.approx([10, 31.5])  # half-pixel centres, stride 16


def test_the_next_stage_of_a_backbone_halves_and_keeps_its_normalisation() -> None:
    with torch.device("meta"):
        stage = ResNet(50, style="caffe", norm_affine="fixed", out_stages=[3]).next_stage().train()
    assert not any(module.training for name, module in stage.named_modules() if name.endswith("norm"))
    frozen = {name.split(".")[-2] for name, p in stage.named_parameters() if not p.requires_grad}
    assert frozen == {"norm"}
    assert stage(torch.empty(2, 1024, 14, 14, device="meta")).shape == (2, 2048, 7, 7)
    assert stage.spec == FeatureSpec(2048, 2)


def test_the_next_stage_is_of_the_backbones_own_kind() -> None:
    with torch.device("meta"):
        stage = ResNet(101, groups=32, base_width=8, out_stages=[3]).next_stage()
    convs = [conv for conv in stage.modules() if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3)]
    assert [(conv.stride, conv.groups, conv.out_channels) for conv in convs] == [
        ((2, 2), 32, 2048),
        *[((1, 1), 32, 2048)] * 2,
    ]
    assert all(parameter.requires_grad for parameter in stage.parameters())


def test_the_last_stage_has_no_next() -> None:
    with torch.device("meta"), pytest.raises(ValueError, match="out_stages"):
        ResNet(50).next_stage()


C4 = "mmdet_faster_rcnn_r50_caffe_c4_1x"


def test_a_c4_head_takes_everything_from_the_backbone() -> None:
    with torch.device("meta"):
        model = build_model(compose(C4, ["backbone.depth=101", "backbone.style=pytorch"]), class_names(3))
    assert isinstance(model, TwoStageDetector)
    stage = model.roi_head.last_stage
    assert stage.shared.get_submodule("blocks.0.conv2.conv").stride == (2, 2)  # pytorch style
    assert stage.box_head.logits.in_features == 2048
    assert model.rpn_head.conv.out_channels == 1024
    assert model.rpn_head.strides == (16,)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("backbone=resnet50_caffe", "one number of channels on all levels, not .256, 512, 1024, 2048."),
        ("backbone=csp_n", "backbone CspBackbone gives 3 maps"),
        ("head.roi_head.stages.first.shared=everything", "'everything'"),
        ("+head.rpn_head.anchors.strides=[32]", "strides"),
        ("+head.roi_head.stages.first.box_head.depth=50", "depth"),
    ],
)
def test_parts_that_contradict_each_other(override: str, message: str) -> None:
    with torch.device("meta"), pytest.raises(UsageError, match=f"do not fit together: .*{message}"):
        build_model(compose(C4, [override]), class_names(3))


def test_anchors_lie_on_the_strides_of_the_maps() -> None:
    overrides = ["backbone.strides=[1,2,2,2]", "backbone.dilations=[1,1,1,1]"]
    with torch.device("meta"):
        model = build_model(compose("mmdet_faster_rcnn_r50_caffe_dc5_1x", overrides), class_names(3))
    assert isinstance(model, TwoStageDetector)
    pooler = model.roi_head.last_stage.pooler
    assert isinstance(pooler, RoiPooler)
    assert model.rpn_head.strides == pooler.strides == (32,)


def test_a_detector_knows_the_names_of_its_classes() -> None:
    with torch.device("meta"):
        model = build_model(compose(C4), ["cat", "dog"])
    assert model.classes == ("cat", "dog")


def test_the_convention_of_the_protocol_reaches_every_part() -> None:
    with torch.device("meta"):
        model = build_model(compose(C4, ["protocol.boxes.inclusive=true"]), class_names(3))
    assert isinstance(model, TwoStageDetector)
    rpn, stage, detections = model.rpn_head, model.roi_head.last_stage, model.roi_head.detections
    assert isinstance(stage.pooler, RoiPooler)
    parts = (rpn.coder, rpn.assigner, rpn.proposals, stage.coder, stage.assigner, stage.pooler, detections)
    assert all(part.convention.inclusive for part in parts)


def test_proposals_may_be_taken_by_logits_and_suppressed_by_probabilities() -> None:
    # Logits of 19 and 18 have one and the same sigmoid: the larger is taken, the first of equals survives.
    fine, coarse = torch.full((4, 4), -9.0), torch.full((2, 2), -9.0)
    fine[2, 2], fine[3, 3], coarse[1, 1] = 18, 19, 3
    _, scores = propose(fine, coarse, ranked_by="logit", probabilities=True, pre_nms_top_n=1)
    assert scores.tolist() == pytest.approx([1, 1 / (1 + math.exp(-3))])
    _, scores = propose(fine, coarse, ranked_by="logit", probabilities=True, score_threshold=0.95)
    assert scores.tolist() == pytest.approx([1, 1, 1 / (1 + math.exp(-3))])
    _, scores = propose(fine, coarse, ranked_by="logit", probabilities=True, score_threshold=scores[2].item())
    assert len(scores) == 3  # the threshold itself is enough
    _, scores = propose(fine, coarse, ranked_by="logit", probabilities=True, score_threshold=0.96)
    assert len(scores) == 2


def test_a_deeper_rpn_has_activations_between_its_convolutions() -> None:
    selector = ProposalSelector(pre_nms_top_n=10, post_nms_top_n=10)
    head = make_rpn([FeatureSpec(2, 16)], CentredAnchors(ratios=[1.0], scales=[1]), selector, depth=2)
    assert [name for name, _ in head.conv.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert isinstance(head.conv[1], nn.ReLU)  # type: ignore[index] # a sequence
    assert head([torch.rand(1, 2, 4, 4)]).logits[0].shape == (1, 1, 4, 4)


def test_a_box_of_background_is_neither_asked_for_nor_trained() -> None:
    with torch.device("meta"):
        shapes = {name: x.shape for name, x in build_model(compose(MASKS), class_names(3)).state_dict().items()}
    assert shapes["roi_head.stages.0.box_head.deltas.weight"] == (16, 1024)
    assert shapes["roi_head.mask_head.logits.weight"] == (4, 256, 1, 1)
    head = make_roi_head(background_box=True)
    deltas = torch.tensor([[0.0] * 8 + [99] * 4], requires_grad=True)
    found = head.detect(torch.tensor([[[9.0, 0, 0]]]), deltas, torch.tensor([[8.0, 8, 24, 24]]), geometry(SIZE))
    assert found.boxes.tolist() == [[8, 8, 24, 24]]
    region = torch.tensor([[8.0, 8, 24, 24]])
    sampled = RoiTargets(region, torch.tensor([1]), torch.ones(1), torch.tensor([0]), region, region + 1)
    head.last_stage.losses(torch.zeros(1, 3), deltas, [sampled])["loss_bbox"].backward()  # type: ignore[no-untyped-call] # torch's own
    assert deltas.grad is not None
    assert deltas.grad.view(3, 4).any(dim=1).tolist() == [False, True, False]


@pytest.mark.parametrize("kind", ["mask", "keypoint"])
def test_what_is_found_on_detections_needs_a_pooler(kind: str) -> None:
    override = f"head.roi_head.{kind}_pooler=null"
    with torch.device("meta"), pytest.raises(UsageError, match=f"a {kind} head needs a {kind}_pooler"):
        build_model(compose(MASKS if kind == "mask" else KEYPOINTS, [override]), class_names(1))


def test_a_keypoint_head_is_trained_on_keypoints() -> None:
    head = make_roi_head(
        detections=DetectionSelector(0.05, 0.5, 100, nms_frame="input"),
        keypoint_pooler=functools.partial(RoiPooler, output_size=7),
        keypoint_head=functools.partial(ConvKeypointHead, num_keypoints=2, channels=4),
    )
    features, proposals = [torch.rand(1, 1, 4, 4, requires_grad=True)], [torch.tensor([[0.0, 0, 30, 30]])]
    wanted = Target(torch.tensor([[0.0, 0, 32, 32]]), torch.tensor([0]))
    with pytest.raises(ValueError, match="targets with keypoints"):
        head.losses(features, proposals, [wanted], [geometry((64, 64))])
    nn.init.zeros_(head.keypoint_head.heatmaps.weight)  # type: ignore[union-attr] # there is one
    wanted.keypoints = torch.tensor([[[8.0, 8, 2], [8, 8, 0]]])  # one of two is annotated
    loss = head.losses(features, proposals, [wanted], [geometry((64, 64))])["loss_keypoint"]
    assert loss.item() == pytest.approx(math.log(28 * 28), rel=1e-6)
    wanted.keypoints[..., 2] = 0
    loss = head.losses(features, proposals, [wanted], [geometry((64, 64))])["loss_keypoint"]
    assert loss.item() == 0
    loss.backward()  # type: ignore[no-untyped-call] # torch's own
