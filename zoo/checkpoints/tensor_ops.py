"""Named pure operations that a key map may apply to values, where a framework stores the same layer otherwise.

Each stands in `Rename(..., ops=(...))` and is listed in the load report. They move and subtract rows; they never
scale or round to another type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class TensorOp:
    """An operation on the values of one key.

    Attributes:
        name: how the load report calls it.
        apply: the operation itself; raises ValueError for a tensor that it is not made for.
    """

    name: str
    apply: Callable[[Tensor], Tensor]


def _transpose(weight: Tensor) -> Tensor:
    if weight.dim() != 2:
        raise ValueError("not a matrix")
    return weight.t().contiguous()


def _background_last(scores: Tensor) -> Tensor:
    return scores.roll(-1, dims=0)


def _pair_difference(logits: Tensor) -> Tensor:
    if len(logits) % 2:
        raise ValueError("an odd number of rows")
    background, foreground = logits.chunk(2)
    return foreground - background


transpose = TensorOp("transpose", _transpose)
"""(in, out) -> (out, in): Paddle stores the weights of linear layers the other way round."""

background_last = TensorOp("background_last", _background_last)
"""The row of class 0, the background, goes behind those of the others. (1 + K, ...) -> (K + 1, ...)

Apply after `transpose`: classes are rows.
"""

pair_difference = TensorOp("pair_difference", _pair_difference)
"""Two logits a place, all of the background first, to the one whose sigmoid is their softmax. (2A, ...) -> (A, ...)

softmax(b, f)[1] = sigmoid(f - b), so a convolution that yields f - b has the differences of weights and biases.
"""


def take_rows(start: int, stop: int | None = None) -> TensorOp:
    """Only the rows from `start` on, up to but without `stop`. (N, ...) -> (stop - start, ...)

    Box deltas of a class that is never asked for are dropped so: `take_rows(4)` those of a background in front.
    """

    def take(tensor: Tensor) -> Tensor:
        if len(tensor) <= start or (stop is not None and len(tensor) < stop):
            raise ValueError(f"{len(tensor)} rows")
        return tensor[start:stop]

    return TensorOp(f"take_rows({start}:{'' if stop is None else stop})", take)
