"""Small tensors of Python's values that devices keep: to make one on a GPU is a copy that the host waits for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import torch
from torch import Tensor

Arguments = ParamSpec("Arguments")

_KEPT = 64
"""Answers kept of a function."""


def kept_on_device(make: Callable[Arguments, Tensor]) -> Callable[Arguments, Tensor]:
    """A function of hashable arguments, among them a device, whose last answers are kept; nobody may write into them.

    Answers can be trained with, also those that were made in inference mode first. Tensors of another class are not
    kept: those of a fake mode belong to it.
    """
    answers: dict[object, Tensor] = {}

    @functools.wraps(make)
    def keep(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Tensor:
        key = (args, tuple(kwargs.items()))
        if key in answers:
            return answers[key]
        with torch.inference_mode(False):
            made = make(*args, **kwargs)
        if type(made) is Tensor:
            if len(answers) >= _KEPT:
                answers.pop(next(iter(answers)))
            answers[key] = made
        return made

    return keep


@kept_on_device
def constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Numbers (N,) that a device keeps; see `kept_on_device`."""
    return torch.tensor(values, dtype=dtype, device=device)
