"""Learning rates and parameter groups of torchvision's recipes are those of its reference script, to the last bit."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.optim.lr_scheduler import LinearLR as TorchLinearLR
from torch.optim.lr_scheduler import MultiStepLR as TorchMultiStepLR

from zoo.catalog.entry import conf_dir
from zoo.config.compose import compose
from zoo.data.augment.settings import (
    FixedSizeCrop,
    HFlip,
    IoUCrop,
    PhotometricDistort,
    ScaleJitter,
    ShortestSize,
    ZoomOut,
)
from zoo.train.rates import ChainedLR, build_lr_schedule
from zoo.train.schedule import OptimizerConfig, ParameterRule, Schedule, Warmup

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


def schedule(option: str) -> Schedule:
    return Schedule.from_mapping(compose("torchvision_fasterrcnn_resnet50_fpn", [f"schedule={option}"])["schedule"])


def sgd(lr: float, weight_decay: float) -> OptimizerConfig:
    return OptimizerConfig(name="sgd", lr=lr, weight_decay=weight_decay)


FLIP = HFlip(kind="hflip", probability=0.5)
MEAN = (123, 117, 104)
LENGTHS = (480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800)
FROZEN = ParameterRule(parameters=("backbone.stem.*", "backbone.layer1.*"), lr_mult=0.0)
ADAMW = OptimizerConfig(name="adamw", lr=0.0001, weight_decay=0.05, decay_norms=False, groups={"frozen": FROZEN})

RECIPES: dict[str, tuple[Any, ...]] = {
    # GPUs, images a GPU, epochs, milestones, optimiser, augmentation before the flip, options
    "26e": (8, 2, 26, (16, 22), sgd(0.02, 1e-4), ()),
    "retinanet_26e": (8, 2, 26, (16, 22), sgd(0.01, 1e-4), ()),
    "fcos_26e": (8, 2, 26, (16, 22), sgd(0.01, 1e-4), (), "--amp"),
    "retinanet_v2_26e": (
        *(8, 2, 26, (16, 22), ADAMW),
        (ShortestSize(kind="shortest_size", short=LENGTHS, long=1333),),
        "--sync-bn",
    ),
    "lsj_400e": (
        *(32, 2, 400, (352, 384), sgd(0.1, 4e-5)),
        (
            ScaleJitter(kind="scale_jitter", side=1024),
            FixedSizeCrop(kind="fixed_size_crop", size=(1024, 1024), fill=MEAN),
        ),
        "--sync-bn",
    ),
    "keypoints_46e": (8, 2, 46, (36, 43), sgd(0.02, 1e-4), ()),
    "keypoints_30e": (8, 2, 30, (36, 43), sgd(0.02, 1e-4), ()),
    "ssd_120e": (
        *(8, 4, 120, (80, 110), sgd(0.002, 5e-4)),
        (
            PhotometricDistort(kind="photometric_distort"),
            ZoomOut(kind="zoom_out", fill=MEAN),
            IoUCrop(kind="iou_crop"),
        ),
    ),
    "ssdlite_660e": (8, 24, 660, (), sgd(0.15, 4e-5), (IoUCrop(kind="iou_crop"),), "--lr-scheduler"),
}
"""By the name of a recipe what its publisher's command says, or the script's default.

Sources: the README of references/detection, and pull requests 5756, 5763 and 5773 of pytorch/vision for the second
versions."""


@pytest.mark.parametrize(
    "path", sorted((conf_dir() / "schedule").glob("torchvision_*.yaml")), ids=lambda path: path.stem
)
def test_recipes_are_the_published_commands(path: Path) -> None:
    recipe = schedule(path.stem)
    assert path.stem == f"torchvision_{recipe.name}"
    gpus, images, epochs, milestones, optimizer, transforms, *options = RECIPES[recipe.name]
    assert (recipe.batch_size, recipe.images_per_gpu) == (gpus * images, images)
    assert (recipe.epochs, recipe.milestones) == (epochs, milestones)
    assert recipe.optimizer == optimizer
    assert recipe.transforms == (*transforms, FLIP)
    assert recipe.aspect_ratio_group_factor == 3
    assert (recipe.precision, recipe.loss_scale) == ("fp16" if "--amp" in options else "fp32", None)
    assert recipe.sync_bn == ("--sync-bn" in options)
    assert recipe.decay == ("cosine" if "--lr-scheduler" in options else None)
    lr_schedule = build_lr_schedule(recipe, recipe.batch_size, 50)
    assert isinstance(lr_schedule, ChainedLR)
    assert lr_schedule(0) == optimizer.lr * (1 / 1000)
    first, *later = reference_rates(optimizer.lr, epochs, 50, milestones=list(milestones) or None)
    assert [lr_schedule(i) for i in range(50)] == first
    assert [[lr_schedule(50 * epoch)] for epoch in range(1, epochs)] == later


def test_the_rate_follows_the_batch() -> None:
    """The script says so: 0.02 / 8 for each GPU of 2 images."""
    lr_schedule = build_lr_schedule(schedule("torchvision_26e"), 2, 50)
    assert lr_schedule(49) == pytest.approx(0.02 / 8)


def test_epochs_of_one_iteration_have_no_warm_up() -> None:
    """torch's warm-up would hold such a training at a thousandth of its rate."""
    lr_schedule = ChainedLR(base_lr=0.02, epochs=3, iterations_per_epoch=1, warmup=WARMUP, milestones=[2])
    assert [lr_schedule(i) for i in range(3)] == [0.02, 0.02, 0.1 * 0.02]
