"""Losses on numbers worked by hand."""

from __future__ import annotations

import functools
import math

import pytest
import torch
from torch import Tensor

from zoo.models.coders import DeltaCoder, DistanceCoder
from zoo.models.losses.classification import sigmoid_cross_entropy, softmax_cross_entropy
from zoo.models.losses.mining import hard_negatives
from zoo.models.losses.regression import (
    BalancedL1Loss,
    BoundedIoULoss,
    BoxLoss,
    CompleteIoULoss,
    GIoULoss,
    IoULoss,
    L1Loss,
    SmoothL1Loss,
)

SQUARE = [0.0, 0, 10, 10]
ON_DELTAS: list[type[BoxLoss]] = [L1Loss, SmoothL1Loss, BalancedL1Loss]
BOX_LOSSES: list[type[BoxLoss]] = [*ON_DELTAS, IoULoss, GIoULoss, CompleteIoULoss, BoundedIoULoss]


def of(loss: BoxLoss, prediction: list[float], target: list[float]) -> float:
    return float(loss(torch.tensor([prediction]), torch.tensor([target])))


def test_softmax_cross_entropy() -> None:
    logits = torch.tensor([[0.0, 0, 0, 0], [math.log(3), 0, -1e4, -1e4]])
    expected = math.log(4) + math.log(4 / 3)
    assert float(softmax_cross_entropy(logits, torch.tensor([2, 0]))) == pytest.approx(expected)


def test_sigmoid_cross_entropy() -> None:
    logits = torch.tensor([0.0, math.log(3), math.log(3)])  # probabilities 1/2, 3/4, 3/4
    expected = math.log(2) + math.log(4 / 3) + math.log(4)
    assert float(sigmoid_cross_entropy(logits, torch.tensor([1, 1, 0]))) == pytest.approx(expected)


def test_l1() -> None:
    assert of(L1Loss(), [0, 1, -2, 0.5], [0, 0, 1, 0]) == pytest.approx(4.5)


def test_smooth_l1() -> None:
    # Differences 1 (linear: 1 - 1/4) and 1/4 (quadratic: 1/2 * 1/16 / (1/2)).
    assert of(SmoothL1Loss(beta=0.5), [1, 0.25, 0, 0], [0, 0, 0, 0]) == pytest.approx(0.75 + 0.0625)


def test_balanced_l1() -> None:
    # alpha 1/2 and gamma 3/2 make b = e^3 - 1. At 1 both halves are gamma + gamma / b - alpha.
    b = math.e**3 - 1
    assert of(BalancedL1Loss(), [2, 0, 0, 0], [0] * 4) == pytest.approx(3 + 1.5 / b - 0.5)
    assert of(BalancedL1Loss(), [1 - 1e-6, 0, 0, 0], [0] * 4) == pytest.approx(1 + 1.5 / b, rel=1e-5)
    half = 0.5 / b * (b / 2 + 1) * math.log(b / 2 + 1) - 0.25
    assert of(BalancedL1Loss(), [0, -0.5, 0, 0], [0] * 4) == pytest.approx(half)
    # With beta 1/2 half is where both meet: gamma / 2 + gamma / (2 b) - alpha / 2.
    assert of(BalancedL1Loss(beta=0.5), [0.5, 0, 0, 0], [0] * 4) == pytest.approx(0.5 + 0.75 / b)


def test_complete_iou_of_unit_boxes() -> None:
    # dx 0.1 in units of 0.1 moves a unit box by 1: it touches the other; the box about both is 2 x 1.
    coder, references = DeltaCoder((0.1, 0.1, 0.2, 0.2), max_growth=None), torch.tensor([[100.0, 50, 180, 90]])
    loss = functools.partial(CompleteIoULoss(10.0).loss_from_deltas, coder, references)
    assert float(loss(torch.tensor([[10.0, 0, 0, 0]]), references)) == pytest.approx(10 * (1 + 1 / 5))
    assert float(loss(torch.zeros(1, 4), references)) == pytest.approx(0, abs=1e-6)
    # Where both deltas are beyond the limit, both boxes are the same.
    wide = torch.tensor([[-40_000.0, 50, 40_280, 90]])  # 500 times as wide
    assert float(loss(coder.encode(references, wide), wide)) == pytest.approx(0, abs=1e-6)
    assert float(loss(torch.tensor([[0.0, 0, 99, 0]]), wide)) == pytest.approx(0, abs=1e-6)


def test_complete_iou_may_be_a_mean() -> None:
    coder, references = DeltaCoder(), torch.tensor([[0.0, 0, 10, 10]]).expand(4, 4)
    deltas = torch.tensor([[1.0, 0, 0, 0]]).expand(4, 4)
    total = float(CompleteIoULoss().loss_from_deltas(coder, references, deltas, references))
    mean = CompleteIoULoss(mean=True)
    assert float(mean.loss_from_deltas(coder, references, deltas, references)) == pytest.approx(total / 4)
    assert float(mean.loss_from_deltas(coder, references[:0], deltas[:0], references[:0])) == 0


def test_equal_boxes_have_a_gradient() -> None:
    deltas = torch.zeros(1, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(CompleteIoULoss()(*[deltas + torch.tensor([SQUARE])] * 2), deltas)
    assert bool(gradient.isfinite().all())


def test_iou() -> None:
    assert of(IoULoss(), [0, 0, 10, 5], SQUARE) == pytest.approx(math.log(2))
    assert of(IoULoss(), SQUARE, SQUARE) == pytest.approx(0)


def test_iou_of_boxes_apart_is_finite_and_flat() -> None:
    prediction = torch.tensor([[20.0, 0, 30, 10]], requires_grad=True)
    loss = IoULoss()(prediction, torch.tensor([SQUARE]))
    assert float(loss.detach()) == pytest.approx(-math.log(1e-6))
    (gradient,) = torch.autograd.grad(loss, prediction)
    assert not gradient.any()


def test_giou() -> None:
    # Apart: IoU 0, union 200, enclosing 30 x 10. Overlapping corners: IoU 25/175, enclosing 15 x 15.
    assert of(GIoULoss(), [20, 0, 30, 10], SQUARE) == pytest.approx(1 + 100 / 300)
    assert of(GIoULoss(), [5, 5, 15, 15], SQUARE) == pytest.approx(1 - 25 / 175 + 50 / 225)
    assert of(GIoULoss(), SQUARE, SQUARE) == pytest.approx(0)


def test_bounded_iou() -> None:
    # Shifted by 2 along x: 1 - (10 - 4) / (10 + 4) = 4/7, above beta: minus half of it.
    assert of(BoundedIoULoss(epsilon=0), [2, 0, 12, 10], SQUARE) == pytest.approx(4 / 7 - 0.1)
    # 10 x 9 about the same centre: 1 - 9/10 = 1/10, below beta: 1/2 * 1/100 / (2/10).
    assert of(BoundedIoULoss(epsilon=0), [0, 0.5, 10, 9.5], SQUARE) == pytest.approx(0.025, rel=1e-5)
    # Too far for the bound on x, which stops at 0: loss 1. The others are right.
    assert of(BoundedIoULoss(epsilon=0), [100, 0, 110, 10], SQUARE) == pytest.approx(0.9)


def test_bounded_iou_has_epsilon_in_each_divisor() -> None:
    term = 1 - 1 / (1 + 0.1)  # all four coordinates of an exact hit: 1 - 1 / (1 + epsilon / 10)
    assert of(BoundedIoULoss(epsilon=1.0), SQUARE, SQUARE) == pytest.approx(4 * 0.5 * term**2 / 0.2, rel=1e-5)


@pytest.mark.parametrize("kind", BOX_LOSSES)
def test_box_losses_sum_over_boxes_and_are_weighted(kind: type[BoxLoss]) -> None:
    prediction = torch.tensor([[1.0, 2, 11, 9], [0, 0, 5, 5]])
    target = torch.tensor([SQUARE, SQUARE])
    one_by_one = sum(float(kind()(prediction[i : i + 1], target[i : i + 1])) for i in range(2))
    assert float(kind(weight=10.0)(prediction, target)) == pytest.approx(10 * one_by_one, rel=1e-5)


@pytest.mark.parametrize("kind", BOX_LOSSES)
def test_box_losses_of_nothing_are_zero_with_a_gradient(kind: type[BoxLoss]) -> None:
    prediction = torch.zeros(3, 4, requires_grad=True)
    loss = kind()(prediction[:0], torch.zeros(0, 4))
    assert float(loss.detach()) == 0
    (gradient,) = torch.autograd.grad(loss, prediction)
    assert not gradient.any()


@pytest.mark.parametrize("kind", BOX_LOSSES)
def test_box_losses_are_taken_in_float32(kind: type[BoxLoss]) -> None:
    prediction, target = torch.tensor([[1.0, 2, 11, 9]]), torch.tensor([SQUARE])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half: Tensor = kind()(prediction.bfloat16(), target)
    assert half.dtype == torch.float32
    assert torch.equal(half, kind()(prediction, target))


@pytest.mark.parametrize("kind", [IoULoss, GIoULoss, BoundedIoULoss])
def test_gradients_of_losses_on_boxes(kind: type[BoxLoss]) -> None:
    # Numerical derivatives, in float32: a pixel's hundredth either side.
    prediction, target = torch.tensor([[1.0, 2, 11, 9]]), torch.tensor([[0.0, 0, 10, 10]])
    leaf = prediction.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(kind()(leaf, target), leaf)
    for i in range(4):
        step = torch.zeros(1, 4)
        step[0, i] = 0.01
        slope = (kind()(prediction + step, target) - kind()(prediction - step, target)) / 0.02
        assert float(gradient[0, i]) == pytest.approx(float(slope), rel=0.02, abs=1e-4)


def test_what_each_loss_compares() -> None:
    assert {kind.__name__: kind.target_space for kind in BOX_LOSSES} == {
        "L1Loss": "deltas",
        "SmoothL1Loss": "deltas",
        "BalancedL1Loss": "deltas",
        "IoULoss": "boxes",
        "GIoULoss": "boxes",
        "CompleteIoULoss": "unit_boxes",
        "BoundedIoULoss": "boxes",
    }


def test_the_worst_negatives_of_each_image_are_mined() -> None:
    losses = torch.tensor([[9.0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]])
    positive = torch.tensor([0, 13, 17])
    for ratio, mined in ((3, [3, 4, 5, *range(12, 18)]), (1, [5, 15, 16])):
        found = hard_negatives(losses, positive, [1, 0, 2], ratio)
        assert sorted(found.tolist()) == mined


def test_only_deltas_make_unit_boxes() -> None:
    with pytest.raises(TypeError, match="DistanceCoder"):
        CompleteIoULoss().loss_from_deltas(DistanceCoder(), torch.ones(1, 4), torch.ones(1, 4), torch.ones(1, 4))
