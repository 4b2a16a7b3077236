"""Ultralytics files (.pt): a whole network as a pickled nn.Module, of which only the tensors are taken.

The file names the classes of the framework that wrote it. None is imported: in their place comes one
that keeps what a module holds (parameters, buffers, children), and the tree of those is walked to a
state dict. The paths of the classes have moved between versions; nothing here depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.checkpoints.contents import Contents, class_names
from zoo.checkpoints.readers.unpickling import Allowed, Inert, RestrictedUnpickler, damaged, load_archive, refused
from zoo.errors import CheckpointError, UnsafePickleError

MODULES = ("ultralytics", "torch.nn")
"""Packages whose objects become inert modules."""

BUILTINS = ("__builtin__", "builtins")
"""How pickles of protocol 2 and of later ones name Python's own functions."""

MAX_MODULES = 10_000
"""A pickle can let one module hold another twice, and so on: a few bytes that would take forever to walk."""


class InertModule(Inert):
    """Stands for a module: it keeps what a module holds, and does nothing."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            self.__dict__.update({str(key): value for key, value in state.items()})


def _inert_attribute(owner: Any, name: Any) -> type[Inert]:
    """What files of segmentation models ask getattr for: a method of a class of the framework, inert like that."""
    if not (isinstance(owner, type) and issubclass(owner, Inert)):
        raise refused(f"builtins.getattr({owner!r}, {name!r})")
    return Inert


KNOWN = {
    (package, name): value
    for package in BUILTINS
    for name, value in (("set", set), ("getattr", Allowed(_inert_attribute)))
}
"""Python's own functions that these files call."""


class ModuleUnpickler(RestrictedUnpickler):
    """Lets modules through as inert ones."""

    def find_class(self, module: str, name: str) -> Any:
        """The allowed callable, an inert class for modules and known metadata; see `RestrictedUnpickler`."""
        if (module, name) in KNOWN:
            return KNOWN[module, name]
        if any(module == package or module.startswith(f"{package}.") for package in MODULES):
            return InertModule
        return super().find_class(module, name)


def read(path: Path) -> Contents:
    """The state dict of the network in a file, mapped, in the types it is stored in.

    Raises:
        CheckpointError: damaged, truncated, or without a network.
        UnsafePickleError: the file asks for code that is not allowed.
    """
    try:
        content = load_archive(path, ModuleUnpickler)
    except UnsafePickleError as error:
        raise UnsafePickleError(f"{path}: {error.message}", next_step=error.next_step) from None
    except Exception as error:  # bytes that are no checkpoint can fail in any way the unpickler knows
        raise damaged(path, error) from error
    # The averaged weights, where the file has them apart.
    network = content.get("ema") or content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(network, InertModule):
        raise CheckpointError(f"{path}: holds no network", next_step="check that this is the entry's checkpoint")
    state = dict(_walk(path, network))
    if not state:
        raise CheckpointError(f"{path}: its network is empty", next_step="check that this is the entry's checkpoint")
    return Contents(state, class_names(vars(network).get("names")))


def _walk(path: Path, network: InertModule) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of a module and all below it, by dotted name, in nn.Module's own order."""
    waiting: list[tuple[str, InertModule]] = [("", network)]
    seen = 0
    while waiting:
        prefix, module = waiting.pop()
        seen += 1
        if seen > MAX_MODULES:
            message = f"{path}: its network has no end"
            raise CheckpointError(message, next_step="do not trust this file; fetch the published checkpoint again")
        passing = vars(module).get("_non_persistent_buffers_set") or ()
        buffers = {name: value for name, value in _held(module, "_buffers").items() if name not in passing}
        for name, value in (*_held(module, "_parameters").items(), *buffers.items()):
            if isinstance(value, Tensor):
                yield f"{prefix}{name}", value.detach()
        children = list(_held(module, "_modules").items())
        waiting += [(f"{prefix}{name}.", child) for name, child in reversed(children) if isinstance(child, InertModule)]


def _held(module: InertModule, kind: str) -> Mapping[Any, Any]:
    """What a module holds of a kind, by name."""
    held = vars(module).get(kind)
    return held if isinstance(held, Mapping) else {}
