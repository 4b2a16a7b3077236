"""RetinaNet's head: focal loss, towers, assignment and postprocessing in numbers that can be checked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from class_names import class_names
from geometries import batch_of, geometry
from small_heads import labels_of
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss as torchvision_focal_loss

from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.data.detections import Detections
from zoo.errors import UsageError
from zoo.models.anchors import CentredAnchors
from zoo.models.assigners.max_iou import IGNORED, NEGATIVE, MaxIoUAssigner
from zoo.models.coders import DeltaCoder
from zoo.models.heads.anchor_head import AnchorOutputs
from zoo.models.heads.group_norm_tower import GroupNormTower
from zoo.models.heads.retina import HeadTower, RetinaHead
from zoo.models.losses.classification import FocalLoss, sigmoid_focal_loss
from zoo.models.losses.regression import L1Loss
from zoo.models.samplers import AllSampler
from zoo.models.selection import DetectionSelector
from zoo.types import FeatureSpec, Target

NO_OBJECTS = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))


def tiny_head(classes: int = 2, pre_nms_top_n: int = 1000, max_detections: int = 100) -> RetinaHead:
    """One anchor a cell, 8 x 8 pixels, on one level of stride 8."""
    return RetinaHead(
        [FeatureSpec(1, 8)],
        classes,
        CentredAnchors(ratios=[1.0], scales=[1]),
        DeltaCoder(),
        DetectionSelector(0.05, 0.5, max_detections, pre_nms_top_n=pre_nms_top_n, min_size=0),
        MaxIoUAssigner(0.5, 0.5, 0.0),
        AllSampler(),
        FocalLoss(),
        L1Loss(),
        "positives",
        channels=1,
        depth=1,
    )


def logit(score: float) -> float:
    return math.log(score / (1 - score))


def test_focal_loss_in_numbers() -> None:
    # Scores 0.9 and 0.2, the first being the truth: 0.25 * 0.1^2 * -log 0.9 + 0.75 * 0.2^2 * -log 0.8.
    logits = torch.tensor([[logit(0.9), logit(0.2)]])
    expected = 0.25 * 0.01 * -math.log(0.9) + 0.75 * 0.04 * -math.log(0.8)
    assert float(sigmoid_focal_loss(logits, torch.tensor([0]))) == pytest.approx(expected, rel=1e-5)


def test_focal_loss_of_background_has_no_true_column() -> None:
    logits = torch.tensor([[logit(0.9), logit(0.2)]])
    expected = 0.75 * (0.81 * -math.log(0.1) + 0.04 * -math.log(0.8))
    assert float(sigmoid_focal_loss(logits, torch.tensor([2]))) == pytest.approx(expected, rel=1e-5)


def test_focal_loss_and_gradient_agree_with_torchvision() -> None:
    torch.manual_seed(0)
    logits, labels = (torch.randn(50, 5) * 20).requires_grad_(), torch.randint(0, 6, (50,))
    truth = torch.eye(6)[labels, :5]
    own = sigmoid_focal_loss(logits, labels)
    other = torchvision_focal_loss(logits, truth, alpha=0.25, gamma=2, reduction="sum")
    assert float(own.detach()) == pytest.approx(float(other.detach()), rel=1e-6)
    gradient, other_gradient = (torch.autograd.grad(loss, logits)[0] for loss in (own, other))
    assert torch.allclose(gradient, other_gradient, atol=1e-6)


def test_focal_loss_without_anchors_is_zero() -> None:
    assert float(sigmoid_focal_loss(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64))) == 0


def test_levels_share_convolutions_and_have_their_own_normalisation() -> None:
    tower = HeadTower(in_channels=3, channels=4, depth=2, levels=5, norm=True)
    shapes = {name: tuple(p.shape) for name, p in tower.named_parameters()}
    assert {name for name in shapes if name.startswith("convs")} == {"convs.0.weight", "convs.1.weight"}
    norms = {name for name in shapes if name.startswith("norms") and name.endswith("weight")}
    assert norms == {f"norms.{level}.{i}.weight" for level in range(5) for i in range(2)}
    maps = [torch.rand(1, 3, 8, 8)] * 5
    tower.train()(maps)
    means = [norm.running_mean for norm in tower.modules() if isinstance(norm, nn.BatchNorm2d)]
    assert len(means) == 10
    assert all(mean is not None and bool(mean.any()) for mean in means)  # every level kept its own statistics
    assert tower.convs[0].weight.grad is None
    torch.autograd.backward([x.sum() for x in tower(maps)])
    assert tower.convs[0].weight.grad is not None


def test_a_shared_convolution_learns_from_every_level() -> None:
    torch.manual_seed(0)
    tower = HeadTower(in_channels=3, channels=4, depth=2, levels=5, norm=True).train()
    maps = [torch.rand(2, 3, 2 ** (6 - level), 8) for level in range(5)]
    first = tower.convs[0].weight
    assert isinstance(first, Tensor)
    outputs = [(x * torch.rand(x.shape)).sum() for x in tower(maps)]
    together = torch.autograd.grad(torch.stack(outputs).sum(), first, retain_graph=True)[0]
    apart = [torch.autograd.grad(output, first, retain_graph=True)[0] for output in outputs]
    assert all(bool(gradient.any()) for gradient in apart)
    assert torch.allclose(together, torch.stack(apart).sum(dim=0), atol=1e-4)


def test_equal_maps_give_equal_answers_without_normalisation() -> None:
    torch.manual_seed(0)
    tower = HeadTower(in_channels=3, channels=4, depth=2, levels=2, norm=False)
    assert {name for name, _ in tower.named_parameters()} == {
        f"convs.{i}.{v}" for i in (0, 1) for v in ("weight", "bias")
    }
    first, second = tower([torch.ones(1, 3, 4, 4)] * 2)
    assert torch.equal(first, second)


def test_key_names() -> None:
    assert set(tiny_head().state_dict()) == {
        *(f"{tower}.convs.0.{value}" for tower in ("class_tower", "box_tower") for value in ("weight", "bias")),
        *(f"{conv}.{value}" for conv in ("logits", "deltas") for value in ("weight", "bias")),
    }


def test_scores_begin_at_their_prior() -> None:
    head = tiny_head()
    assert head.logits.bias is not None
    assert torch.allclose(head.logits.bias.sigmoid(), torch.tensor(0.01))


def detect(head: RetinaHead, scores: Tensor, deltas: Tensor, scale: tuple[float, float] = (1.0, 1.0)) -> Detections:
    """Detections in an image of 16 x 24 pixels from scores (K, 2, 3) and deltas (4, 2, 3)."""
    (found,) = head.detect(AnchorOutputs([scores.logit()[None]], [deltas[None]]), batch_of(geometry((16, 24), scale)))
    return found


def test_pairs_are_decoded_clipped_and_rescaled() -> None:
    scores, deltas = torch.full((2, 2, 3), 0.01), torch.zeros(4, 2, 3)
    scores[1, 1, 2], scores[0, 0, 0] = 0.9, 0.6
    deltas[:, 1, 2] = torch.tensor([0.25, 0.0, math.log(2), 0.0])  # 2 to the right, twice as wide
    found = detect(tiny_head(), scores, deltas, scale=(2.0, 1.0))
    # The anchor of the cell (1, 2) is (12, 4, 20, 12): moved and widened (10, 4, 26, 12), cut at 24, halved in x.
    assert torch.allclose(found.boxes, torch.tensor([[5.0, 4, 12, 12], [0, 0, 2, 4]]), atol=1e-5)
    assert torch.allclose(found.scores, torch.tensor([0.9, 0.6]))
    assert found.labels.tolist() == [1, 0]


def test_threshold_is_strict_and_one_anchor_may_be_of_two_classes() -> None:
    scores, deltas = torch.full((2, 2, 3), 0.049), torch.zeros(4, 2, 3)
    scores[:, 1, 1] = torch.tensor([0.3, 0.4])
    found = detect(tiny_head(), scores, deltas)
    assert found.labels.tolist() == [1, 0]
    assert torch.equal(found.boxes[0], found.boxes[1])


def test_empty_boxes_are_dropped() -> None:
    scores, deltas = torch.full((2, 2, 3), 0.01), torch.zeros(4, 2, 3)
    scores[0, 0, 0], scores[0, 1, 1] = 0.9, 0.8
    deltas[0, 0, 0] = -2  # wholly left of the image: clipped to a line
    found = detect(tiny_head(), scores, deltas)
    assert found.scores.tolist() == pytest.approx([0.8])


def test_overlapping_boxes_of_one_class_fall() -> None:
    scores, deltas = torch.full((2, 2, 3), 0.01), torch.zeros(4, 2, 3)
    scores[0, 1, 1], scores[0, 1, 2], scores[1, 1, 2] = 0.9, 0.8, 0.7
    deltas[0, 1, 2] = -1  # onto the anchor to its left
    found = detect(tiny_head(), scores, deltas)
    assert found.scores.tolist() == pytest.approx([0.9, 0.7])


def test_a_level_and_an_image_keep_their_best() -> None:
    scores = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).view(1, 2, 3)
    found = detect(tiny_head(classes=1, pre_nms_top_n=4), scores, torch.zeros(4, 2, 3))
    assert found.scores.tolist() == pytest.approx([0.6, 0.5, 0.4, 0.3])
    found = detect(tiny_head(classes=1, max_detections=2), scores, torch.zeros(4, 2, 3))
    assert found.scores.tolist() == pytest.approx([0.6, 0.5])


def test_nothing_above_the_threshold() -> None:
    assert len(detect(tiny_head(), torch.full((2, 2, 3), 0.01), torch.zeros(4, 2, 3))) == 0


def test_anchors_learn_their_class_background_or_nothing() -> None:
    # 3 x 4 cells; the image itself reaches 3 rows and 2 columns of them. The object is the anchor of cell (1, 1).
    head, cells = tiny_head(), [(3, 4)]
    target = Target(torch.tensor([[4.0, 4, 12, 12]]), torch.tensor([1]))
    wanted = head.assign(cells, [target], [geometry((24, 16))], torch.device("cpu"))
    background = [NEGATIVE, NEGATIVE, IGNORED, IGNORED]
    assert labels_of(wanted, 12).view(3, 4).tolist() == [background, [NEGATIVE, 1, IGNORED, IGNORED], background]
    assert (wanted.positive.tolist(), wanted.boxes.tolist()) == ([5], [[4, 4, 12, 12]])


def test_losses_are_divided_by_the_objects() -> None:
    # Scores of 1/2: every element costs log 2 / 4, weighted 1/4 in the column of an object, 3/4 elsewhere.
    head = tiny_head()
    objects = torch.tensor([[6.0, 4, 14, 12], [18, 4, 26, 12]])  # two anchors moved by 2 pixels: dx = 1/4
    target = Target(objects, torch.tensor([0, 1]))
    outputs = AnchorOutputs([torch.zeros(1, 2, 3, 4)], [torch.zeros(1, 4, 3, 4)])
    losses = head.losses(outputs, [target], batch_of(geometry((24, 32))))
    assert float(losses["loss_bbox"]) == pytest.approx(2 * 0.25 / 2, rel=1e-5)
    assert float(losses["loss_cls"]) == pytest.approx((22 * 0.75 + 2 * 0.25) * math.log(2) / 4 / 2, rel=1e-5)


def test_an_image_without_objects_counts_as_one() -> None:
    head = tiny_head()
    target = Target(torch.tensor([[4.0, 4, 12, 12]]), torch.tensor([0]))
    logits, deltas = torch.zeros(2, 2, 3, 4), torch.zeros(2, 4, 3, 4)
    batch = batch_of(geometry((24, 32)), geometry((24, 32)))
    losses = head.losses(AnchorOutputs([logits], [deltas]), [target, NO_OBJECTS], batch)
    assert float(losses["loss_bbox"]) == 0
    assert float(losses["loss_cls"]) == pytest.approx((47 * 0.75 + 0.25) * math.log(2) / 4 / 2, rel=1e-5)


@pytest.mark.parametrize("loss", ["focal", "cross_entropy", "giou", "iou", "bounded_iou", "smooth_l1"])
def test_losses_by_name(loss: str) -> None:
    head = build_model(compose("shapes_retinanet_r10_fpn", [f"loss={loss}"]), class_names(6)).dense_head
    assert isinstance(head, RetinaHead)
    logits = [torch.zeros(1, 9 * 6, 2, 2)]
    deltas = [torch.zeros(1, 9 * 4, 2, 2)]
    head.strides = (8,)
    target = Target(torch.tensor([[-4.0, -4.0, 4.0, 5.0]]), torch.tensor([1]))
    classes, boxes = head.sampled_losses(AnchorOutputs(logits, deltas), [target], [geometry((16, 16))])
    if loss == "cross_entropy":  # all of 36 anchors and 6 classes undecided, over one object and more
        objects = len(head.assign([(2, 2)], [target], [geometry((16, 16))], logits[0].device).positive)
        assert float(classes) == pytest.approx(36 * 6 * math.log(2) / objects, rel=1e-4)
    assert float(classes) > 0
    assert float(boxes) > 0


def test_a_loss_that_no_head_takes_is_an_error() -> None:
    with pytest.raises(UsageError, match="class_loss is taken by none of rpn_head, roi_head"):
        build_model(compose("shapes_faster_rcnn_r10_fpn", ["loss=focal"]), class_names(6))


def test_losses_of_each_image_may_be_divided_by_its_own_positives() -> None:
    torch.manual_seed(0)
    outputs = AnchorOutputs([torch.randn(2, 2, 2, 2)], [torch.randn(2, 4, 2, 2)])
    targets = [Target(torch.tensor([[-4.0, -4, 4, 4], [4, 4, 12, 12]]), torch.tensor([0, 1])), NO_OBJECTS]
    batch = batch_of(geometry((16, 16)), geometry((16, 16)))
    head = tiny_head()
    together, weights = head.losses(outputs, targets, batch), (2, 1)
    alone = [head.losses(outputs.images(i, i + 1), [targets[i]], batch_of(geometry((16, 16)))) for i in (0, 1)]
    head.loss_over = "image"
    apart = head.losses(outputs, targets, batch)
    for name in together:
        sums = [float(losses[name]) * weight for losses, weight in zip(alone, weights, strict=True)]
        assert float(together[name]) == pytest.approx(sum(sums) / 3)
        assert float(apart[name]) == pytest.approx((sums[0] / 2 + sums[1]) / 2)


def test_towers_of_another_kind() -> None:
    tower = GroupNormTower(in_channels=3, channels=4, depth=2, groups=2)
    assert {name for name, _ in tower.named_parameters()} == {
        *(f"convs.{i}.weight" for i in (0, 1)),
        *(f"norms.{i}.{value}" for i in (0, 1) for value in ("weight", "bias")),
    }
    first, second = tower([torch.rand(1, 3, 4, 4), torch.rand(1, 3, 2, 2)])
    assert (first.shape, second.shape) == ((1, 4, 4, 4), (1, 4, 2, 2))
    assert bool((first >= 0).all())
    with pytest.raises(UsageError, match="a tower of another kind brings its own normalisation"):
        build_model(compose("torchvision_retinanet_resnet50_fpn_v2", ["head.dense_head.norm=true"]), class_names(3))
