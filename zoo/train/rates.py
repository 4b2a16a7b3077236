"""Rates that fall in a straight line, after a warm-up of their own for each parameter group (Ultralytics)."""

from __future__ import annotations

import numpy as np

from zoo.train.schedule import (
    GroupWarmup,
    LearningRate,
    LinearDecay,
    RateCurve,
    Schedule,
    scaled_rate,
)


class LinearRate(RateCurve):
    """The rate of an epoch lies on a line; in the warm-up everything rises or falls to it, iteration by iteration.

    In the warm-up, whose last iteration has the number `warm`, the gradients of more and more steps are
    gathered before the weights move.

    Args:
        base: the full rate.
        epochs: of the training.
        iterations_per_epoch: steps in an epoch.
        decay: how far the line falls.
        warmup: where the rates begin.
        momentum: after the warm-up.
        gathered: steps whose gradients are gathered after the warm-up.

    Attributes:
        warm: see above.
    """

    def __init__(
        self,
        *,
        base: float,
        epochs: int,
        iterations_per_epoch: int,
        decay: LinearDecay,
        warmup: GroupWarmup,
        momentum: float,
        gathered: float,
    ) -> None:
        self.base = base
        self.epochs = epochs
        self.iterations_per_epoch = iterations_per_epoch
        self.decay = decay
        self.warmup = warmup
        self.full_momentum = momentum
        self.gathered = gathered
        self.warm = max(round(warmup.epochs * iterations_per_epoch), warmup.least)
        self._moves = self._moves_of_warmup()
        self._last_move = max(self._moves)

    def __call__(self, iteration: int) -> float:
        """The rate of all parameters that are not biases; it begins at 0."""
        return self._rate(iteration, 0.0)

    def of_biases(self, iteration: int) -> float:
        """The rate of biases; it begins where the warm-up says."""
        return self._rate(iteration, self.warmup.bias_lr)

    def momentum(self, iteration: int) -> float:
        """The momentum; it begins where the warm-up says."""
        return self._risen(iteration, self.warmup.momentum, self.full_momentum)

    def moves(self, iteration: int) -> bool:
        """Whether the weights move at the end of the iteration: where enough others have gone by since they did."""
        if iteration <= self.warm:
            return iteration in self._moves
        return (iteration - self._last_move) % max(round(self.gathered), 1) == 0

    def _rate(self, iteration: int, first: float) -> float:
        epoch = iteration // self.iterations_per_epoch
        if iteration <= self.warm:
            return self._risen(iteration, first, self._line(epoch))
        return self._line(epoch - self.decay.lag)

    def _line(self, epoch: int) -> float:
        return self.base * ((1 - epoch / self.epochs) * (1.0 - self.decay.final) + self.decay.final)

    def _risen(self, iteration: int, first: float, last: float) -> float:
        return float(np.interp(iteration, [0, self.warm], [first, last]))

    def _moves_of_warmup(self) -> frozenset[int]:
        """The iterations of the warm-up at whose end the weights move."""
        moves, last = set(), -1
        for iteration in range(self.warm + 1):
            if iteration - last >= max(round(self._risen(iteration, 1, self.gathered)), 1):
                moves.add(iteration)
                last = iteration
        return frozenset(moves)


def rate_curve(schedule: Schedule, batch_size: int, iterations_per_epoch: int, *, scaled: bool = True) -> RateCurve:
    """The rates of a recipe at a batch size.

    Args:
        schedule: the recipe.
        batch_size: images a step.
        iterations_per_epoch: steps in an epoch.
        scaled: whether the rate follows the batch size, where the recipe does not gather gradients for that.
    """
    optimizer, gathers = schedule.optimizer, schedule.accumulate_to
    base = optimizer.lr
    if scaled and gathers is None:
        base = scaled_rate(base, batch_size, schedule.batch_size)
    if isinstance(schedule.warmup, GroupWarmup) and schedule.decay is not None:
        return LinearRate(
            base=base,
            epochs=schedule.epochs,
            iterations_per_epoch=iterations_per_epoch,
            decay=schedule.decay,
            warmup=schedule.warmup,
            momentum=optimizer.momentum,
            gathered=1 if gathers is None else gathers / batch_size,
        )
    return LearningRate(
        base=base,
        milestones=schedule.milestones,
        iterations_per_epoch=iterations_per_epoch,
        warmup=None if isinstance(schedule.warmup, GroupWarmup) else schedule.warmup,
    )
