"""What code would ask of a GPU, counted on the CPU: kernels, waits for their results, copies from the host.

At one image a batch a GPU is bound by its host: every operation takes microseconds to launch, and every wait drains
what has been launched. Both are counts, equal on every machine.

    with counted() as work:
        head.detect(outputs, batch)
    assert work.waits <= 2
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_WAITS = {
    "aten::_local_scalar_dense",  # item(), int(), float(), bool(), format()
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::is_nonzero",
    "aten::equal",
    "torchvision::nms",
}
"""Operators whose answer's shape or value the host has to know before it goes on."""

_LAUNCHES_NOTHING = {"aten::empty", "aten::empty_like", "aten::new_empty", "aten::empty_strided", "aten::_unsafe_view"}

_TO_HOST = {"cpu", "tolist", "numpy", "__array__"}
"""Methods of a tensor that wait for its values without any operator, as on the CPU they are there."""


@dataclass(slots=True)
class DeviceWork:
    """Counts, and what was counted by its operator's name.

    Attributes:
        ops: operators that launch a kernel; views launch none.
        views: operators that give another view of the same values, which cost the host alone.
        waits: times that the host needs a result.
        copies: tensors made of Python's values, which on a GPU are copied there while the host waits; not those that
            are made for "cpu", by that word.
        kernels: ops by name.
        waited: waits by name.
    """

    views: int = 0
    copies: int = 0
    kernels: Counter[str] = field(default_factory=Counter)
    waited: Counter[str] = field(default_factory=Counter)

    @property
    def ops(self) -> int:
        """All kernels."""
        return self.kernels.total()

    @property
    def waits(self) -> int:
        """All waits."""
        return self.waited.total()


@contextmanager
def counted() -> Iterator[DeviceWork]:
    """Count what is done inside the block, by this thread, on any device."""
    work = DeviceWork()
    operators = _Operators(work)
    with _Calls(work, operators), operators:
        yield work


class _Operators(TorchDispatchMode):  # type: ignore[no-untyped-call] # torch's own
    """Counts operators; those made of others count as these."""

    def __init__(self, work: DeviceWork) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch's own
        self.work = work
        self.on_host = False

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "prim":  # what a fake tensor is asked, such as its device
            return func(*args, **kwargs)
        with self:  # under inference mode they come whole
            parts = func.decompose(*args, **kwargs)
        if parts is not NotImplemented:
            return parts
        self._count(func, args, kwargs)
        return func(*args, **kwargs)

    def _count(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        name = func.name().split(".")[0]
        if name == "aten::lift_fresh":
            self.work.copies += not self.on_host
        elif _is_view(func):
            self.work.views += 1
        elif name not in _LAUNCHES_NOTHING:
            self.work.kernels[name] += 1
        if name in _WAITS or _by_mask(name, args) or _of_unknown_length(func, kwargs):
            self.work.waited[name] += 1


class _Calls(TorchFunctionMode):
    """Counts what never becomes an operator where the values are on the host already."""

    def __init__(self, work: DeviceWork, operators: _Operators) -> None:
        super().__init__()
        self.work = work
        self.operators = operators

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        copied = name == "to" and "cpu" in (*args[1:], *kwargs.values()) and not kwargs.get("non_blocking")
        if copied or name in _TO_HOST:
            self.work.waited[name] += 1
        self.operators.on_host = name in ("tensor", "as_tensor") and kwargs.get("device") == "cpu"
        try:
            return func(*args, **kwargs)
        finally:
            self.operators.on_host = False


def _is_view(func: Any) -> bool:
    """Whether an operator's answer shares the values of its argument, unwritten."""
    answers = func._schema.returns
    return bool(answers) and all(x.alias_info is not None and not x.alias_info.is_write for x in answers)


def _by_mask(name: str, args: Sequence[Any]) -> bool:
    """Whether an operator indexes with booleans, of which somebody has to know how many are true."""
    if name not in ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"):
        return False
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1])


def _of_unknown_length(func: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether it repeats by counts whose sum nobody has told."""
    return func.name() == "aten::repeat_interleave.Tensor" and kwargs.get("output_size") is None
