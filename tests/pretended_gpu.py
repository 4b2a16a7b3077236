"""A GPU that is pretended: tensors say that they are on it, and are computed on the CPU; devices may not be mixed.

Other than fake tensors they have values, so that a whole detector runs by the code that is written for a GPU, and its
answers can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda", 0)

_MOVES = ("aten::copy_", "aten::_foreach_copy_", "aten::_to_copy")
"""Operators that may have tensors of two devices."""


class _OnGpu(Tensor):
    """A tensor on the pretended GPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> Self:
        made: Self = Tensor._make_wrapper_subclass(
            cls, values.shape, values.stride(), values.storage_offset(), dtype=values.dtype, device=GPU
        )
        made.held = values
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment] # torch's own way

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override] # torch's
        return _compute(func, args, kwargs or {})


class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's own
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(func, args, kwargs or {})


@contextmanager
def pretended_gpu() -> Iterator[torch.device]:
    """Within it tensors that are made on, or moved to, "cuda:0" are pretended to be there; it has one stream."""
    torch._C._ensureCUDADeviceGuardSet()  # as the fake mode does
    tensor, cudnn = torch.tensor, torch.backends.cudnn.enabled
    overwritten = torch.__future__.get_overwrite_module_params_on_conversion()

    def made(data: Any, *, device: Any = "cpu", **more: Any) -> Tensor:
        return tensor(data, device="cpu", **more).to(device)

    host = {name: _on_host(name) for name in ("tolist", "numpy")}
    with (
        mock.patch.multiple(torch.cuda, _lazy_init=mock.DEFAULT, current_stream=mock.DEFAULT, Event=mock.DEFAULT),
        mock.patch.multiple(Tensor, pin_memory=lambda self: self, **host),
        mock.patch.object(torch, "tensor", made),
        _Mode(),  # type: ignore[no-untyped-call] # torch's own
    ):
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        torch.backends.cudnn.enabled = False
        try:
            yield GPU
        finally:
            torch.backends.cudnn.enabled = cudnn
            torch.__future__.set_overwrite_module_params_on_conversion(overwritten)


def _on_host(name: str) -> Any:
    """A method of a tensor that gives its values."""
    method = getattr(Tensor, name)
    return lambda self, **how: method(_values(self), **how)


def _values(value: Any) -> Any:
    return value.held if isinstance(value, _OnGpu) else value


def _compute(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    name = func.name().partition(".")[0]
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    own = {id(tensor.held): tensor for tensor in tensors if isinstance(tensor, _OnGpu)}
    if own and name not in _MOVES:
        foreign = [tuple(tensor.shape) for tensor in tensors if not isinstance(tensor, _OnGpu) and tensor.dim()]
        assert not foreign, f"{name} of tensors on the GPU, and on the CPU: {foreign}"
    device = kwargs.get("device")
    on_gpu = bool(own) if device is None else torch.device(device).type == "cuda"
    there = {} if device is None else {"device": "cpu"}
    found = func(*tree_map(_values, args), **{**tree_map(_values, kwargs), **there})

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        with torch.inference_mode(False), torch.no_grad():
            return own.get(id(value)) if id(value) in own else _OnGpu(value)  # in place it is the very tensor

    return tree_map(wrapped, found) if on_gpu else found
