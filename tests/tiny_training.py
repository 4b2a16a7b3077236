"""A detector of a few hundred weights and its training, in this process or in one that can be killed."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import socket
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from class_names import class_names
from torch import Tensor, nn

from zoo.data.augment import mmdet
from zoo.data.augment.settings import MultiScale
from zoo.data.augment.training_set import TrainingSet
from zoo.data.coco import CocoGroundTruth
from zoo.data.detections import Detections
from zoo.data.loader import TrainLoader
from zoo.data.preprocess import Preprocess
from zoo.data.sampler import AspectRatioBatchSampler
from zoo.data.size_rules import KeepRatio
from zoo.models.detectors.base import Detector
from zoo.models.layers.normalize import PixelNormalizer
from zoo.models.layers.padding import PadToMultiple
from zoo.runtime.distributed import DistributedContext, init_distributed
from zoo.train.config import Recipe, TrainConfig
from zoo.train.optimizers import ModelEma, make_optimizer
from zoo.train.rates import MultiStepLR
from zoo.train.schedule import EmaConfig, OptimizerConfig, Schedule, Warmup
from zoo.train.trainer import Trainer
from zoo.types import Batch, Target

CPU = torch.device("cpu")
OPTIMIZER = OptimizerConfig(name="sgd", lr=0.05, weight_decay=0.0001)
SCHEDULE = Schedule(
    name="tiny",
    epochs=10,
    batch_size=2,
    optimizer=OPTIMIZER,
    milestones=(3, 6),
    warmup=Warmup(kind="linear", iterations=4, ratio=0.1),
    multi_scale=MultiScale(mode="choice", scales=((64, 48), (80, 60))),
)


class TinyDetector(Detector):
    """Pools the whole image, drops some of it at random, and finds one box."""

    def __init__(self, classes: int = 80) -> None:
        backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU())
        normalizer = PixelNormalizer([120.0] * 3, [60.0] * 3, "rgb", PadToMultiple(32))
        super().__init__(class_names(classes), backbone, None, Preprocess(KeepRatio(64, 48)), normalizer)
        self.logits = nn.Linear(8, classes)
        self.box = nn.Linear(8, 4)

    def dense(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pooled = self.backbone(images).mean(dim=(2, 3))
        pooled = F.dropout(pooled, 0.2, self.training)
        return self.logits(pooled), self.box(pooled)

    def postprocess(self, outputs: tuple[Tensor, Tensor], batch: Batch) -> list[Detections]:
        scores, labels = outputs[0].softmax(dim=1).max(dim=1)
        boxes = outputs[1] * 64
        return [Detections(boxes[i : i + 1], scores[i : i + 1], labels[i : i + 1]) for i in range(len(scores))]

    def losses(self, batch: Batch, targets: Sequence[Target]) -> dict[str, Tensor]:
        logits, boxes = self.dense(batch.images)
        labels = torch.stack([target.labels[0] for target in targets])
        wanted = torch.stack([target.boxes[0] for target in targets]) / 64
        return {
            "loss_cls": F.cross_entropy(logits.float(), labels),
            "loss_bbox": F.l1_loss(boxes.float(), wanted),
        }


def make_dataset(coco: Path) -> TrainingSet:
    truth = CocoGroundTruth.load(coco / "annotations" / "instances_val2017.json")
    files = [coco / "val2017" / name for name in truth.file_names]
    assert SCHEDULE.multi_scale is not None
    return mmdet.training_set(truth, files, multi_scale=SCHEDULE.multi_scale, seed=3, masks=False)


def make_config(
    folder: Path,
    *,
    precision: str = "fp32",
    loss_scale: float | None = None,
    clip: float | None = None,
    gradients: Literal["mean", "sum"] = "mean",
    **settings: Any,
) -> TrainConfig:
    """A training of the tiny recipe; `settings` are other fields of `TrainConfig`."""
    schedule = dataclasses.replace(SCHEDULE, clip=clip, gradients=gradients)
    recipe = Recipe(schedule=schedule, initial=None, precision=precision, loss_scale=loss_scale)
    values = {"batch_size": 2, "checkpoint_every": 5, "seed": 1, **settings}
    return TrainConfig(recipe=recipe, run_dir=folder, **values)


def make_trainer(
    folder: Path,
    sampler: AspectRatioBatchSampler,
    detector: Detector | None = None,
    *,
    steps: int = 20,
    ema: bool = False,
    context: DistributedContext = DistributedContext(),  # noqa: B008 - immutable
    **settings: Any,
) -> Trainer:
    """A trainer of the steps of `sampler`; `settings` are those of `make_config`."""
    if detector is None:
        torch.manual_seed(0)
        detector = TinyDetector()
    lr_schedule = MultiStepLR(
        base_lr=OPTIMIZER.lr,
        milestones=[milestone * sampler.steps_per_epoch for milestone in SCHEDULE.milestones],
        iterations_per_epoch=sampler.steps_per_epoch,
        warmup=Warmup(kind="linear", iterations=4, ratio=0.1),
    )
    return Trainer(
        detector,
        make_optimizer(detector, OPTIMIZER),
        lr_schedule,
        make_config(folder, **settings),
        steps=steps,
        micro_batches=sampler.micro_batches_per_step,
        init_from="random init",
        ema=ModelEma(detector, EmaConfig(decay=0.9, warmup=5)) if ema else None,
        context=context,
    )


def train(
    coco: Path, folder: Path, *, resume: bool = False, batch_size: int = 2, micro_batch_size: int = 1, workers: int = 0,
    **settings: Any,
) -> Trainer:  # fmt: skip
    """Train on a tiny data set; returns the trainer at its end."""
    with init_distributed(CPU) as context:
        dataset = make_dataset(coco)
        sampler = AspectRatioBatchSampler(
            dataset.is_landscape, batch_size=batch_size, micro_batch_size=micro_batch_size, seed=3
        )
        trainer = make_trainer(folder, sampler, context=context, **settings)
        loader = TrainLoader(dataset, sampler, workers=workers, rank=context.rank, world_size=context.world_size)
        if resume:
            trainer.restore()
        trainer.run(loader)
    return trainer


def meeting_point() -> dict[str, str]:
    """The environment of two processes that are to find each other, but for the RANK of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}


def start(coco: Path, folder: Path, environment: Mapping[str, str] | None = None, **settings: Any) -> ForkServerProcess:
    """Train in a process of its own, with one thread, so that every one of them computes the same bits."""
    context = multiprocessing.get_context("forkserver")
    # Imported once for all of them; the last is what torch's optimisers import when they are first used.
    context.set_forkserver_preload(["zoo.data.loader", "zoo.train.trainer", "torch._dynamo"])
    process = context.Process(target=_train, args=(coco, folder, dict(environment or {}), settings))
    process.start()
    return process


def _train(coco: Path, folder: Path, environment: dict[str, str], settings: dict[str, Any]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    train(coco, folder, **settings)
