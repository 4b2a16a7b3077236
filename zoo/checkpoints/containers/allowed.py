"""What a checkpoint may name, and the few names that stand for data.

Nothing that a file names is imported or called. Names decide only whether a file is one of those that trainings
leave, or asks for something that no such file has any use for and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zoo.checkpoints.containers.plain import Global, Opaque, StoredTensor, Stub, Table
from zoo.errors import UnsafePickleError

FRAMEWORKS = (
    *("mmcls", "mmcv", "mmdet", "mmengine", "mmpretrain", "mmrotate", "mmseg", "mmyolo"),
    *("detectron2", "fvcore", "lightning", "lightning_fabric", "pytorch_lightning", "timm", "torchvision"),
    *("ultralytics", "yolov6", "yolox"),
)
"""Packages whose objects, and whose methods by name, occur in files: networks, histories, configurations."""

YOLOV5 = ("models", "utils")
"""The packages of YOLOv5 and of its descendants, which pickle whole networks too."""

STORAGES = ("torch", "torch.cuda")
"""Modules of torch whose classes `...Storage` say the type of values that lie together; of the second in old files."""

TORCH = ("torch.nn", "torch.optim", "torch.cuda.amp", "torch.amp")
"""Packages of torch whose objects occur in files: networks, optimizers, schedulers, scalers."""

METADATA = ("addict", "argparse", "datetime", "easydict", "numpy", "omegaconf", "pathlib", "uuid", "yacs", "yapf")
"""Packages whose objects occur beside the weights: settings, dates, numbers. Their methods do not."""

BUILTINS = ("__builtin__", "builtins")
"""How pickles of protocol 2 and of later ones name Python's own functions."""

_DTYPES = (
    *("bool", "uint8", "int8", "int16", "int32", "int64", "short", "int", "long"),
    *("float16", "bfloat16", "float32", "float64", "half", "float", "double"),
)

_BUILTIN_TYPES = (
    *("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object"),
    *("long", "range", "set", "slice", "str", "tuple", "unicode", "xrange"),
)

NAMES = {
    "torch": frozenset(("device", "Size", "dtype", "Tensor", *_DTYPES)),
    "torch._utils": frozenset(
        f"_rebuild_{what}" for what in ("tensor", "tensor_v2", "tensor_v3", "parameter", "parameter_with_state")
    ),
    "torch._tensor": frozenset(("_rebuild_from_type_v2", "Tensor")),
    "torch.storage": frozenset(("TypedStorage", "UntypedStorage", "_TypedStorage", "_UntypedStorage")),
    "torch.serialization": frozenset(("_get_layout",)),
    "torch.torch_version": frozenset(("TorchVersion",)),
    "collections": frozenset(("Counter", "OrderedDict", "defaultdict", "deque")),
    "functools": frozenset(("partial",)),
    "copyreg": frozenset(("_reconstructor",)),
    "copy_reg": frozenset(("_reconstructor",)),
    "_codecs": frozenset(("encode",)),
    "types": frozenset(("SimpleNamespace",)),
} | dict.fromkeys(BUILTINS, frozenset((*_BUILTIN_TYPES, "getattr")))
"""Names of modules that are not allowed as a whole."""


def check_name(module: str, name: str) -> None:
    """Refuse the name of anything that a file of a training has no use for.

    Raises:
        UnsafePickleError: naming it.
    """
    top = module.split(".")[0]
    if name in NAMES.get(module, ()) or (module in STORAGES and name.endswith("Storage") and name.isidentifier()):
        return
    framework = top in FRAMEWORKS or top in YOLOV5 or any(f"{module}.".startswith(f"{part}.") for part in TORCH)
    # a dotted name is an attribute, as protocol 4 spells `getattr`
    if (framework and not _is_private(name)) or (top in METADATA and "." not in name):
        return
    raise refused(f"{module}.{name}")


def refused(what: str) -> UnsafePickleError:
    """The error for a file that asks for more than is allowed."""
    return UnsafePickleError(
        f"the file asks for {what}, which is not on the allow-list; nothing was executed",
        next_step="do not trust this file; fetch the published checkpoint again",
    )


def made(callee: Global | Stub, args: tuple[Any, ...]) -> Any:
    """What a call stands for: data, for the names that spell it; a stub that remembers it, for all others.

    Raises:
        UnsafePickleError: it would reach through a name to something else.
        ValueError, TypeError: the arguments are not what such a call has.
    """
    build = BUILDERS.get((callee.module, callee.name)) if isinstance(callee, Global) else None
    return Stub(callee, args) if build is None else build(*args)


def _is_private(name: str) -> bool:
    return any(part.startswith("__") for part in name.split("."))


def _attribute(owner: Any = None, name: Any = None, *default: Any) -> Stub:
    """A method of a class of a framework, which stays a name: HistoryBuffer.mean, Detect.forward."""
    known = owner.module.split(".")[0] in (*FRAMEWORKS, *YOLOV5) if isinstance(owner, Global) else False
    if not known or default or not isinstance(name, str) or _is_private(name):
        described = owner.path if isinstance(owner, Global) else type(owner).__name__
        raise refused(f"builtins.getattr({described}, {str(name)[:80] if isinstance(name, str) else '...'})")
    return Stub(owner, (name,))


def _bytes(text: Any = "", encoding: Any = "latin1") -> bytes:
    """How old pickles spell a bytes object; any other encoding is refused."""
    if encoding != "latin1":
        raise refused(f"_codecs.encode in {str(encoding)[:40] if isinstance(encoding, str) else '...'}")
    encoded: bytes = text.encode("latin1")
    return encoded


def _table(items: Any = ()) -> Table:
    """A dict of its own class; old pickles give its items along."""
    table = Table()
    for key, value in items.items() if isinstance(items, dict) else items:
        table[plain_key(key)] = value
    return table


def plain_key(key: Any) -> Any:
    """A key that is hashed and compared in no time: text, a number, or an object that is only itself."""
    if type(key) is str:
        return key
    if isinstance(key, int) and not -(2**63) <= key < 2**64:
        return Opaque()  # numbers can be made that fall on one place of the table
    if key is None or isinstance(key, str | int | float | bytes | Global | Stub | Opaque):
        return key
    if isinstance(key, tuple | frozenset | StoredTensor):
        return Opaque()
    raise TypeError(f"unhashable key: {type(key).__name__}")


def _tuple(values: Any = ()) -> tuple[Any, ...]:
    if not isinstance(values, tuple | list):
        raise TypeError("a tuple of something else than values")
    return tuple(values)


def _set(values: Any = ()) -> set[Any]:
    return {plain_key(value) for value in _tuple(values)}


def _list(values: Any = ()) -> list[Any]:
    return list(_tuple(values))


def _tensor(values: Any, offset: Any, size: Any, stride: Any, *_rest: Any) -> StoredTensor:
    return StoredTensor(values, offset, size, stride)


def _parameter(data: Any, *_rest: Any) -> Any:
    """A parameter, and what else hangs on it (gradients, names): its data."""
    return data


def _typed_tensor(rebuild: Any, _type: Any, args: Any, _state: Any) -> Any:
    """A tensor of a class of its own, or with attributes: its data."""
    if not isinstance(rebuild, Global) or rebuild.module != "torch._utils" or not isinstance(args, tuple):
        raise TypeError("a tensor that is rebuilt by something else")
    return made(rebuild, args)


BUILDERS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _table,
    ("collections", "defaultdict"): lambda _factory=None, items=(): _table(items),
    ("_codecs", "encode"): _bytes,
    ("torch", "Size"): _tuple,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _typed_tensor,
    **{
        (package, name): build
        for package in BUILTINS
        for name, build in (
            *(("getattr", _attribute), ("set", _set), ("frozenset", _set)),
            *(("list", _list), ("tuple", _tuple), ("dict", _table)),
        )
    },
}
"""Calls that spell data. Each takes what the pickle gives, and makes plain containers of it."""
