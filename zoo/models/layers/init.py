"""First weights of layers, as their papers and frameworks draw them."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor, nn

UniformInit = Literal["xavier", "lecun"]
"""Uniform weights of a variance of 2 / (inputs + outputs) (Glorot and Bengio, 2010), or of 1 / inputs (LeCun et al.,
1998)."""


def init_uniform(weight: Tensor, kind: UniformInit) -> None:
    """Draw the weights of a linear layer or a convolution, in place.

    Raises:
        ValueError: there is no such kind.
    """
    if kind == "xavier":
        nn.init.xavier_uniform_(weight)
    elif kind == "lecun":
        nn.init.kaiming_uniform_(weight, nonlinearity="linear")
    else:
        raise ValueError(f"init: {kind!r} is none of {', '.join(get_args(UniformInit))}")
