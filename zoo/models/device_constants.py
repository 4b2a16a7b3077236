"""Small tensors of Python's values that devices keep: to make one on a GPU is a copy that the host waits for."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from typing import ParamSpec

import torch
from torch import Tensor

Arguments = ParamSpec("Arguments")

_KEPT_BYTES = 2**23
"""Of a function's answers, those that were asked for last: of every shape of images that a data set has."""

_LEAST_BYTES = 512
"""What a tensor takes of a GPU at least."""


def kept_on_device(make: Callable[Arguments, Tensor]) -> Callable[Arguments, Tensor]:
    """A function of hashable arguments, among them a device, whose last answers are kept; nobody may write into them.

    Answers can be trained with, also those that were made in inference mode first. Tensors of another class are not
    kept: those of a fake mode belong to it.
    """
    answers: OrderedDict[object, Tensor] = OrderedDict()
    kept = 0

    @functools.wraps(make)
    def keep(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Tensor:
        nonlocal kept
        key = (args, tuple(kwargs.items()))
        if key in answers:
            answers.move_to_end(key)
            return answers[key]
        with torch.inference_mode(False):
            made = make(*args, **kwargs)
        if type(made) is Tensor:
            answers[key] = made
            kept += _size(made)
            while kept > _KEPT_BYTES and len(answers) > 1:
                kept -= _size(answers.popitem(last=False)[1])
        return made

    return keep


def _size(tensor: Tensor) -> int:
    return max(tensor.nbytes, _LEAST_BYTES)


@kept_on_device
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers (N,) that a device keeps; see `kept_on_device`."""
    return torch.tensor(values, dtype=dtype, device=device)
