"""Learning-rate schedules as data: the recipe an entry was trained by, and the rate at each iteration.

Iterations and epochs count from 0. Sources of the rules: mmcv 1.x, `StepLrUpdaterHook`; for those that fall in
a straight line, see `zoo.train.rates`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from zoo.errors import UsageError, closest

T = TypeVar("T")

PRECISIONS = ("fp32", "fp16", "bf16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Warmup:
    """A low rate while the first gradients are wild.

    Attributes:
        kind: "linear": the rate rises in a straight line.
        iterations: how many; the full rate is reached at the iteration of this number.
        ratio: of the rate at iteration 0 to the full one.
    """

    kind: Literal["linear"]
    iterations: int
    ratio: float

    def __post_init__(self) -> None:
        if self.kind != "linear":
            raise _schema_error(f"warmup.kind: {self.kind!r} is not linear")


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupWarmup:
    """A warm-up in which biases begin high and everything else at 0, and the momentum low (Ultralytics).

    Attributes:
        kind: "groups".
        epochs: how long it lasts.
        least: iterations that it lasts at least.
        bias_lr: rate of biases at iteration 0.
        momentum: at iteration 0.
    """

    kind: Literal["groups"]
    epochs: float
    least: int
    bias_lr: float
    momentum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearDecay:
    """A rate that falls in a straight line, epoch by epoch.

    Attributes:
        final: share of the full rate that would be reached in the epoch after the last.
        lag: epochs by which the rate is behind after the warm-up: 1 in Ultralytics 8.0.0, 0 since.
    """

    final: float
    lag: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerSettings:
    """How weights are changed.

    Attributes:
        name: "sgd" or "adamw".
        lr: the full rate, at the recipe's batch size.
        weight_decay: of every weight and bias.
        momentum: of sgd.
        nesterov: whether sgd looks ahead (Sutskever et al., 2013).
        betas: of adamw.
        decay_norms: whether the decay takes in the parameters of normalisation layers.
        decay_biases: whether it takes in biases; where not, they are a group of their own, those of
            normalisation layers among them.
    """

    name: Literal["sgd", "adamw"]
    lr: float
    weight_decay: float
    momentum: float = 0.9
    nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    decay_norms: bool = True
    decay_biases: bool = True

    def __post_init__(self) -> None:
        if self.name not in ("sgd", "adamw"):
            raise _schema_error(f"optimizer.name: {self.name!r} is neither sgd nor adamw")


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageSettings:
    """An exponential moving average of the weights.

    Attributes:
        decay: what is kept of the average at each step.
        warmup: steps over which the decay rises to this from 0, as decay * (1 - exp(-step / warmup)).
    """

    decay: float
    warmup: float = 2000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A published training recipe: one file of conf/schedule.

    Attributes:
        name: what the zoo calls it.
        epochs: passes over the data set.
        batch_size: images in all, over all GPUs.
        images_per_gpu: images that went through the network together; None where the batch was not split.
        repeat: times the data set is gone through in one epoch.
        optimizer: how weights are changed.
        milestones: epochs at whose first iteration the rate falls to a tenth.
        decay: of the rate in a straight line, instead of milestones.
        warmup: of the rate; None starts at the full one.
        accumulate_to: images whose gradients are gathered before the weights move; None: those of a step. The
            rate then does not follow the batch size.
        gradients: of a step: the "mean" over its passes, as the frameworks of many GPUs take it; or the "sum" over
            its images, each with the losses of its pass (Ultralytics).
        multi_scale: resize rule of the training images, as `zoo.data.augment.operations.MultiScale` takes it.
        mosaic: how they are made instead, as `zoo.data.augment.ultralytics.MosaicSettings` takes it.
        crop: side in pixels of a random square crop after the resize; None crops nothing.
        clip: largest L2 norm of all gradients together; None clips nothing.
        ema: moving average of the weights; None evaluates the weights themselves.
        precision: of convolutions and matrix products: "fp32", "fp16" or "bf16".
        loss_scale: what fp16 losses are multiplied by before gradients are taken; None lets it follow the gradients.
    """

    name: str
    epochs: int
    batch_size: int
    optimizer: OptimizerSettings
    milestones: tuple[int, ...] = ()
    decay: LinearDecay | None = None
    images_per_gpu: int | None = None
    repeat: int = 1
    warmup: Warmup | GroupWarmup | None = None
    accumulate_to: int | None = None
    gradients: Literal["mean", "sum"] = "mean"
    multi_scale: Mapping[str, Any] | None = None
    mosaic: Mapping[str, Any] | None = None
    crop: int | None = None
    clip: float | None = None
    ema: AverageSettings | None = None
    precision: str = "fp32"
    loss_scale: float | None = None

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise _schema_error(f"precision: no {self.precision!r} ({closest(self.precision, PRECISIONS)})")
        if self.gradients not in ("mean", "sum"):
            raise _schema_error(f"gradients: {self.gradients!r} is neither mean nor sum")
        if (self.multi_scale is None) == (self.mosaic is None):
            raise _schema_error("one of multi_scale and mosaic makes the training images")
        if isinstance(self.warmup, GroupWarmup) != (self.decay is not None) or (self.decay and self.milestones):
            raise _schema_error("decay comes with a warm-up of the kind groups and without milestones, or not at all")

    @classmethod
    def from_mapping(cls, block: Mapping[str, Any]) -> Schedule:
        """A schedule from its YAML.

        Raises:
            UsageError: a key is missing or unknown, or holds what it cannot hold.
        """
        values = dict(block)
        grouped = (values.get("warmup") or {}).get("kind") == "groups"
        kinds = {
            "optimizer": OptimizerSettings,
            "decay": LinearDecay,
            "warmup": GroupWarmup if grouped else Warmup,
            "ema": AverageSettings,
        }
        for name, kind in kinds.items():
            if values.get(name) is not None:
                values[name] = _build(kind, values[name], f"schedule.{name}")
        schedule = _build(cls, values, "schedule")
        return dataclasses.replace(schedule, milestones=tuple(schedule.milestones))


class RateCurve(ABC):
    """What the optimiser is set to at each iteration.

    Attributes:
        base: the full rate.
        iterations_per_epoch: steps in an epoch.
    """

    __slots__ = ()

    base: float
    iterations_per_epoch: int

    @abstractmethod
    def __call__(self, iteration: int) -> float:
        """The rate of all parameters that are not biases."""

    def of_biases(self, iteration: int) -> float:
        """The rate of biases that are a group of their own."""
        return self(iteration)

    def momentum(self, iteration: int) -> float | None:  # noqa: ARG002 - of curves that change it
        """The momentum; None leaves the optimiser's."""
        return None

    def moves(self, iteration: int) -> bool:  # noqa: ARG002 - of curves that let gradients gather
        """Whether the weights move at the end of the iteration, or its gradients are kept for a later one."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRate(RateCurve):
    """The rate at each iteration: warm-up, then steps down at milestones.

    Attributes:
        base: the full rate.
        milestones: epochs at whose first iteration the rate falls.
        iterations_per_epoch: optimiser steps in an epoch.
        warmup: None starts at the full rate.
        gamma: what is left of the rate at a milestone.
    """

    base: float
    milestones: Sequence[int]
    iterations_per_epoch: int
    warmup: Warmup | None = None
    gamma: float = 0.1

    def __call__(self, iteration: int) -> float:
        """The rate of an iteration, to the last bit as mmcv 1.x computes it."""
        epoch = iteration // self.iterations_per_epoch
        rate = self.base * self.gamma ** sum(epoch >= milestone for milestone in self.milestones)
        if self.warmup is None or iteration >= self.warmup.iterations:
            return rate
        missing = (1 - iteration / self.warmup.iterations) * (1 - self.warmup.ratio)
        return rate * (1 - missing)


def scaled_rate(rate: float, batch_size: int, recipe_batch_size: int) -> float:
    """A recipe's rate for another batch size: in proportion (Goyal et al., "Accurate, Large Minibatch SGD", 2017).

    Args:
        rate: the recipe's.
        batch_size: images a step.
        recipe_batch_size: images a step of the recipe; at this size the rate stays what it is, to the last bit.
    """
    return rate if batch_size == recipe_batch_size else rate * batch_size / recipe_batch_size


def gathered_batches(batch_size: int, accumulate_to: int) -> int:
    """Steps whose gradients are gathered to make about `accumulate_to` images; at least 1."""
    return max(round(accumulate_to / batch_size), 1)


def scaled_decay(decay: float, batch_size: int, accumulate_to: int) -> float:
    """A recipe's weight decay for the images whose gradients are gathered, in proportion."""
    return decay * batch_size * gathered_batches(batch_size, accumulate_to) / accumulate_to


def _build(kind: type[T], block: Mapping[str, Any], where: str) -> T:
    """A dataclass from a mapping, with errors that name the key."""
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in block:
        if key not in fields:
            raise _schema_error(f"{where}: unknown key {key!r} ({closest(str(key), fields)})")
    missing = [
        name for name, field in fields.items() if field.default is dataclasses.MISSING and block.get(name) is None
    ]
    if missing:
        raise _schema_error(f"{where}: missing {', '.join(missing)}")
    return kind(**block)


def _schema_error(message: str) -> UsageError:
    return UsageError(message, next_step="correct the file of conf/schedule; its keys are in zoo/train/schedule.py")
