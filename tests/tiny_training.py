"""A detector of a few hundred weights and its training, in this process or in one that can be killed."""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from class_names import class_names
from torch import Tensor, nn

from zoo.data.augment import Augmentation, MultiScale
from zoo.data.coco import CocoGroundTruth
from zoo.data.preprocess import Preprocess
from zoo.data.size_rules import KeepRatio
from zoo.data.training import TrainingBatches, TrainingDataset, TrainingOrder
from zoo.models.detectors.base import Detector
from zoo.models.layers.normalize import PixelNormalizer
from zoo.models.layers.padding import PadToMultiple
from zoo.runtime.distributed import joined
from zoo.train.optimizers import WeightAverage, make_optimizer
from zoo.train.schedule import AverageSettings, LearningRate, OptimizerSettings, Warmup
from zoo.train.trainer import Plan, Trainer
from zoo.types import Batch, Detections, Target

CPU = torch.device("cpu")
OPTIMIZER = OptimizerSettings(name="sgd", lr=0.05, weight_decay=0.0001)


class TinyDetector(Detector):
    """Pools the whole image, drops some of it at random, and finds one box."""

    def __init__(self, classes: int = 80) -> None:
        backbone = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.BatchNorm2d(8), nn.ReLU())
        normalizer = PixelNormalizer([120.0] * 3, [60.0] * 3, "rgb", PadToMultiple(32))
        super().__init__(class_names(classes), backbone, None, Preprocess(KeepRatio(64, 48)), normalizer)
        self.logits = nn.Linear(8, classes)
        self.box = nn.Linear(8, 4)

    def network(self, batch: Batch) -> tuple[Tensor, Tensor]:
        pooled = self.backbone(batch.images).mean(dim=(2, 3))
        pooled = F.dropout(pooled, 0.2, self.training)
        return self.logits(pooled), self.box(pooled)

    def postprocess(self, outputs: tuple[Tensor, Tensor], batch: Batch) -> list[Detections]:
        scores, labels = outputs[0].softmax(dim=1).max(dim=1)
        boxes = outputs[1] * 64
        return [Detections(boxes[i : i + 1], scores[i : i + 1], labels[i : i + 1]) for i in range(len(scores))]

    def losses(self, batch: Batch, targets: Sequence[Target]) -> dict[str, Tensor]:
        logits, boxes = self.network(batch)
        labels = torch.stack([target.labels[0] for target in targets])
        wanted = torch.stack([target.boxes[0] for target in targets]) / 64
        return {
            "loss_cls": F.cross_entropy(logits.float(), labels),
            "loss_bbox": F.l1_loss(boxes.float(), wanted),
        }


def make_dataset(coco: Path, augmentation: Augmentation | None = None) -> TrainingDataset:
    truth = CocoGroundTruth.load(coco / "annotations" / "instances_val2017.json")
    files = [coco / "val2017" / name for name in truth.file_names]
    scales = MultiScale(mode="choice", scales=((64, 48), (80, 60)))
    return TrainingDataset(truth, files, augmentation or Augmentation(multi_scale=scales), seed=3)


def make_trainer(folder: Path, order: TrainingOrder, detector: Detector | None = None, **settings: Any) -> Trainer:
    """A trainer of steps that `order` gives; `settings` are those of `Plan`, and `ema`, `processes`."""
    if detector is None:
        torch.manual_seed(0)
        detector = TinyDetector()
    warmup = Warmup(kind="linear", iterations=4, ratio=0.1)
    rate = LearningRate(base=0.05, milestones=(3, 6), iterations_per_epoch=order.steps_per_epoch, warmup=warmup)
    ema, processes = settings.pop("ema", False), settings.pop("processes", None)
    plan = Plan(**{"steps": 20, "parts": order.parts_per_step, "seed": 1, "checkpoint_every": 5, **settings})
    average = WeightAverage(detector, AverageSettings(decay=0.9, warmup=5)) if ema else None
    more = {} if processes is None else {"processes": processes}
    return Trainer(detector, make_optimizer(detector, OPTIMIZER), rate, plan, folder, average=average, **more)


def train(
    coco: Path, folder: Path, *, resume: bool = False, batch_size: int = 2, part_size: int = 1, workers: int = 0,
    **settings: Any,
) -> Trainer:  # fmt: skip
    """Train on a tiny data set; returns the trainer at its end."""
    with joined(CPU) as processes:
        dataset = make_dataset(coco)
        order = TrainingOrder(dataset.wide, batch_size=batch_size, part_size=part_size, seed=3)
        trainer = make_trainer(folder, order, processes=processes, **settings)
        batches = TrainingBatches(dataset, order, workers=workers, rank=processes.rank, processes=processes.count)
        if resume:
            trainer.restore()
        trainer.run(batches)
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
    context.set_forkserver_preload(["zoo.data.training", "zoo.train.trainer", "torch._dynamo"])
    process = context.Process(target=_train, args=(coco, folder, dict(environment or {}), settings))
    process.start()
    return process


def _train(coco: Path, folder: Path, environment: dict[str, str], settings: dict[str, Any]) -> None:
    os.environ.update(environment)
    torch.set_num_threads(1)
    train(coco, folder, **settings)
