"""Learning-rate schedules as data: the recipe an entry was trained by, and the rate at each iteration.

Iterations and epochs count from 0. Source of the rule: mmcv 1.x, `StepLrUpdaterHook`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from zoo.errors import UsageError, closest

T = TypeVar("T")


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
class OptimizerSettings:
    """How weights are changed.

    Attributes:
        name: "sgd" or "adamw".
        lr: the full rate, at the recipe's batch size.
        weight_decay: of every weight and bias.
        momentum: of sgd.
        betas: of adamw.
        decay_norms: whether the decay takes in the parameters of normalisation layers.
    """

    name: Literal["sgd", "adamw"]
    lr: float
    weight_decay: float
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    decay_norms: bool = True

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
        milestones: epochs at whose first iteration the rate falls to a tenth.
        batch_size: images in all, over all GPUs.
        images_per_gpu: images that went through the network together; None where the batch was not split.
        repeat: times the data set is gone through in one epoch.
        optimizer: how weights are changed.
        warmup: of the rate; None starts at the full one.
        multi_scale: resize rule of the training images, as `zoo.data.augment.MultiScale` takes it.
        crop: side in pixels of a random square crop after the resize; None crops nothing.
        clip: largest L2 norm of all gradients together; None clips nothing.
        ema: moving average of the weights; None evaluates the weights themselves.
    """

    name: str
    epochs: int
    milestones: tuple[int, ...]
    batch_size: int
    optimizer: OptimizerSettings
    multi_scale: Mapping[str, Any]
    images_per_gpu: int | None = None
    repeat: int = 1
    warmup: Warmup | None = None
    crop: int | None = None
    clip: float | None = None
    ema: AverageSettings | None = None

    @classmethod
    def from_mapping(cls, block: Mapping[str, Any]) -> Schedule:
        """A schedule from its YAML.

        Raises:
            UsageError: a key is missing or unknown, or holds what it cannot hold.
        """
        values = dict(block)
        for name, kind in (("optimizer", OptimizerSettings), ("warmup", Warmup), ("ema", AverageSettings)):
            if values.get(name) is not None:
                values[name] = _build(kind, values[name], f"schedule.{name}")
        schedule = _build(cls, values, "schedule")
        return dataclasses.replace(schedule, milestones=tuple(schedule.milestones))


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRate:
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
    return UsageError(message, next_step="correct the file of conf/schedule; its keys are in zoo/run/schedule.py")
