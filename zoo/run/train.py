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
from zoo.run.distributed import Processes, unsynchronised
from zoo.run.evaluate import autocast
from zoo.run.metrics_log import MetricsLog
from zoo.run.optimizers import WeightAverage
from zoo.run.schedule import LearningRate
from zoo.run.state import Checkpoints
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
        clip: largest L2 norm of all gradients together; None clips nothing.
        checkpoint_every: steps.
        evaluate_every: epochs; None evaluates only where the caller does.
        identity: what a checkpoint must agree in with the training that goes on from it, by name.
    """

    steps: int
    parts: int
    seed: int
    precision: str = "fp32"
    clip: float | None = None
    checkpoint_every: int = 1000
    evaluate_every: int | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)


class Trainer:
    """Trains a detector, and can go on where another process was killed.

    Args:
        detector: on its device.
        optimizer: of its parameters.
        rate: the learning rate at each step.
        plan: what to do.
        folder: of metrics.csv and the checkpoints.
        average: moving average of the weights.
        processes: that train together.
    """

    def __init__(
        self,
        detector: Detector,
        optimizer: torch.optim.Optimizer,
        rate: LearningRate,
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
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=plan.precision == "fp16")
        self.metrics_path = folder / "metrics.csv"
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.done = 0

    def run(self, batches: Batches, *, resume: bool = False, evaluate: Callable[[int], None] | None = None) -> None:
        """Train up to the last step of the plan; a checkpoint holds the end too.

        Args:
            batches: of this process.
            resume: go on from the newest checkpoint of the folder; from the beginning where there is none.
            evaluate: called with the number of finished epochs every `plan.evaluate_every` of them, in
                the first process, while the detector is in eval mode and holds the averaged weights.

        Raises:
            UsageError: the folder holds another training.
            ZooError: a loss is not a finite number, or the disk refuses.
        """
        size = self._restore() if resume else self._begin()
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
        """One optimiser step. Returns the mean of each loss over the parts of all processes, and their sum, `loss`."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        rows: list[list[float]] = []
        names: tuple[str, ...] = ()
        for i, part in enumerate(parts):
            with nullcontext() if i + 1 == len(parts) else unsynchronised(self.network):
                names, values = self._backward(part, i, len(parts))
                rows.append(values)
        self.scaler.unscale_(self.optimizer)
        if self.plan.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.detector.parameters(), self.plan.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.average is not None:
            self.average.update(self.detector)
        table = self.processes.gather(rows, self.device)
        means = (math.fsum(column) / len(table) for column in zip(*table, strict=True))
        return dict(zip(("loss", *names), means, strict=True))

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
        torch.autograd.backward(self.scaler.scale(loss / parts))
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
        if every is None or within or epochs % every or not self.processes.first:
            return
        with self.averaged():
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
                "model": self.detector.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "metrics_bytes": log.sync(),
            },
        )

    def _restore(self) -> int:
        """Go back to the newest checkpoint; returns the bytes to keep of metrics.csv."""
        state = self.checkpoints.newest()
        if state is None:
            return 0
        for name, wanted in self.plan.identity.items():
            had = state["identity"].get(name)
            if had != wanted:
                message = f"{self.checkpoints.folder} is of another training: {name} was {had!r}, now is {wanted!r}"
                raise UsageError(message, next_step="ask for the same again, or train in another hydra.run.dir=DIR")
        self.detector.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.done = state["step"]
        return int(state["metrics_bytes"])

    def _not_finite(self, what: str) -> ZooError:
        kept = self.checkpoints.paths()
        epoch = self.done // self.rate.iterations_per_epoch
        message = f"training diverged at step {self.done} (epoch {epoch}): {what}"
        lower = "lower schedule.optimizer.lr, lengthen the warm-up, or train in precision=fp32"
        where = f"; the last good state is {kept[-1]}" if kept else ""
        return ZooError(message + where, next_step=lower)
