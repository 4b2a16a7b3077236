"""Building a network without giving its parameters values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

INITIALISERS = {
    *(init.constant_, init.kaiming_uniform_, init.normal_, init.uniform_),
    *(Tensor.fill_, Tensor.normal_, Tensor.uniform_, Tensor.zero_),
}


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
