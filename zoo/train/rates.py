"""Learning-rate schedules: what the optimiser is set to at each iteration, counted from 0.

Sources of the rules: mmcv 1.x `StepLrUpdaterHook` and PaddleDetection's `PiecewiseDecay` with `LinearWarmup`
(`MultiStepLR`), the trainer of Ultralytics (`LinearLR`), torch's schedulers as torchvision's references compose them
(`ChainedLR`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from zoo.train.schedule import GroupWarmup, LinearDecay, Schedule, Warmup


class LRSchedule(ABC):
    """The learning rate, the momentum and the optimiser steps of a training.

    Attributes:
        base_lr: the full learning rate.
        iterations_per_epoch: iterations in an epoch.
    """

    __slots__ = ()

    base_lr: float
    iterations_per_epoch: int

    @abstractmethod
    def __call__(self, iteration: int) -> float:
        """The learning rate of all parameters that are not in the group of biases."""

    def bias_lr(self, iteration: int) -> float:
        """The learning rate of biases that are a parameter group of their own."""
        return self(iteration)

    def momentum(self, iteration: int) -> float | None:  # noqa: ARG002 - of schedules that change it
        """The momentum; None leaves the optimiser's."""
        return None

    def is_optimizer_step(self, iteration: int) -> bool:  # noqa: ARG002 - of schedules that accumulate
        """Whether the iteration ends with an optimiser step, or its gradients are accumulated for a later one."""
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiStepLR(LRSchedule):
    """A warm-up, then a learning rate that falls at milestones.

    Attributes:
        base_lr: the full learning rate.
        milestones: iterations from which on the rate is lower.
        iterations_per_epoch: iterations in an epoch, an optimiser step each.
        warmup: the warm-up; None starts at the full rate.
        drops: how the rate falls; see `Schedule.drops`.
        gamma: factor of the rate at a milestone.
    """

    base_lr: float
    milestones: Sequence[int]
    iterations_per_epoch: int
    warmup: Warmup | None = None
    drops: Literal["power", "product"] = "power"
    gamma: float = 0.1

    def __call__(self, iteration: int) -> float:
        """The learning rate of all parameters, to the last bit as the source framework computes it."""
        lr = self._dropped(sum(iteration >= milestone for milestone in self.milestones))
        if self.warmup is None or iteration >= self.warmup.iterations:
            return lr
        left, ratio = 1 - iteration / self.warmup.iterations, self.warmup.ratio
        if self.warmup.kind == "interpolated":
            return lr * (ratio * left + iteration / self.warmup.iterations)
        return lr * (1 - left * (1 - ratio))

    def _dropped(self, times: int) -> float:
        """The full rate after so many milestones."""
        if self.drops == "power":
            return self.base_lr * self.gamma**times
        return math.prod([self.gamma] * times, start=self.base_lr)


class ChainedLR(LRSchedule):
    """A learning rate that is a factor times the one before: by iteration in the warm-up, by epoch afterwards.

    So torch's `LinearLR`, `MultiStepLR` and `CosineAnnealingLR` compute it, and what the warm-up loses in its last bits
    is lost for the whole training. The warm-up ends with the first epoch at the latest.

    Args:
        base_lr: the full learning rate.
        epochs: number of epochs of the training.
        iterations_per_epoch: iterations in an epoch, an optimiser step each.
        warmup: the warm-up.
        milestones: epochs from which on the rate is lower.
        cosine: whether the rate falls by half a wave over all epochs instead.
        gamma: factor of the rate at a milestone.
    """

    def __init__(
        self,
        *,
        base_lr: float,
        epochs: int,
        iterations_per_epoch: int,
        warmup: Warmup,
        milestones: Sequence[int] = (),
        cosine: bool = False,
        gamma: float = 0.1,
    ) -> None:
        self.base_lr = base_lr
        self.iterations_per_epoch = iterations_per_epoch
        # Where an epoch has one iteration torch's would stay at its lowest for ever; here there is no warm-up then.
        length, ratio = min(warmup.iterations, iterations_per_epoch - 1), warmup.ratio
        self._warmup = [base_lr * ratio if length else base_lr]
        for i in range(length):
            self._warmup.append(self._warmup[-1] * (1.0 + (1.0 - ratio) / (length * ratio + i * (1.0 - ratio))))
        self._epochs = [self._warmup[-1]]
        for epoch in range(1, epochs):
            factor = gamma ** sum(epoch == milestone for milestone in milestones)
            if cosine:
                wave = (1 + math.cos(math.pi * number / epochs) for number in (epoch, epoch - 1))
                factor = next(wave) / next(wave)
            self._epochs.append(factor * self._epochs[-1])

    def __call__(self, iteration: int) -> float:
        """The learning rate of all parameters, to the last bit as torch's schedulers compute it."""
        if iteration < len(self._warmup):
            return self._warmup[iteration]
        return self._epochs[iteration // self.iterations_per_epoch]


class LinearLR(LRSchedule):
    """A learning rate that falls by a straight line over the epochs, after a warm-up of each parameter group.

    In the warm-up every value rises or falls to that of the epoch, iteration by iteration, and the gradients of more
    and more iterations are accumulated before an optimiser step.

    Args:
        base_lr: the full learning rate.
        epochs: number of epochs of the training.
        iterations_per_epoch: iterations in an epoch.
        decay: how far the line falls.
        warmup: the values at iteration 0.
        momentum: momentum after the warm-up.
        accumulation_steps: iterations whose gradients are accumulated after the warm-up, before rounding.

    Attributes:
        warmup_iterations: number of the last iteration of the warm-up.
    """

    def __init__(
        self,
        *,
        base_lr: float,
        epochs: int,
        iterations_per_epoch: int,
        decay: LinearDecay,
        warmup: GroupWarmup,
        momentum: float,
        accumulation_steps: float,
    ) -> None:
        self.base_lr = base_lr
        self.epochs = epochs
        self.iterations_per_epoch = iterations_per_epoch
        self.decay = decay
        self.warmup = warmup
        self.full_momentum = momentum
        self.accumulation_steps = accumulation_steps
        self.warmup_iterations = max(round(warmup.epochs * iterations_per_epoch), warmup.min_iterations)
        self._warmup_steps = self._optimizer_steps_of_warmup()
        self._last_warmup_step = max(self._warmup_steps)

    def __call__(self, iteration: int) -> float:
        """The learning rate of all parameters that are not biases; 0 at iteration 0."""
        return self._lr(iteration, 0.0)

    def bias_lr(self, iteration: int) -> float:
        """The learning rate of biases; `warmup.bias_lr` at iteration 0."""
        return self._lr(iteration, self.warmup.bias_lr)

    def momentum(self, iteration: int) -> float:
        """The momentum; `warmup.momentum` at iteration 0."""
        return self._interpolated(iteration, self.warmup.momentum, self.full_momentum)

    def is_optimizer_step(self, iteration: int) -> bool:
        """Whether enough iterations have gone by since the last optimiser step."""
        if iteration <= self.warmup_iterations:
            return iteration in self._warmup_steps
        return (iteration - self._last_warmup_step) % max(round(self.accumulation_steps), 1) == 0

    def _lr(self, iteration: int, start: float) -> float:
        epoch = iteration // self.iterations_per_epoch
        if iteration <= self.warmup_iterations:
            return self._interpolated(iteration, start, self._line(epoch))
        return self._line(epoch - self.decay.epoch_offset)

    def _line(self, epoch: int) -> float:
        return self.base_lr * ((1 - epoch / self.epochs) * (1.0 - self.decay.final) + self.decay.final)

    def _interpolated(self, iteration: int, start: float, end: float) -> float:
        return float(np.interp(iteration, [0, self.warmup_iterations], [start, end]))

    def _optimizer_steps_of_warmup(self) -> frozenset[int]:
        """The iterations of the warm-up that end with an optimiser step."""
        steps, last = set(), -1
        for iteration in range(self.warmup_iterations + 1):
            if iteration - last >= max(round(self._interpolated(iteration, 1, self.accumulation_steps)), 1):
                steps.add(iteration)
                last = iteration
        return frozenset(steps)


def build_lr_schedule(
    schedule: Schedule, batch_size: int, iterations_per_epoch: int, *, scale_lr: bool = True
) -> LRSchedule:
    """The learning-rate schedule of a recipe at a batch size.

    Args:
        schedule: the recipe.
        batch_size: images a step.
        iterations_per_epoch: steps in an epoch.
        scale_lr: whether the learning rate follows the batch size, where the recipe does not accumulate gradients
            instead.
    """
    optimizer, accumulate_to = schedule.optimizer, schedule.accumulate_to
    base_lr = optimizer.lr
    if scale_lr and accumulate_to is None:
        base_lr = scaled_lr(base_lr, batch_size, schedule.batch_size)
    warmup, decay, epochs = schedule.warmup, schedule.decay, schedule.epochs
    if isinstance(warmup, Warmup) and warmup.kind == "chained" and epochs is not None:
        return ChainedLR(
            base_lr=base_lr,
            epochs=epochs,
            iterations_per_epoch=iterations_per_epoch,
            warmup=warmup,
            milestones=schedule.milestones,
            cosine=decay == "cosine",
        )
    if isinstance(warmup, GroupWarmup) and isinstance(decay, LinearDecay) and epochs is not None:
        return LinearLR(
            base_lr=base_lr,
            epochs=epochs,
            iterations_per_epoch=iterations_per_epoch,
            decay=decay,
            warmup=warmup,
            momentum=optimizer.momentum,
            accumulation_steps=1 if accumulate_to is None else accumulate_to / batch_size,
        )
    return MultiStepLR(
        base_lr=base_lr,
        milestones=[m if epochs is None else m * iterations_per_epoch for m in schedule.milestones],
        iterations_per_epoch=iterations_per_epoch,
        drops=schedule.drops,
        warmup=None if isinstance(warmup, GroupWarmup) else warmup,
    )


def scaled_lr(lr: float, batch_size: int, recipe_batch_size: int) -> float:
    """A recipe's learning rate at another batch size: in proportion (Goyal et al., 2017, arXiv 1706.02677).

    Args:
        lr: the recipe's learning rate.
        batch_size: images a step.
        recipe_batch_size: images a step of the recipe; at this size the rate stays what it is, to the last bit.
    """
    return lr if batch_size == recipe_batch_size else lr * batch_size / recipe_batch_size


def scaled_weight_decay(weight_decay: float, batch_size: int, accumulate_to: int) -> float:
    """A recipe's weight decay for the images that are accumulated for an optimiser step, in proportion (Ultralytics).

    Args:
        weight_decay: the recipe's weight decay.
        batch_size: images a step.
        accumulate_to: images that the recipe accumulates.
    """
    accumulation_steps = max(round(accumulate_to / batch_size), 1)
    return weight_decay * batch_size * accumulation_steps / accumulate_to
