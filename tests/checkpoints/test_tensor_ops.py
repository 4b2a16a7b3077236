"""Operations on stored values: worked values, and that the layer does what the original's does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, linear

from zoo.checkpoints.tensor_ops import (
    background_box_last,
    background_last,
    background_last_of,
    pair_up,
    take_rows,
    transpose,
)


def uniform(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 0.5


def test_transpose() -> None:
    assert transpose.apply(torch.tensor([[1, 2, 3], [4, 5, 6]])).tolist() == [[1, 4], [2, 5], [3, 6]]
    weight, features = uniform(5, 3, seed=0), uniform(2, 5, seed=1)
    assert torch.equal(linear(features, transpose.apply(weight)), features @ weight)
    with pytest.raises(ValueError, match="not a matrix"):
        transpose.apply(torch.zeros(3))


def test_background_last() -> None:
    assert background_last.apply(torch.tensor([0, 1, 2, 3])).tolist() == [1, 2, 3, 0]
    assert background_last.apply(torch.tensor([[0, 0], [1, 1], [2, 2]])).tolist() == [[1, 1], [2, 2], [0, 0]]


def test_take_rows() -> None:
    rows = torch.arange(12)
    assert take_rows(4).apply(rows).tolist() == [4, 5, 6, 7, 8, 9, 10, 11]
    assert take_rows(4, 8).apply(rows).tolist() == [4, 5, 6, 7]
    assert take_rows(4, 12).apply(rows).tolist() == take_rows(4).apply(rows).tolist()
    assert [take_rows(4).name, take_rows(4, 8).name, take_rows(0, 4).name] == [
        "take_rows(4:)",
        "take_rows(4:8)",
        "take_rows(0:4)",
    ]
    for op in (take_rows(12), take_rows(4, 13)):
        with pytest.raises(ValueError, match="12 rows"):
            op.apply(rows)


def test_pair_up() -> None:
    assert pair_up.apply(torch.tensor([1, 2, 3, 10, 20, 30])).tolist() == [10, 1, 20, 2, 30, 3]
    with pytest.raises(ValueError, match="odd"):
        pair_up.apply(torch.zeros(3))


def test_pairs_have_the_softmax_of_the_original() -> None:
    anchors, channels = 3, 4
    weight, bias = uniform(2 * anchors, channels, 1, 1, seed=0), uniform(2 * anchors, seed=1)
    features = uniform(1, channels, 2, 2, seed=2)
    pairs = conv2d(features, weight, bias).view(2, anchors, 2, 2)  # logit a of the background pairs with anchors + a
    ours = conv2d(features, pair_up.apply(weight), pair_up.apply(bias)).view(anchors, 2, 2, 2)
    assert torch.allclose(ours.softmax(dim=1)[:, 0], pairs.softmax(dim=0)[1], rtol=0, atol=1e-15)


def test_background_of_boxes_and_of_anchors_last() -> None:
    assert background_box_last.apply(torch.arange(12)).tolist() == [4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3]
    with pytest.raises(ValueError, match="6 rows, which are no boxes"):
        background_box_last.apply(torch.zeros(6))
    op = background_last_of(2)
    assert op.name == "background_last_of(2)"
    assert op.apply(torch.arange(6)).tolist() == [1, 2, 0, 4, 5, 3]
    assert op.apply(torch.arange(12).view(6, 2, 1, 1)).flatten(1).tolist() == [
        [2, 3],
        [4, 5],
        [0, 1],
        [8, 9],
        [10, 11],
        [6, 7],
    ]
    with pytest.raises(ValueError, match="3 rows, which are not as many for each of 2 anchors"):
        op.apply(torch.zeros(3))
