"""Ultralytics files (.pt): a whole network as a pickled nn.Module, of which only the tensors are taken.

The file names the classes of the framework that wrote it. None is imported: in their place come stubs that keep what
a module holds (parameters, buffers, children), and the tree of those is walked to a state dict. The paths of the
classes have moved between versions; nothing here depends on them, but to tell a file of another network by its name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo.checkpoints.containers.plain import StoredTensor, Stub, attributes
from zoo.checkpoints.containers.torch_file import TorchFile, load_torch_file
from zoo.checkpoints.contents import NO_WEIGHTS, NOT_AVERAGED, Contents, class_names, without_wrappers
from zoo.errors import CheckpointError

MAX_MODULES = 10_000
"""A pickle can let one module hold another twice, and so on: a few bytes that would take forever to walk."""

MAX_TENSORS = 100_000
"""Likewise of the tensors of a module."""

MAX_NAME = 1000
"""Characters of a module's full name."""

OTHER_NETWORKS = {
    "RTDETRDecoder": "an RT-DETR checkpoint: a transformer decoder instead of dense heads",
    "v10Detect": "a YOLOv10 checkpoint: two sets of heads, without suppression",
    "A2C2f": "a YOLO12 checkpoint: area attention in its backbone",
    "C3k2": "a YOLO11 checkpoint: other blocks and class branches",
    "RepNCSPELAN4": "a YOLOv9 checkpoint: another backbone",
    "Pose": "a pose checkpoint: its heads predict keypoints",
    "OBB": "a checkpoint of oriented boxes",
    "Classify": "a checkpoint that classifies whole images",
}
"""Names of classes that only networks of one kind have."""


def read(path: Path) -> Contents:
    """The state dict of the network in a file, in the types it is stored in.

    Raises:
        CheckpointError: damaged, truncated, without a network, or with one of another kind.
        UnsafePickleError: the file asks for code that is not allowed.
    """
    return network_state_of(load_torch_file(path))


def holds_network(file: TorchFile) -> bool:
    """Whether a file holds a network as an object."""
    return _network(file)[1] is not None


def network_state_of(file: TorchFile) -> Contents:
    """The state dict of the network in a file that is read already. Raises as `read` does."""
    path = file.path
    place, network = _network(file)
    if network is None:
        raise CheckpointError(f"{path}: holds no network", next_step="check that this is the entry's checkpoint")
    state: dict[str, StoredTensor] = {}
    kinds = {network.kind}
    for name, module in _modules(path, network):
        kinds.add(module.kind)
        state.update((f"{name}{key}", value) for key, value in _own_tensors(module))
        if len(state) > MAX_TENSORS:
            raise _endless(path)
    _refuse_other_networks(path, network, kinds)
    if not state:
        raise CheckpointError(f"{path}: its network is empty", next_step="check that this is the entry's checkpoint")
    plain, changed = without_wrappers(state)
    dropped: dict[str, list[str]] = {}
    for key, value in file.content.items():
        if key in ("model", "optimizer") and key != place and value is not None:
            dropped.setdefault(NOT_AVERAGED if key == "model" else NO_WEIGHTS, []).append(key)
    return Contents(file.tensors(plain), class_names(attributes(network).get("names")), dropped, changed)


def _network(file: TorchFile) -> tuple[str, Stub | None]:
    """The network of a file and its place: the averaged one, where the file has it apart."""
    content = file.content
    for place in ("ema", "model") if isinstance(content, Mapping) else ():
        if isinstance(content.get(place), Stub):
            return place, content[place]
    return "", None


def _refuse_other_networks(path: Path, network: Stub, kinds: set[str]) -> None:
    """Say what a file is, where its classes tell that it is no YOLOv8."""
    names = {kind.rpartition(".")[2] for kind in kinds}
    what = next((what for name, what in OTHER_NETWORKS.items() if name in names), None)
    if network.kind.startswith("models."):
        what = f"a YOLOv5 checkpoint ({network.kind}, or a descendant that kept its names): anchors, other heads"
    if what is not None:
        message = f"{path}: this is {what}; no entry has that network"
        raise CheckpointError(message, next_step="give a file of the entry's own network, or choose another entry")


def _modules(path: Path, network: Stub) -> Iterator[tuple[str, Stub]]:
    """A module and all below it with their names, each with its dot, in nn.Module's own order."""
    waiting: list[tuple[str, Stub]] = [("", network)]
    found = 1
    while waiting:
        prefix, module = waiting.pop()
        yield prefix, module
        held = _held(module, "_modules")
        found += len(held)
        if found > MAX_MODULES or len(prefix) > MAX_NAME:
            raise _endless(path)
        children = [(name, child) for name, child in held.items() if isinstance(child, Stub)]
        waiting += [(f"{prefix}{name}.", child) for name, child in reversed(children) if isinstance(name, str)]


def _endless(path: Path) -> CheckpointError:
    message = f"{path}: its network has no end"
    return CheckpointError(message, next_step="do not trust this file; fetch the published checkpoint again")


def _own_tensors(module: Stub) -> Iterator[tuple[str, StoredTensor]]:
    """Parameters and persistent buffers of a module, without those of the modules in it."""
    passing: Any = attributes(module).get("_non_persistent_buffers_set")
    passing = passing if isinstance(passing, set) else ()
    for kind in ("_parameters", "_buffers"):
        for name, value in _held(module, kind).items():
            if (
                isinstance(value, StoredTensor)
                and isinstance(name, str)
                and not (kind == "_buffers" and name in passing)
            ):
                yield name, value


def _held(module: Stub, kind: str) -> Mapping[Any, Any]:
    """What a module holds of a kind, by name."""
    held = attributes(module).get(kind)
    return held if isinstance(held, Mapping) else {}
