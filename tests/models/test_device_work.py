"""The counter of device work counts what it says."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from device_work import counted
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it
from torchvision.ops import nms

X = torch.arange(20.0).view(5, 4)
MASK = X[:, 0] > 4


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize(
    "wait",
    [
        lambda: X[0, 0].item(),
        lambda: int(X[0, 0]),
        lambda: bool(MASK[0]),
        lambda: f"{X[0, 0]}",
        lambda: X[MASK],
        lambda: X.clone().__setitem__(MASK, torch.zeros(3, 4)),
        lambda: MASK.nonzero(),
        lambda: torch.where(MASK),
        lambda: torch.masked_select(X, X > 4),
        lambda: torch.unique(X),
        lambda: torch.unique_consecutive(X),
        lambda: torch.equal(X, X),
        lambda: torch.repeat_interleave(torch.tensor([1, 2], device="cpu")),
        lambda: X.clamp(0, X[0, 0]),  # type: ignore[call-overload] # a number and a tensor: the tensor becomes a number
        lambda: nms(X, X[:, 0], 0.5),
        lambda: X.tolist(),
        lambda: X.cpu(),
        lambda: X.to("cpu"),
        lambda: np.asarray(X),
    ],
)
def test_one_wait(wait: Callable[[], object], inference: bool) -> None:
    with torch.inference_mode(inference), counted() as work:
        wait()
    assert (work.waits, work.copies) == (1, 0), work


@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize(
    ("copies", "copy"),
    [
        (1, lambda: torch.tensor([1.0, 2.0])),
        (1, lambda: torch.tensor([1.0, 2.0], device=X.device)),
        (1, lambda: torch.as_tensor([1, 2])),
        (1, lambda: X.new_tensor([1.0, 2.0])),
        (1, lambda: X[[0, 1]]),
        (0, lambda: torch.tensor([1.0, 2.0], device="cpu")),
        (0, lambda: X.new_full((2,), 3.0)),
        (0, lambda: torch.arange(3)),
    ],
)
def test_copies_from_the_host(copies: int, copy: Callable[[], object], inference: bool) -> None:
    with torch.inference_mode(inference), counted() as work:
        copy()
    assert (work.waits, work.copies) == (0, copies), work


@pytest.mark.parametrize("inference", [False, True])
def test_kernels_are_counted_as_they_are_launched(inference: bool) -> None:
    def run() -> Tensor:
        hidden = F.linear(X, X[:3], X[0, :3])  # a product with a sum: one
        x = torch.cat(
            (hidden.relu(), hidden.t().reshape(5, 3))
        )  # a ReLU, a copy of what lies transposed, both together
        x[0] = 1.0  # one
        x[x > 1] = 0.0  # a comparison and a fill, which needs to know nothing
        return x.view(2, 5, 3)[:, None].expand(-1, 2, -1, -1)

    with torch.inference_mode(inference), counted() as work:
        run()
    assert (work.ops, work.waits, work.copies) == (7, 0, 0), work
    assert work.kernels["aten::cat"] == 1
    assert work.views > 0
