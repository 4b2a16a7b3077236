"""Learning rates and parameter groups of torchvision's recipes are those of its reference script, to the last bit."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.lr_scheduler import LinearLR as TorchLinearLR
from torch.optim.lr_scheduler import MultiStepLR as TorchMultiStepLR

from zoo.train.rates import ChainedLR
from zoo.train.schedule import Warmup

WARMUP = Warmup(kind="chained", iterations=1000, ratio=1 / 1000)


def reference_rates(
    base_lr: float, epochs: int, iterations: int, *, milestones: list[int] | None = None
) -> list[list[float]]:
    """The rates of every epoch, by torch's own schedulers in the reference script's order: warm-up in the first epoch,
    which ends an iteration before it does, and one step of the other schedule after each epoch; cosine without
    milestones. An epoch after the first has one rate."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base_lr)
    whole: TorchMultiStepLR | CosineAnnealingLR
    if milestones is None:
        whole = CosineAnnealingLR(optimizer, T_max=epochs)
    else:
        whole = TorchMultiStepLR(optimizer, milestones=milestones, gamma=0.1)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nothing is optimised here
        for epoch in range(epochs):
            rates.append([optimizer.param_groups[0]["lr"]])
            if epoch == 0:
                warm = TorchLinearLR(optimizer, start_factor=1 / 1000, total_iters=min(1000, iterations - 1))
                rates[0] = []
                for _ in range(iterations):
                    rates[0].append(optimizer.param_groups[0]["lr"])
                    warm.step()
            whole.step()
    return rates


@pytest.mark.parametrize("iterations", [7330, 1001, 1000, 37, 2])
@pytest.mark.parametrize(
    ("base_lr", "epochs", "milestones"),
    [(0.02, 26, [16, 22]), (0.002, 120, [80, 110]), (0.02, 46, [36, 43]), (0.1, 400, [352, 384]), (0.15, 660, None)],
)
def test_rates_of_a_whole_training(base_lr: float, epochs: int, milestones: list[int] | None, iterations: int) -> None:
    lr_schedule = ChainedLR(
        base_lr=base_lr,
        epochs=epochs,
        iterations_per_epoch=iterations,
        warmup=WARMUP,
        milestones=milestones or (),
        cosine=milestones is None,
    )
    first, *later = reference_rates(base_lr, epochs, iterations, milestones=milestones)
    assert [lr_schedule(i) for i in range(iterations)] == first
    assert [[lr_schedule(e * iterations)] for e in range(1, epochs)] == later
    assert [lr_schedule((e + 1) * iterations - 1) for e in range(1, epochs)] == [rate for (rate,) in later]


def test_epochs_of_one_iteration_have_no_warm_up() -> None:
    """torch's warm-up would hold such a training at a thousandth of its rate."""
    lr_schedule = ChainedLR(base_lr=0.02, epochs=3, iterations_per_epoch=1, warmup=WARMUP, milestones=[2])
    assert [lr_schedule(i) for i in range(3)] == [0.02, 0.02, 0.1 * 0.02]
