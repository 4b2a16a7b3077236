"""Named pure operations that a key map may apply to values, where a framework stores the same layer otherwise.

Each stands in `Rename(..., ops=(...))` and is listed in the load report. They move and leave out rows; they never
compute.
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


def _background_box_last(deltas: Tensor) -> Tensor:
    if len(deltas) % 4:
        raise ValueError(f"{len(deltas)} rows, which are no boxes")
    return deltas.roll(-4, dims=0)


def _pair_up(logits: Tensor) -> Tensor:
    if len(logits) % 2:
        raise ValueError("an odd number of rows")
    pairs = logits.view(2, -1, *logits.shape[1:]).flip(0).transpose(0, 1)  # (A, 2, ...)
    return pairs.reshape(logits.shape)


transpose = TensorOp("transpose", _transpose)
"""(in, out) -> (out, in): Paddle stores the weights of linear layers the other way round."""

background_last = TensorOp("background_last", _background_last)
"""The row of class 0, the background, goes behind those of the others. (1 + K, ...) -> (K + 1, ...)

Apply after `transpose`: classes are rows.
"""

background_box_last = TensorOp("background_box_last", _background_box_last)
"""The same of deltas, four rows a class. (4 (1 + K), ...) -> (4 (K + 1), ...)"""

pair_up = TensorOp("pair_up", _pair_up)
"""Logits of all anchors' background, then of all their objects, to one anchor's pair after another. (2A, ...)

In a pair the object comes first: background is the last class here.
"""


def background_last_of(anchors: int) -> TensorOp:
    """`background_last` of each of so many anchors. (A (1 + K), ...) -> (A (K + 1), ...)"""

    def reorder(logits: Tensor) -> Tensor:
        if len(logits) % anchors:
            raise ValueError(f"{len(logits)} rows, which are not as many for each of {anchors} anchors")
        return logits.view(anchors, -1, *logits.shape[1:]).roll(-1, dims=1).reshape(logits.shape)

    return TensorOp(f"background_last_of({anchors})", reorder)


def take_rows(start: int, stop: int | None = None) -> TensorOp:
    """Only the rows from `start` on, up to but without `stop`. (N, ...) -> (stop - start, ...)

    Box deltas of a class that is never asked for are dropped so: `take_rows(4)` those of a background in front.
    """

    def take(tensor: Tensor) -> Tensor:
        if len(tensor) <= start or (stop is not None and len(tensor) < stop):
            raise ValueError(f"{len(tensor)} rows")
        return tensor[start:stop]

    return TensorOp(f"take_rows({start}:{'' if stop is None else stop})", take)
