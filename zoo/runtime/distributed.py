"""Several processes that train or evaluate one model: `torchrun --nproc_per_node=N -m zoo.bench ...`.

Every process takes every N-th part of each step. A part is a forward pass with losses of its own,
whoever computes it: N processes take the same passes over the same images, with the same random
draws, as one process that takes the parts one after another. Both average the gradients of the
parts, which is what the original frameworks do over their GPUs. The losses are therefore equal to
the last bit at the first step, and stay so as far as the sum of the gradients does not depend on
its order; only running statistics of batch normalisations that are trained differ, because each
process sees its own parts (those of the first process are kept).

In evaluation every process takes every N-th batch, each image once; the first process gets all
detections in the order of the images, the very ones that a process alone would have.
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

from zoo.errors import ZooError

PATIENCE = timedelta(hours=3)
"""How long processes wait for each other: the first writes files and computes AP alone."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of this run, seen from one of them.

    Attributes:
        rank: of this one, from 0; the first one writes files.
        count: of all.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def wrap(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model, averaging its gradients over the processes where there are several."""
        if self.count == 1:
            return model
        devices = [device.index] if device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices)

    def gather(self, rows: Sequence[Sequence[float]], device: torch.device) -> list[list[float]]:
        """The numbers of every part, in the order of the parts.

        Args:
            rows: of this process's own parts; as many in every process.
            device: the numbers travel on.
        """
        own = torch.tensor(rows, dtype=torch.float64, device=device)
        if self.count == 1:
            gathered = [own]
        else:
            gathered = [torch.empty_like(own) for _ in range(self.count)]
            dist.all_gather(gathered, own)
        table: list[list[float]] = torch.stack(gathered, dim=1).flatten(0, 1).tolist()
        return table

    def in_order(self, own: Sequence[T] | ZooError) -> list[T]:
        """What was dealt out to the processes one by one, put together in the order before; empty but in the first.

        Args:
            own: of this process: item `rank`, `rank + count`, ...; or why there is none.

        Raises:
            ZooError: the first that any process gives; in that one, and in the first.
        """
        shares: list[Sequence[T] | ZooError | None] = [own]
        if self.count > 1:
            shares = [None] * self.count
            dist.gather_object(own, shares if self.first else None, dst=0)
        for share in (*shares, own):
            if isinstance(share, ZooError):
                raise share
        given = [cast("Sequence[T]", share) for share in shares if share is not None]  # none but in the first
        rounds = range(max(map(len, given), default=0))
        return [share[i] for i in rounds for share in given if i < len(share)]

    def unify(self, model: nn.Module) -> None:
        """Give every process the weights and statistics of the first."""
        if self.count > 1:
            for tensor in model.state_dict().values():
                dist.broadcast(tensor, src=0)

    def agree(self, path: Path) -> Path:
        """The first process's path, in all of them: folders named after the second they were made in may differ."""
        if self.count == 1:
            return path
        said = [str(path)]
        dist.broadcast_object_list(said, src=0)
        return Path(said[0])


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """The processes that torchrun started together with this one; this one alone where it did not.

    Args:
        device: of this process; decides how their tensors travel (NCCL on GPUs, Gloo on CPUs).
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)  # what NCCL takes for its own
    dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Processes(dist.get_rank(), count)
    finally:
        dist.destroy_process_group()


def first_process() -> bool:
    """Whether this process is the one that reports and writes files; true where it is alone."""
    return os.environ.get("RANK", "0") == "0"


def local_device(device: torch.device) -> torch.device:
    """The device of this process: of several GPUs of a machine, the one with its number."""
    local = os.environ.get("LOCAL_RANK")
    return torch.device("cuda", int(local)) if device.type == "cuda" and local is not None else device


def unsynchronised(model: nn.Module) -> AbstractContextManager[None]:
    """The context of every backward pass of a step but the last: gradients add up without being exchanged."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()
