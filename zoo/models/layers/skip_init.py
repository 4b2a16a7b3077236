"""Building a network without giving its parameters values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

INITIALISERS = {
    *(init.constant_, init.kaiming_uniform_, init.normal_, init.uniform_),
    *(Tensor.fill_, Tensor.normal_, Tensor.uniform_, Tensor.zero_),
}

FACTORIES = {
    *(torch.arange, torch.as_tensor, torch.asarray, torch.empty, torch.empty_strided, torch.eye, torch.full),
    *(torch.linspace, torch.logspace, torch.ones, torch.rand, torch.randint, torch.randn, torch.randperm),
    *(torch.tensor, torch.zeros),
}
"""Functions that make a tensor on a device."""


class SkipInit(TorchFunctionMode):
    """A context in which functions that fill a tensor leave it as it is.

    For networks on the meta device, whose weights come from a file: there is nothing to fill, and
    the pretence costs more than loading does.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in INITIALISERS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


class WithoutStorage(SkipInit):
    """`SkipInit` and `torch.device("meta")` in one, for a network that takes all of its tensors from a file.

    One mode instead of two, which stand in the way of every function of torch: a fifth of the time.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func in FACTORIES and (kwargs is None or kwargs.get("device") is None):
            return func(*args, **(kwargs or {}) | {"device": "meta"})
        return super().__torch_function__(func, types, args, kwargs)
