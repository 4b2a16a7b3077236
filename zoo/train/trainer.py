"""The training loop: micro-batches of a step forward and backward, one optimiser step, a line in metrics.csv.

Everything a step does follows from the seed and the number of the step: which images, which views
of them, what the model draws. A training that was killed and goes on from a checkpoint therefore
repeats the very steps it lost.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor

from zoo.checkpoints.contents import CLASSES
from zoo.errors import UsageError, ZooError
from zoo.models.detectors.base import Detector
from zoo.run.non_finite import refusing_non_finite
from zoo.run.precision import autocast
from zoo.runtime.distributed import DistributedContext, no_sync
from zoo.runtime.progress import Progress
from zoo.runtime.seeding import seed_micro_batch
from zoo.train.config import TrainConfig
from zoo.train.metrics_log import MetricsLog
from zoo.train.optimizers import ModelEma
from zoo.train.rates import LRSchedule
from zoo.train.state import CHECKPOINTS, Checkpoints, refuse_other_training, versioned
from zoo.types import Sample, Target

MicroBatch: TypeAlias = Sequence[tuple[Sample, Target]]
"""The images of one forward pass, each with its targets."""


class StepLoader(Protocol):
    """The micro-batches of the steps from `start` up to `stop`: of each step those of this process."""

    def __call__(self, start: int, stop: int) -> Iterator[Sequence[MicroBatch]]: ...


class Trainer:
    """Trains a detector, and can go on where another process was killed (`restore`).

    Args:
        detector: the detector, on its device.
        optimizer: the optimiser of its parameters.
        lr_schedule: what the optimiser is set to at each step.
        config: the training.
        steps: number of steps.
        micro_batches: micro-batches of a step, over all processes.
        init_from: description of the initial weights.
        ema: the moving average of the weights; None keeps none.
        context: the processes that train together.

    Attributes:
        step: steps done so far, which is the number of the step that comes next.
        init_from: description of the weights before step 0: the argument, or that of the training that is resumed.
    """

    def __init__(
        self,
        detector: Detector,
        optimizer: torch.optim.Optimizer,
        lr_schedule: LRSchedule,
        config: TrainConfig,
        *,
        steps: int,
        micro_batches: int,
        init_from: str | Mapping[str, Any],
        ema: ModelEma | None = None,
        context: DistributedContext = DistributedContext(),  # noqa: B008 - immutable
    ) -> None:
        self.detector = detector
        self.optimizer = optimizer
        self.lr_schedule = lr_schedule
        self.config = config
        self.steps = steps
        self.micro_batches = micro_batches
        self.init_from = init_from
        self.ema = ema
        self.context = context
        self.device = detector.device
        recipe = config.recipe
        self.network = context.wrap(detector, self.device, sync_bn=recipe.schedule.sync_bn)
        self.scaler = torch.amp.GradScaler(
            self.device.type, init_scale=recipe.loss_scale or 2.0**16, enabled=recipe.precision == "fp16"
        )
        self.metrics_path = config.run_dir / "metrics.csv"
        self.checkpoints = Checkpoints(config.run_dir / CHECKPOINTS)
        self.step = 0
        self._lr_mults: list[float] = [group["lr_mult"] for group in optimizer.param_groups]
        self._metrics_bytes: int | None = None  # length of metrics.csv in the checkpoint that was restored

    def run(self, loader: StepLoader, *, evaluate: Callable[[int], None] | None = None) -> None:
        """Train up to the last step; a checkpoint holds the end too.

        Args:
            loader: the micro-batches of this process.
            evaluate: called with the number of finished epochs every `config.evaluate_every` of them, in
                every process, while the detector is in eval mode and holds the averaged weights, the
                same in all of them.

        Raises:
            UsageError: the folder holds a training that was not restored.
            ZooError: a loss is not a finite number, or the disk refuses.
        """
        if self._metrics_bytes is None:
            self._refuse_used_folder()
        log = MetricsLog(self.metrics_path, self._metrics_bytes or 0) if self.context.is_main else None
        every = self.config.checkpoint_every
        self.detector.train()
        with log or nullcontext(), self._progress() as progress:
            for micro_batches in loader(self.step, self.steps):
                lr = self.lr_schedule(self.step)
                with self._cudnn_benchmark():
                    losses = self._train_step(micro_batches, lr)
                self._log(log, progress, lr, losses)
                self.step += 1
                if evaluate is not None:
                    self._evaluate(evaluate)
                if log is not None and (self.step % every == 0 or self.step == self.steps):
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
        refuse_other_training(state["identity"], self.config.identity, self.checkpoints.folder)
        self.detector.load_state_dict(state["model"])
        for name, parameter in self.detector.named_parameters():
            gradient = state["gradients"].get(name)
            parameter.grad = None if gradient is None else gradient.to(self.device)
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.step, self.init_from = state["step"], state["init_from"]
        self._metrics_bytes = state["metrics_bytes"]

    def profile_steps(self, loader: StepLoader) -> None:
        """Train up to the last step, and leave nothing in the folder."""
        self.detector.train()
        for micro_batches in loader(self.step, self.steps):
            with self._cudnn_benchmark():
                self._train_step(micro_batches, self.lr_schedule(self.step))
            self.step += 1

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The detector with the averaged weights, where there is an average; with its own again afterwards."""
        if self.ema is None:
            yield
            return
        own = {name: tensor.clone() for name, tensor in self.detector.state_dict().items()}
        self.detector.load_state_dict(self.ema.tensors)
        try:
            yield
        finally:
            self.detector.load_state_dict(own)

    def _train_step(self, micro_batches: Sequence[MicroBatch], lr: float) -> dict[str, float]:
        """One step. Returns the mean of each loss over the micro-batches of all processes, and their sum, `loss`."""
        self._set_lr(lr)
        if not self._accumulating:
            self.optimizer.zero_grad(set_to_none=True)
        values: list[Tensor] = []
        names: tuple[str, ...] = ()
        for i, micro_batch in enumerate(micro_batches):
            with nullcontext() if i + 1 == len(micro_batches) else no_sync(self.network):
                names, losses = self._backward(micro_batch, i, len(micro_batches))
                values.append(losses)
        # Read only now, once a step: the host has to wait for the whole of the backward pass, and nothing comes before.
        rows: list[list[float]] = torch.stack(values).tolist()
        self._refuse_diverged(names, rows)
        if self.lr_schedule.is_optimizer_step(self.step):
            self._optimizer_step()
        table = self.context.gather(rows, self.device)
        means = (math.fsum(column) / len(table) for column in zip(*table, strict=True))
        return dict(zip(("loss", *names), means, strict=True))

    @contextmanager
    def _cudnn_benchmark(self) -> Iterator[None]:
        """cuDNN's choice of algorithms as the recipe has it; not beyond a step, for an evaluation has other shapes."""
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = before or self.config.recipe.schedule.cudnn_benchmark
        try:
            yield
        finally:
            torch.backends.cudnn.benchmark = before

    @property
    def _accumulating(self) -> bool:
        """Whether the gradients of the step before were kept for a later optimiser step."""
        return self.step > 0 and not self.lr_schedule.is_optimizer_step(self.step - 1)

    def _set_lr(self, lr: float) -> None:
        momentum = self.lr_schedule.momentum(self.step)
        for group, lr_mult in zip(self.optimizer.param_groups, self._lr_mults, strict=True):
            group["lr"] = lr_mult * (self.lr_schedule.bias_lr(self.step) if group["biases"] else lr)
            if momentum is not None and "momentum" in group:
                group["momentum"] = momentum

    def _optimizer_step(self) -> None:
        """One optimiser step with the accumulated gradients."""
        clip, loss_scale = self.config.recipe.schedule.clip, self.config.recipe.loss_scale
        if clip is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.detector.parameters(), clip)
        self.scaler.step(self.optimizer)
        self.scaler.update(None if loss_scale is None else float(loss_scale))
        if self.ema is not None:
            self.ema.update(self.detector)

    def _backward(self, micro_batch: MicroBatch, index: int, count: int) -> tuple[tuple[str, ...], Tensor]:
        """Forward and backward of micro-batch `index` of the `count` of this process in a step.

        Returns:
            The names of the losses; their sum, and each, on the device.
        """
        # The number of the micro-batch over all steps and processes.
        number = self.step * self.micro_batches + index * self.context.world_size + self.context.rank
        seed_micro_batch(self.config.seed, number)
        samples, targets = [sample for sample, _ in micro_batch], [target for _, target in micro_batch]
        try:
            with autocast(self.device, self.config.recipe.precision):
                losses: dict[str, Tensor] = self.network(samples, targets)
        except (IndexError, RuntimeError):
            self._refuse_non_finite(samples, targets)
            raise
        loss = torch.stack(list(losses.values())).sum()
        # Between processes gradients are averaged.
        summed = loss * len(micro_batch) * self.context.world_size
        weighted = loss / count if self.config.recipe.schedule.gradients == "mean" else summed
        torch.autograd.backward(self.scaler.scale(weighted))
        return tuple(losses), torch.stack((loss, *losses.values())).detach()

    def _refuse_diverged(self, names: Sequence[str], rows: Sequence[Sequence[float]]) -> None:
        """Raise ZooError where a loss of a step is no number, before its gradients reach the weights."""
        for row in rows:
            if not all(map(math.isfinite, row)):
                raise self._not_finite(", ".join(f"{n} {v:g}" for n, v in zip(names, row[1:], strict=True)))

    def _log(self, log: MetricsLog | None, progress: Progress, lr: float, losses: dict[str, float]) -> None:
        epoch = self.step // self.lr_schedule.iterations_per_epoch
        if log is not None:
            named = {name: value for name, value in losses.items() if name != "loss"}
            log.write(self.step, epoch, lr, losses["loss"], named)
        progress.set_postfix(epoch=epoch, loss=f"{losses['loss']:.4f}", lr=f"{lr:.3g}", refresh=False)
        progress.update()

    def _progress(self) -> Progress:
        return Progress("train", total=self.steps, done=self.step, unit="step", hidden=not self.context.is_main)

    def _evaluate(self, evaluate: Callable[[int], None]) -> None:
        epochs, within = divmod(self.step, self.lr_schedule.iterations_per_epoch)
        every = self.config.evaluate_every
        if every is None or within or epochs % every:
            return
        with self.averaged():
            self.context.broadcast_model(self.detector)
            self.detector.eval()
            evaluate(epochs)
        self.detector.train()

    def _refuse_used_folder(self) -> None:
        """Raise UsageError where a training that was not restored would be lost."""
        if self.checkpoints.paths():
            message = f"{self.checkpoints.folder} holds the checkpoints of a training"
            raise UsageError(
                message, next_step="go on with it by run.resume=true, or begin another in another hydra.run.dir=DIR"
            )

    def _save(self, log: MetricsLog) -> None:
        if not all(bool(tensor.isfinite().all()) for tensor in self.detector.state_dict().values()):
            raise self._not_finite("a weight is not a finite number")
        self.checkpoints.write(
            self.step,
            {
                "step": self.step,
                "identity": versioned(self.config.identity),
                "init_from": self.init_from,
                CLASSES: list(self.detector.classes),
                "model": self.detector.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "gradients": self._accumulated_gradients(),
                "scaler": self.scaler.state_dict(),
                "ema": None if self.ema is None else self.ema.state_dict(),
                "metrics_bytes": log.sync(),
            },
        )

    def _accumulated_gradients(self) -> dict[str, Tensor]:
        """The gradients that were kept for a later optimiser step, by the name of their parameter."""
        if not self._accumulating:
            return {}
        return {name: p.grad for name, p in self.detector.named_parameters() if p.grad is not None}

    def _refuse_non_finite(self, samples: list[Sample], targets: list[Target]) -> None:
        """After a forward pass that broke: whether it broke on what is no number, such as a box of NaN.

        Raises:
            ZooError: it did; the message names the part of the network that computes it first.
        """
        precision = self.config.recipe.precision
        try:
            with torch.no_grad(), autocast(self.device, precision), refusing_non_finite(self.detector, precision):
                self.detector(samples, targets)
        except ZooError as error:
            raise self._not_finite(error.message) from None
        except (IndexError, RuntimeError):
            return

    def _not_finite(self, what: str) -> ZooError:
        kept = self.checkpoints.paths()
        epoch = self.step // self.lr_schedule.iterations_per_epoch
        message = f"training diverged at step {self.step} (epoch {epoch}): {what}"
        lower = "lower schedule.optimizer.lr, lengthen the warm-up, or train in precision=fp32"
        where = f"; the last good state is {kept[-1]}" if kept else ""
        return ZooError(message + where, next_step=lower)
