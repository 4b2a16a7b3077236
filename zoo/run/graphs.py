"""The dense part of a detector as CUDA graphs: launched with one call instead of kernel by kernel.

At one image a batch a GPU waits for its host, which takes longer to launch a convolution than the GPU to compute it. A
graph is captured once for each shape of input, whose padding stays what the protocol says, and replayed from then on.
"""

from __future__ import annotations

import dataclasses
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import DeviceError, ZooError
from zoo.models.detectors.base import Detector
from zoo.run.cuda_graphs import Arena, CudaRecorder, Reads, Recorder
from zoo.run.nested import tensors_in, with_tensors
from zoo.run.precision import DTYPES, inference_precision
from zoo.runtime.hardware import refuse_mode

_PRECISIONS = {dtype: precision for precision, dtype in DTYPES.items()}


@dataclasses.dataclass(frozen=True, slots=True)
class _Graph:
    """One graph.

    Attributes:
        images: what it reads.
        outputs: what it writes, in the structure that the dense part gives.
        replay: computes the one from the other.
        kept: everything else that it reads, such as weights, which has to live as long as it does.
    """

    images: Tensor
    outputs: Any
    replay: Callable[[], object]
    kept: Sequence[Tensor]


class GraphedDense(nn.Module):
    """Computes the dense part of an eval-mode detector by replaying a graph, captured where a shape is seen first.

    There is a graph for each shape, type and memory layout of images, and for what else chooses kernels: autocast's
    type, TF32, cuDNN's settings. Weights are cast before the first capture in a precision; all its graphs read that one
    set, whose bits are those of `inference_precision`, to be entered around many images for what is not captured.

    What a call gives lies in memory that the next call, of this shape or another, writes again: all graphs share one
    memory pool, one block for images and one for outputs. On the device a call begins after everything that was queued
    on the stream of the call before. So what is queued there, kernels and copies to the host alike, reads what it
    should, whatever the host has seen of it by then, and a batch may be launched while the last one is in flight. What
    is read elsewhere, on a third stream, or is queued after the next call, has to be copied before that. Detections are
    gathered into tensors of their own: they are such copies.

    Forward hooks of the parts inside run neither in captures, where waiting for the device is illegal, nor in replays,
    where no Python runs: hooks on this module see the whole dense part's outputs each time.

    Weights that are moved, loaded or trained make all graphs void; they are captured anew. Folding has to come before.

    Args:
        detector: whose dense part it is; that holds it, and is not held by it.
        recorder: captures and replays.
    """

    def __init__(self, detector: Detector, recorder: Recorder) -> None:
        super().__init__()
        self._detector = weakref.ref(detector)
        self.recorder = recorder
        self.reset()

    def reset(self) -> None:
        """Forget all graphs."""
        device = self.recorder.device
        self.recorder.forget()
        self._graphs: dict[Hashable, _Graph] = {}
        self._weights: dict[str, list[dict[str, nn.Parameter | None]]] = {}
        with torch.inference_mode(False):  # such tensors can be written in any mode
            self._inputs, self._outputs = Arena(device), Arena(device)

    @property
    def shapes(self) -> int:
        """How many shapes of images have been captured."""
        return len({graph.images.shape for graph in self._graphs.values()})

    @property
    def memory(self) -> dict[str, int]:
        """The number of `shapes`, the bytes of the pool (`pool_bytes`) and of inputs and outputs (`buffer_bytes`)."""
        buffers = self._inputs.bytes + self._outputs.bytes
        return {"shapes": self.shapes, "pool_bytes": self.recorder.pool_bytes, "buffer_bytes": buffers}

    def forward(self, images: Tensor) -> Any:
        """Images (N, 3, H, W) to what the detector's `dense` gives, to be read before the next call.

        Raises:
            DeviceError: the detector is no longer where it was when graphs were asked for.
            ZooError: the dense part cannot be captured.
            OutOfMemoryError: torch's, where the device has too little memory for another graph: each has some of its
                own beside what all share, and there are as many as shapes.
        """
        device = self.recorder.device
        if images.device != device:
            raise DeviceError(f"graphs of {device} take no images on {images.device}", next_step="call use_graphs anew")
        key = _circumstances(images)
        graph = self._graphs.get(key)
        if graph is None:
            try:
                graph = self._graphs[key] = self._captured(images)
            except torch.OutOfMemoryError as error:
                message = (
                    f"CUDA out of memory in mode=graph, for images of {_shape(images)} beside graphs of "
                    f"{self.shapes} other shapes; mode=eager has none"
                )
                raise torch.OutOfMemoryError(message) from error
        self.recorder.follow()
        graph.images.copy_(images)
        graph.replay()
        return graph.outputs

    def train(self, mode: bool = True) -> GraphedDense:
        """Trained weights are others than those that were captured."""
        if mode:
            self.reset()
        return super().train(mode)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GraphedDense:  # noqa: ARG002 - torch's
        """The detector is moved, or its weights are laid out otherwise; it has none of its own."""
        self.reset()
        return self

    def _load_from_state_dict(self, *args: Any) -> None:
        """The detector gets other weights."""
        self.reset()
        super()._load_from_state_dict(*args)

    def __deepcopy__(self, memo: dict[int, Any]) -> None:
        """A copy of the detector has weights of its own, and no graphs: it computes eagerly."""

    @property
    def _owner(self) -> Detector:
        detector = self._detector()
        assert detector is not None  # noqa: S101 - it holds this one
        return detector

    def _captured(self, images: Tensor) -> _Graph:
        """The graph of a shape."""
        detector = self._owner

        def dense() -> Any:
            with torch.inference_mode():
                return detector.dense(static)

        # A capture itself is begun outside of inference mode: it makes tensors that later ones write.
        with torch.inference_mode(False), torch.no_grad(), _without_hooks(detector), self._cast_weights(detector):
            (static,) = self._inputs.like([images])
            self.recorder.follow()
            static.copy_(images)
            example = self.recorder.warm_up(dense)
            buffers = self._outputs.like(list(tensors_in(example)))
            outputs = with_tensors(example, iter(buffers))
            # A kernel that is loaded while it is captured may wait.
            torch._foreach_copy_(buffers, list(tensors_in(example)))
            del example
            reads = Reads()

            def work() -> None:
                with reads:
                    torch._foreach_copy_(buffers, list(tensors_in(dense())))

            try:
                replay = self.recorder.record(work)
            except RuntimeError as error:
                raise _refusal(error, images) from error
        return _Graph(static, outputs, replay, reads.kept)

    @contextmanager
    def _cast_weights(self, detector: Detector) -> Iterator[None]:
        """Have the detector hold the weights that its first capture in this precision read."""
        precision = _precision(detector.device)
        if precision is None:
            yield
            return
        with (
            inference_precision(detector, detector.device, precision),
            # A cast that is kept by autocast while a graph is captured would lie in the memory of all graphs.
            torch.autocast(detector.device.type, dtype=DTYPES[precision], cache_enabled=False),
        ):
            modules = list(detector.modules())
            held = [dict(module._parameters) for module in modules]
            _hold(modules, self._weights.setdefault(precision, held))
            try:
                yield
            finally:
                _hold(modules, held)


def use_graphs(detector: Detector) -> Detector:
    """Have an eval-mode detector replay its dense part from now on, in place; in any precision that it is run in.

    Args:
        detector: on a GPU, folded and laid out as it is to run.

    Returns:
        The same; `detector.graphed_dense = None` makes it eager again.

    Raises:
        DeviceError: it is not on a GPU.
    """
    refuse_mode("graph", detector.device.type)
    detector.graphed_dense = GraphedDense(detector, CudaRecorder(detector.device)).eval()
    return detector


def _hold(modules: Sequence[nn.Module], parameters: Sequence[dict[str, nn.Parameter | None]]) -> None:
    for module, own in zip(modules, parameters, strict=True):
        module._parameters.update(own)


@contextmanager
def _without_hooks(model: nn.Module) -> Iterator[None]:
    """Within it no part of a model calls its forward hooks."""
    held = [(module, module._forward_hooks, module._forward_pre_hooks) for module in model.modules()]
    for module, _, _ in held:
        module._forward_hooks, module._forward_pre_hooks = OrderedDict(), OrderedDict()
    try:
        yield
    finally:
        for module, hooks, pre_hooks in held:
            module._forward_hooks, module._forward_pre_hooks = hooks, pre_hooks


def _precision(device: torch.device) -> str | None:
    """What autocast computes in; None where it is off."""
    if not torch.is_autocast_enabled(device.type):
        return None
    return _PRECISIONS[torch.get_autocast_dtype(device.type)]


def _circumstances(images: Tensor) -> Hashable:
    """Everything that decides which kernels run."""
    cudnn: Any = torch.backends.cudnn
    return (
        *(images.shape, images.dtype, images.stride(), _precision(images.device)),
        *(cudnn.benchmark, cudnn.deterministic, cudnn.conv.fp32_precision, torch.get_float32_matmul_precision()),
    )


def _refusal(error: RuntimeError, images: Tensor) -> Exception:
    """What to raise of an error within a capture: the first one, where that is the device's want of memory."""
    first: BaseException = error
    while first.__context__ is not None:  # the end of a capture that failed fails as well
        first = first.__context__
    if isinstance(first, torch.OutOfMemoryError):
        return first
    reason = str(first).partition("\n")[0]
    return ZooError(f"mode=graph: images of {_shape(images)} cannot be captured: {reason}", next_step="use mode=eager")


def _shape(images: Tensor) -> str:
    return " x ".join(map(str, images.shape))
