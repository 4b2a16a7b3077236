"""What graphs are made of: the recorder that captures and replays, the memory they share, and what they read.

Apart from the recorder nothing here needs a GPU.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from zoo.run.nested import tensors_in

T = TypeVar("T")

WARM_UP = 3
"""Runs before a capture: in them libraries choose their algorithms, and constants of the device are made."""

ALIGNMENT = 512
"""Bytes: where CUDA's allocator lets tensors begin, on which algorithms of convolutions depend."""


class Recorder(Protocol):
    """What records the work of a device and repeats it.

    Attributes:
        device: whose work it is.
    """

    device: torch.device

    @property
    def pool_bytes(self) -> int:
        """Device memory that what was recorded works in."""

    def forget(self) -> None:
        """Wait for what was recorded, which nobody replays any more; what comes next works in memory of its own."""

    def follow(self) -> None:
        """Have what comes next wait, on the device, for all that was asked of it since the last replay."""

    def warm_up(self, work: Callable[[], T]) -> T:
        """Do the work as often as it takes to record it; returns what it gave at last."""

    def record(self, work: Callable[[], None]) -> Callable[[], object]:
        """Record the work, which is not done; returns what does it, in the order of the stream it is called on."""


class CudaRecorder:
    """CUDA graphs that share one memory pool, as they never run at the same time.

    Args:
        device: a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._pool = torch.cuda.graph_pool_handle()
        # Warm-up and captures share a stream: a workspace of cuBLAS that was made by one serves the other.
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call] # torch's own
        self._last = torch.cuda.current_stream(device)

    @property
    def pool_bytes(self) -> int:
        """Bytes that the pool has of the driver."""
        segments = torch.cuda.memory_snapshot()  # type: ignore[no-untyped-call] # torch's own
        return sum(part["total_size"] for part in segments if tuple(part["segment_pool_id"]) == tuple(self._pool))

    def forget(self) -> None:
        """Wait for the device, and take another pool: PyTorch may refuse one again whose graphs are all gone."""
        torch.cuda.synchronize(self.device)
        self._pool = torch.cuda.graph_pool_handle()

    def follow(self) -> None:
        """Have the current stream wait for that of the last replay, where it is another: its results may be read."""
        current = torch.cuda.current_stream(self.device)
        if current != self._last:
            current.wait_stream(self._last)
            self._last = current

    def warm_up(self, work: Callable[[], T]) -> T:
        """Do the work a few times on the stream of captures, and have the current one wait for it."""
        current = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            for _ in range(WARM_UP):
                result = work()
        current.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], None]) -> Callable[[], object]:
        """Capture the work as a graph; returns what replays it on the current stream."""
        graph = torch.cuda.CUDAGraph()
        current = torch.cuda.current_stream(self.device)
        # Other threads pin memory and read clocks meanwhile, which a capture in mode "global" would not allow.
        capture = torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local")
        # A capture that fails leaves its own stream the current one.
        with torch.cuda.device(self.device), torch.cuda.stream(current), capture:
            work()
        return graph.replay


class Arena:
    """One block of memory that tensors of all graphs lie in, each graph's from its beginning.

    It grows where a graph needs more. Graphs before keep the smaller blocks, which have twice its size at most.

    Args:
        device: where it lies.

    Attributes:
        bytes: of all blocks.
    """

    def __init__(self, device: torch.device) -> None:
        self.bytes = 0
        self._block = torch.empty(0, dtype=torch.uint8, device=device)

    def like(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Tensors of the same shapes, types and memory layouts, side by side; what they hold is not set."""
        sizes = [-(-tensor.nbytes // ALIGNMENT) * ALIGNMENT for tensor in tensors]
        if sum(sizes) > len(self._block):
            self._block = self._block.new_empty(max(sum(sizes), len(self._block) * 3 // 2))
            self.bytes += len(self._block)
        found, begin = [], 0
        for tensor, size in zip(tensors, sizes, strict=True):
            strides = torch.empty_like(tensor, device="meta").stride()
            part = self._block[begin : begin + tensor.nbytes].view(tensor.dtype)
            found.append(part.as_strided(tensor.shape, strides))
            begin += size
        return found


class Reads(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's own
    """Keeps every tensor that is read within, and was not made within: weights, their casts, cached constants.

    Attributes:
        kept: these tensors.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch's own
        self._found: dict[int, Tensor] = {}
        self._made: dict[int, weakref.ref[Tensor]] = {}

    @property
    def kept(self) -> list[Tensor]:
        return list(self._found.values())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        for tensor in tensors_in((*args, *kwargs.values())):
            made = self._made.get(id(tensor))
            if made is None or made() is not tensor:
                self._found[id(tensor)] = tensor
        result = func(*args, **kwargs)
        for tensor in tensors_in(result):
            self._made[id(tensor)] = weakref.ref(tensor)
        return result
