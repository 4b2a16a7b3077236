"""The training loop: parts of a step forward and backward, one optimiser step, a line in metrics.csv.

Everything a step does follows from the seed and the number of the step: which images, which views
of them, what the model draws. A training that was killed and goes on from a checkpoint therefore
repeats the very steps it lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from zoo.errors import UsageError, ZooError
from zoo.models.detectors.base import Detector
from zoo.run.evaluate import autocast
from zoo.runtime.distributed import Processes, unsynchronised
from zoo.train.metrics_log import MetricsLog
from zoo.train.optimizers import WeightAverage
from zoo.train.schedule import RateCurve
from zoo.train.state import Checkpoints
from zoo.types import Sample, Target

Part: TypeAlias = Sequence[tuple[Sample, Target]]
"""Images that go through the network together, with what is to be found in them."""


class Batches(Protocol):
    """The parts of the steps from `start` up to `stop`, of this process."""

    def __call__(self, start: int, stop: int) -> Iterator[Sequence[Part]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a training is to do.

    Attributes:
        steps: optimiser steps in all.
        parts: of a step, over all processes.
        seed: of everything random.
        precision: of convolutions and matrix products: "fp32", "fp16" or "bf16".
        loss_scale: fixed, of fp16; None follows the gradients.
        clip: largest L2 norm of all gradients together; None clips nothing.
        gradients: of a step: the "mean" over its parts, or the "sum" over its images, each with its part's losses.
        checkpoint_every: steps.
        evaluate_every: epochs; None evaluates only where the caller does.
        identity: what a checkpoint must agree in with the training that goes on from it, by name.
        begun_with: the weights before the first step, in words that go into a checkpoint.
    """

    steps: int
    parts: int
    seed: int
    precision: str = "fp32"
    loss_scale: float | None = None
    clip: float | None = None
    gradients: str = "mean"
    checkpoint_every: int = 1000
    evaluate_every: int | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)
    begun_with: Any = None


class Trainer:
    """Trains a detector, and can go on where another process was killed (`restore`).

    Args:
        detector: on its device.
        optimizer: of its parameters.
        rate: the learning rate at each step.
        plan: what to do.
        folder: of metrics.csv and the checkpoints.
        average: moving average of the weights.
        processes: that train together.

    Attributes:
        done: steps so far.
        begun_with: the plan's, or that of the training that is gone on with.
    """

    def __init__(
        self,
        detector: Detector,
        optimizer: torch.optim.Optimizer,
        rate: RateCurve,
        plan: Plan,
        folder: Path,
        *,
        average: WeightAverage | None = None,
        processes: Processes = Processes(),  # noqa: B008 - immutable
    ) -> None:
        self.detector = detector
        self.optimizer = optimizer
        self.rate = rate
        self.plan = plan
        self.average = average
        self.processes = processes
        self.device = detector.device
        self.network = processes.wrap(detector, self.device)
        self.scaler = torch.amp.GradScaler(
            self.device.type, init_scale=plan.loss_scale or 2.0**16, enabled=plan.precision == "fp16"
        )
        self.metrics_path = folder / "metrics.csv"
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.done = 0
        self.begun_with = plan.begun_with
        self._kept: int | None = None  # bytes of metrics.csv, where a checkpoint tells them

    def run(self, batches: Batches, *, evaluate: Callable[[int], None] | None = None) -> None:
        """Train up to the last step of the plan; a checkpoint holds the end too.

        Args:
            batches: of this process.
            evaluate: called with the number of finished epochs every `plan.evaluate_every` of them, in
                every process, while the detector is in eval mode and holds the averaged weights, the
                same in all of them.

        Raises:
            UsageError: the folder holds a training that was not restored.
            ZooError: a loss is not a finite number, or the disk refuses.
        """
        size = self._begin() if self._kept is None else self._kept
        log = MetricsLog(self.metrics_path, size) if self.processes.first else None
        self.detector.train()
        with log or nullcontext(), self._progress() as progress:
            for parts in batches(self.done, self.plan.steps):
                rate = self.rate(self.done)
                losses = self._step(parts, rate)
                self._log(log, progress, rate, losses)
                self.done += 1
                if evaluate is not None:
                    self._evaluate(evaluate)
                if log is not None and (self.done % self.plan.checkpoint_every == 0 or self.done == self.plan.steps):
                    self._save(log)

    def restore(self) -> None:
        """Go back to the newest checkpoint of the folder, where there is one.

        Raises:
            UsageError: the folder holds another training.
            ZooError: none of its checkpoints can be read.
        """
        state = self.checkpoints.newest()
        if state is None:
            return
        for name, wanted in self.plan.identity.items():
            had = state["identity"].get(name)
            if had != wanted:
                message = f"{self.checkpoints.folder} is of another training: {name} was {had!r}, now is {wanted!r}"
                raise UsageError(message, next_step="ask for the same again, or train in another hydra.run.dir=DIR")
        self.detector.load_state_dict(state["model"])
        for name, parameter in self.detector.named_parameters():
            gathered = state["gradients"].get(name)
            parameter.grad = None if gathered is None else gathered.to(self.device)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.done, self.begun_with = state["step"], state["begun_with"]
        self._kept = state["metrics_bytes"]

    def rehearse(self, batches: Batches) -> None:
        """Train up to the last step of the plan, and leave nothing in the folder."""
        self.detector.train()
        for parts in batches(self.done, self.plan.steps):
            self._step(parts, self.rate(self.done))
            self.done += 1

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The detector with the averaged weights, where there is an average; with its own again afterwards."""
        if self.average is None:
            yield
            return
        own = {name: tensor.clone() for name, tensor in self.detector.state_dict().items()}
        self.detector.load_state_dict(self.average.tensors)
        try:
            yield
        finally:
            self.detector.load_state_dict(own)

    def _step(self, parts: Sequence[Part], rate: float) -> dict[str, float]:
        """One step. Returns the mean of each loss over the parts of all processes, and their sum, `loss`."""
        self._set_rates(rate)
        if not self._gathering:
            self.optimizer.zero_grad(set_to_none=True)
        rows: list[list[float]] = []
        names: tuple[str, ...] = ()
        for i, part in enumerate(parts):
            with nullcontext() if i + 1 == len(parts) else unsynchronised(self.network):
                names, values = self._backward(part, i, len(parts))
                rows.append(values)
        if self.rate.moves(self.done):
            self._move()
        table = self.processes.gather(rows, self.device)
        means = (math.fsum(column) / len(table) for column in zip(*table, strict=True))
        return dict(zip(("loss", *names), means, strict=True))

    @property
    def _gathering(self) -> bool:
        """Whether the weights have not moved since the last gradients were taken."""
        return self.done > 0 and not self.rate.moves(self.done - 1)

    def _set_rates(self, rate: float) -> None:
        momentum = self.rate.momentum(self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate.of_biases(self.done) if group["biases"] else rate
            if momentum is not None and "momentum" in group:
                group["momentum"] = momentum

    def _move(self) -> None:
        """One optimiser step with the gradients that have gathered."""
        self.scaler.unscale_(self.optimizer)
        if self.plan.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.detector.parameters(), self.plan.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update(None if self.plan.loss_scale is None else float(self.plan.loss_scale))
        if self.average is not None:
            self.average.update(self.detector)

    def _backward(self, part: Part, index: int, parts: int) -> tuple[tuple[str, ...], list[float]]:
        """Forward and backward of one part. Returns the names of the losses; their sum, and each."""
        torch.manual_seed(self._part_seed(index))
        samples, targets = [sample for sample, _ in part], [target for _, target in part]
        with autocast(self.device, self.plan.precision):
            losses: dict[str, Tensor] = self.network(samples, targets)
        loss = torch.stack(list(losses.values())).sum()
        values: list[float] = torch.stack((loss, *losses.values())).tolist()
        if not all(map(math.isfinite, values)):
            raise self._not_finite(", ".join(f"{n} {v:g}" for n, v in zip(losses, values[1:], strict=True)))
        summed = loss * len(part) * self.processes.count  # between processes gradients are averaged
        weighted = loss / parts if self.plan.gradients == "mean" else summed
        torch.autograd.backward(self.scaler.scale(weighted))
        return tuple(losses), values

    def _part_seed(self, index: int) -> int:
        """The seed of what the model draws for a part: the same whichever process takes it."""
        part = self.done * self.plan.parts + index * self.processes.count + self.processes.rank
        return int(np.random.SeedSequence((self.plan.seed, part)).generate_state(1, np.uint64)[0] >> 1)

    def _log(self, log: MetricsLog | None, progress: tqdm[NoReturn], rate: float, losses: dict[str, float]) -> None:
        epoch = self.done // self.rate.iterations_per_epoch
        if log is not None:
            named = {name: value for name, value in losses.items() if name != "loss"}
            log.write(self.done, epoch, rate, losses["loss"], named)
        progress.set_postfix(epoch=epoch, loss=f"{losses['loss']:.4f}", lr=f"{rate:.3g}", refresh=False)
        progress.update()

    def _progress(self) -> tqdm[NoReturn]:
        hidden = None if self.processes.first else True
        return tqdm(total=self.plan.steps, initial=self.done, desc="train", unit="step", disable=hidden)

    def _evaluate(self, evaluate: Callable[[int], None]) -> None:
        epochs, within = divmod(self.done, self.rate.iterations_per_epoch)
        every = self.plan.evaluate_every
        if every is None or within or epochs % every:
            return
        with self.averaged():
            self.processes.unify(self.detector)
            self.detector.eval()
            evaluate(epochs)
        self.detector.train()

    def _begin(self) -> int:
        """Bytes to keep of metrics.csv: none, unless a training would be lost that way."""
        if self.checkpoints.paths():
            message = f"{self.checkpoints.folder} holds the checkpoints of a training"
            raise UsageError(
                message, next_step="go on with it by run.resume=true, or begin another in another hydra.run.dir=DIR"
            )
        return 0

    def _save(self, log: MetricsLog) -> None:
        if not all(bool(tensor.isfinite().all()) for tensor in self.detector.state_dict().values()):
            raise self._not_finite("a weight is not a finite number")
        self.checkpoints.write(
            self.done,
            {
                "step": self.done,
                "identity": dict(self.plan.identity),
                "begun_with": self.begun_with,
                "model": self.detector.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "gradients": self._gathered(),
                "scaler": self.scaler.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "metrics_bytes": log.sync(),
            },
        )

    def _gathered(self) -> dict[str, Tensor]:
        """The gradients that wait for the weights to move; by the name of their parameter."""
        if not self._gathering:
            return {}
        return {name: p.grad for name, p in self.detector.named_parameters() if p.grad is not None}

    def _not_finite(self, what: str) -> ZooError:
        kept = self.checkpoints.paths()
        epoch = self.done // self.rate.iterations_per_epoch
        message = f"training diverged at step {self.done} (epoch {epoch}): {what}"
        lower = "lower schedule.optimizer.lr, lengthen the warm-up, or train in precision=fp32"
        where = f"; the last good state is {kept[-1]}" if kept else ""
        return ZooError(message + where, next_step=lower)
