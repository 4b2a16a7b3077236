"""What a network computes, looked at: NaN finds nothing, and would count as an AP of 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zoo.checkpoints.finite import is_finite
from zoo.errors import ZooError
from zoo.models.detectors.base import Detector
from zoo.run.nested import tensors_in

_NOT_LOOKED_AT = ("normalizer", "backbone")
"""Parts of a detector whose outputs are finite, or make those of the next part what they are."""


@contextmanager
def refusing_non_finite(detector: Detector, precision: str) -> Iterator[None]:
    """Within it a detector, which runs eagerly, is stopped where the neck or a head computes what is no number.

    The host waits for each of them, which costs a CPU nothing; for a GPU there is `OutputSums`.

    Raises:
        ZooError: one of them computes NaN or infinite values; the message names it.
    """

    def look(name: str, outputs: Any) -> None:
        if not all(map(is_finite, _floats(outputs))):
            message = f"the network computes NaN or infinite values (in {name}, precision={precision})"
            step = "look for broken weights in the checkpoint, such as a negative running variance"
            raise ZooError(message, next_step=step if precision == "fp32" else "evaluate it in precision=fp32")

    graphs, detector.graphed_dense = detector.graphed_dense, None
    try:
        with _looking_at_parts(detector, look):
            yield
    finally:
        detector.graphed_dense = graphs


class OutputSums:
    """Sums of what the neck and every head compute, made on the device without a wait.

    They are finite where all that was summed is, save for numbers so large that their sum is not: a sum that is not
    finite is a reason to look again, by `refusing_non_finite`.
    """

    def __init__(self) -> None:
        self._sums: list[Tensor] = []

    @contextmanager
    def summing(self, detector: Detector) -> Iterator[None]:
        """Within it the outputs of a detector's parts are summed, and those of its graphs after each replay."""
        with _looking_at_parts(detector, lambda _name, outputs: self.add(outputs)):
            yield

    def add(self, outputs: Any) -> None:
        """Sum up the magnitudes of each floating-point tensor in what a part gives: a kernel or two for all of them."""
        tensors = [tensor for tensor in _floats(outputs) if tensor.numel()]
        if tensors:
            self._sums += torch._foreach_norm(tensors, 1, dtype=torch.float32)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Within it nothing is added to the sums so far."""
        sums, self._sums = self._sums, []
        try:
            yield
        finally:
            self._sums = sums

    def take(self) -> Tensor:
        """The sums (K,) so far, float32, which are forgotten."""
        sums, self._sums = self._sums, []
        return torch.stack(sums) if sums else torch.zeros(0)


@contextmanager
def _looking_at_parts(detector: Detector, look: Callable[[str, Any], None]) -> Iterator[None]:
    """Have the name and the outputs of the neck and every head looked at, once it has run."""
    hooks = []
    for name, part in detector.named_children():
        if name not in _NOT_LOOKED_AT:

            def hook(_part: nn.Module, _inputs: Any, outputs: Any, name: str = name) -> None:
                look(name, outputs)

            hooks.append(part.register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


def _floats(value: Any) -> list[Tensor]:
    """Every floating-point tensor in what a module gives."""
    return [tensor for tensor in tensors_in(value) if tensor.is_floating_point()]
