"""Several processes that train or evaluate one model: `torchrun --nproc_per_node=N -m zoo.bench ...`.

Every process takes every N-th micro-batch of each step. A micro-batch is a forward pass with losses of
its own, whoever computes it: N processes take the same passes over the same images, with the same random
draws, as one process that takes them one after another. Both average the gradients of the micro-batches,
which is what the original frameworks do over their GPUs. The losses are therefore equal to the last bit at
the first step, and stay so as far as the sum of the gradients does not depend on its order; only running
statistics of batch normalisations that are trained differ, because each process sees its own micro-batches
(those of the main process are kept), unless they are taken over all processes.

In evaluation every process takes every N-th batch, each image once; the main process gets all detections in
the order of the images, the very ones that a process alone would have.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from zoo.errors import UsageError, ZooError

TIMEOUT = timedelta(hours=3)
"""How long processes wait for each other: the main one writes files and computes AP alone."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: number of this process, from 0.
        world_size: number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that reports and writes files."""
        return self.rank == 0

    def wrap(self, model: nn.Module, device: torch.device, *, sync_bn: bool = False) -> nn.Module:
        """The model; where there are several processes, it averages its gradients over them.

        Args:
            model: the model, on its device.
            device: the device.
            sync_bn: whether its batch normalisations take their statistics over all processes.

        Raises:
            UsageError: they are to do that without GPUs, which torch cannot.
        """
        if self.world_size == 1:
            return model
        if sync_bn and device.type != "cuda":
            message = "the recipe takes the statistics of batch normalisation over all processes, which needs GPUs"
            raise UsageError(message, next_step="train in one process, or leave it out with schedule.sync_bn=false")
        if sync_bn:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        devices = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices)

    def gather(self, rows: Sequence[Sequence[float]], device: torch.device) -> list[list[float]]:
        """The numbers of all micro-batches of a step, in their order, in every process.

        Args:
            rows: those of this process's own micro-batches; every process has as many.
            device: the device that the numbers travel on.
        """
        own = torch.tensor(rows, dtype=torch.float64, device=device)
        if self.world_size == 1:
            gathered = [own]
        else:
            gathered = [torch.empty_like(own) for _ in range(self.world_size)]
            dist.all_gather(gathered, own)
        table: list[list[float]] = torch.stack(gathered, dim=1).flatten(0, 1).tolist()
        return table

    def gather_in_order(self, own: Sequence[T] | ZooError) -> list[T]:
        """Items that were dealt out to the processes one by one, in their order before; empty but in the main one.

        Args:
            own: items `rank`, `rank + world_size`, ... of this process; or the error that it met instead.

        Raises:
            ZooError: the first that any process met; in that process, and in the main one.
        """
        shares: list[Sequence[T] | ZooError | None] = [own]
        if self.world_size > 1:
            shares = [None] * self.world_size
            dist.gather_object(own, shares if self.is_main else None, dst=0)
        for share in (*shares, own):
            if isinstance(share, ZooError):
                raise share
        given = [cast("Sequence[T]", share) for share in shares if share is not None]  # none but in the main process
        rounds = range(max(map(len, given), default=0))
        return [share[i] for i in rounds for share in given if i < len(share)]

    def broadcast_model(self, model: nn.Module) -> None:
        """Copy the weights and statistics of the main process's model into every other process's."""
        if self.world_size > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, src=0)

    def broadcast_path(self, path: Path) -> Path:
        """The main process's path, in every process: folders named after the second of their making may differ."""
        if self.world_size == 1:
            return path
        paths = [str(path)]
        dist.broadcast_object_list(paths, src=0)
        return Path(paths[0])


@contextmanager
def init_distributed(device: torch.device) -> Iterator[DistributedContext]:
    """Join the processes that torchrun started together with this one; alone where it did not.

    Args:
        device: the device of this process; decides how tensors travel (NCCL on GPUs, Gloo on CPUs).
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield DistributedContext()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # what NCCL takes for its own
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield DistributedContext(dist.get_rank(), world_size)
    finally:
        dist.destroy_process_group()


def is_main_process() -> bool:
    """Whether this process is the one that reports and writes files, as torchrun's environment has it."""
    return os.environ.get("RANK", "0") == "0"


def processes_on_this_machine() -> int:
    """How many processes of the run share this machine, as torchrun's environment has it."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def local_device(device: torch.device) -> torch.device:
    """The device of this process: of several GPUs of a machine, the one with its local rank."""
    local = os.environ.get("LOCAL_RANK")
    return torch.device("cuda", int(local)) if device.type == "cuda" and local is not None else device


def no_sync(model: nn.Module) -> AbstractContextManager[None]:
    """The context of every backward pass of a step but the last: gradients add up without being exchanged."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
