"""Ultralytics files: a pickled network gives its tensors, and nothing in it is ever executed."""

from __future__ import annotations

import copyreg
import functools
import json
import os
import pickle
import re
import subprocess
import sys
import types
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parity import SHARED, needs_shared
from torch import nn

from zoo.checkpoints.readers import read
from zoo.errors import CheckpointError, UnsafePickleError

SAMPLES = ("tiny_8.0.58", "tiny_8.4.190", "tiny-seg_8.0.58", "tiny-seg_8.4.190")
CLASSES = ("ultralytics.nn.modules.Conv", "ultralytics.nn.modules.Detect", "ultralytics.nn.tasks.DetectionModel")
SETTINGS = "ultralytics.yolo.utils.IterableSimpleNamespace"


@pytest.fixture
def framework() -> Iterator[dict[str, type]]:
    """Classes that bear the framework's names while a file is written, and are gone while it is read."""
    made: dict[str, type] = {}
    before = set(sys.modules)
    for path in (*CLASSES, SETTINGS):
        package, name = path.rsplit(".", 1)
        parts = package.split(".")
        for i in range(1, len(parts) + 1):
            sys.modules.setdefault(".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
        made[name] = type(name, (nn.Module,) if path in CLASSES else (), {"__module__": package})
        setattr(sys.modules[package], name, made[name])
    yield made
    forget(before)


def forget(before: set[str]) -> None:
    for name in set(sys.modules) - before:
        if name.split(".")[0] == "ultralytics":
            del sys.modules[name]


class Runs:
    """An object whose unpickling calls something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def network(framework: dict[str, type]) -> nn.Module:
    """A model as the releases pickle theirs: half precision, an activation that modules share, odds and ends."""
    generator = torch.Generator().manual_seed(0)
    activation = nn.SiLU()
    layers = nn.Sequential()
    for i in range(2):
        block: nn.Module = framework["Conv"]()
        block.conv, block.bn = nn.Conv2d(3, 3, 3, bias=False), nn.BatchNorm2d(3, eps=1e-3)
        block.act = activation
        with torch.no_grad():
            block.conv.weight.copy_(torch.randn(3, 3, 3, 3, generator=generator))
        layers.add_module(str(i), block)
    head: Any = framework["Detect"]()
    head.register_buffer("anchors", torch.arange(4.0), persistent=False)
    head.register_buffer("kept", torch.arange(4.0))
    head.stride = torch.tensor([8.0, 16.0])  # no parameter and no buffer
    head.anything = {"numbers": {1, 2}, "scalar": np.float64(0.5)}
    layers.add_module("2", head)
    model: Any = framework["DetectionModel"]()
    model.model = layers
    model.args = framework["IterableSimpleNamespace"]()
    model.args.imgsz = 640
    half: nn.Module = model.half()
    return half


def content(model: Any, **more: Any) -> dict[str, Any]:
    return {"epoch": -1, "best_fitness": None, "model": model, "ema": None, "train_args": {"lr0": 0.01}, **more}


def saved(path: Path, model: Any, **more: Any) -> Path:
    torch.save(content(model, **more), path)
    return path


def test_a_network_becomes_its_state_dict(tmp_path: Path, framework: dict[str, type]) -> None:
    model = network(framework)
    path = saved(tmp_path / "x.pt", model)
    expected = model.state_dict()
    forget(set())
    tensors = read(path, "ultralytics")
    assert list(tensors) == list(expected)
    assert "model.2.kept" in tensors
    for key, tensor in tensors.items():
        assert tensor.dtype == expected[key].dtype
        assert tensor.equal(expected[key])
    assert not any(name.startswith("ultralytics") for name in sys.modules)


def test_averaged_weights_come_first(tmp_path: Path, framework: dict[str, type]) -> None:
    model, averaged = network(framework), network(framework)
    nn.init.ones_(averaged.get_parameter("model.0.conv.weight"))
    path = saved(tmp_path / "x.pt", model, ema=averaged)
    assert read(path, "ultralytics")["model.0.conv.weight"].eq(1).all()


@needs_shared
@pytest.mark.parametrize("name", SAMPLES)
def test_files_that_the_framework_wrote(name: str) -> None:
    folder = SHARED / "parity" / "ultralytics" / "samples"
    expected = json.loads((folder / f"{name}.state.json").read_text(encoding="utf-8"))
    tensors = read(folder / f"{name}.pt", "ultralytics")
    found = {
        key: [str(value.dtype).removeprefix("torch."), list(value.shape), zlib.crc32(value.numpy().tobytes())]
        for key, value in tensors.items()
    }
    assert list(found) == list(expected)
    assert found == expected


def test_an_attribute_of_an_inert_class_is_inert(tmp_path: Path, framework: dict[str, type]) -> None:
    # Files of segmentation models hold a method of a class, as pickle spells it: getattr(Detect, "forward").
    model = network(framework)
    model.detect = Runs(getattr, framework["Detect"], "forward")  # type: ignore[assignment] # no module
    tensors = read(saved(tmp_path / "x.pt", model), "ultralytics")
    assert list(tensors) == list(network(framework).state_dict())


HOSTILE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "os.system": (lambda mark: Runs(os.system, f"touch {mark}"), "system"),
    "subprocess": (lambda mark: Runs(subprocess.check_call, ["touch", str(mark)]), "check_call"),
    "eval": (lambda mark: Runs(eval, f"open({str(mark)!r}, 'w').close()"), "eval"),
    "exec": (lambda mark: Runs(exec, f"open({str(mark)!r}, 'w').close()"), "exec"),
    "open": (lambda mark: Runs(open, str(mark), "w"), "open"),
    "import": (lambda _: Runs(__import__, "antigravity"), "__import__"),
    "partial": (lambda mark: functools.partial(os.system, f"touch {mark}"), "system"),
    "getattr of a set": (lambda _: Runs(getattr, set(), "__class__"), "getattr"),
    "getattr of a type": (lambda _: Runs(getattr, set, "__subclasses__"), "getattr"),
    "nested": (lambda mark: [{"a": (Runs(set, [Runs(os.system, f"touch {mark}")]),)}], "system"),
    "pickle in a pickle": (
        lambda mark: Runs(pickle.loads, pickle.dumps(Runs(os.system, f"touch {mark}"))),
        "loads",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_and_never_run(case: str, tmp_path: Path, framework: dict[str, type]) -> None:
    payload, named = HOSTILE[case]
    mark = tmp_path / "executed"
    path = saved(tmp_path / "hostile.pt", network(framework), train_args=payload(mark))
    forget(set())
    with pytest.raises(UnsafePickleError) as caught:
        read(path, "ultralytics")
    assert "hostile.pt" in caught.value.message
    assert re.search(rf"\.{named}\b", caught.value.message)
    assert caught.value.next_step
    assert not mark.exists()


def test_the_fixtures_are_no_duds(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    torch.load(saved(tmp_path / "x.pt", HOSTILE["nested"][0](mark)), weights_only=False)
    assert mark.exists()


def with_pickle(path: Path, program: bytes) -> Path:
    """An archive of torch.save's kind around a pickle written by hand."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", program)
    return path


def test_a_global_from_the_extension_registry_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    command = f"touch {mark}".encode()
    copyreg.add_extension("posix", "system", 240)
    try:
        program = b"\x80\x02\x82\xf0X" + len(command).to_bytes(4, "little") + command + b"\x85R."
        pickle.loads(program)  # from now on the registry's cache has the function itself
        mark.unlink()
        with pytest.raises(UnsafePickleError, match="extension registry"):
            read(with_pickle(tmp_path / "x.pt", program), "ultralytics")
    finally:
        copyreg.remove_extension("posix", "system", 240)
        copyreg.clear_extension_cache()
    assert not mark.exists()


@pytest.mark.parametrize(
    "target",
    [b"cultralytics.nn.tasks\nDetectionModel\n", b"cnumpy\ndtype\n", b"ctorch._utils\n_rebuild_tensor_v2\n"],
    ids=["module", "metadata", "function"],
)
def test_a_file_cannot_change_what_reads_it(tmp_path: Path, target: bytes) -> None:
    # BUILD with a pair of states sets attributes: here `append` of a stand-in, to a function of the allow-list.
    program = b"\x80\x02" + target + b"N}X\x06\x00\x00\x00appendc_codecs\nencode\ns\x86b."
    with pytest.raises(UnsafePickleError, match="asks for a change of "):
        read(with_pickle(tmp_path / "x.pt", program), "ultralytics")


def test_calling_a_stand_in_does_nothing(tmp_path: Path) -> None:
    program = b"\x80\x02}(X\x05\x00\x00\x00modelcultralytics.hub\nlogin\nX\x03\x00\x00\x00key\x85Ru."
    with pytest.raises(CheckpointError, match="its network is empty"):
        read(with_pickle(tmp_path / "x.pt", program), "ultralytics")


@pytest.mark.parametrize("loop", [True, False], ids=["a module in itself", "modules held twice"])
def test_a_network_without_end_is_refused(tmp_path: Path, framework: dict[str, type], loop: bool) -> None:
    inner: nn.Module = framework["Conv"]()
    outer = inner
    for _ in range(1 if loop else 40):
        outer = framework["Conv"]()
        outer._modules |= {"a": outer, "b": outer} if loop else {"a": inner, "b": inner}
        inner = outer
    with pytest.raises(CheckpointError, match="no end"):
        read(saved(tmp_path / "x.pt", outer), "ultralytics")


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.98])
def test_truncated_files_are_named(tmp_path: Path, framework: dict[str, type], kept: float) -> None:
    path = saved(tmp_path / "cut.pt", network(framework))
    os.truncate(path, int(kept * path.stat().st_size) if kept < 1 else int(kept))
    with pytest.raises(CheckpointError, match=r"cut\.pt"):
        read(path, "ultralytics")


@pytest.mark.parametrize("kind", ["ultralytics", "pth"])
@pytest.mark.parametrize("change", ["short", "long", "missing", "compressed", "byte order"])
def test_storages_are_as_long_as_the_pickle_says(
    tmp_path: Path, framework: dict[str, type], kind: str, change: str
) -> None:
    model = network(framework)
    whole, corrupt = tmp_path / "whole.pt", tmp_path / "corrupt.pt"
    torch.save(content(model) if kind == "ultralytics" else model.state_dict(), whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(corrupt, "w") as target:
        for name in source.namelist():
            data, compression = source.read(name), zipfile.ZIP_STORED
            if name.endswith("/data/0"):
                if change == "missing":
                    continue
                data = {"short": data[:-2], "long": data + b"\0\0"}.get(change, data)
                compression = zipfile.ZIP_DEFLATED if change == "compressed" else compression
            if name.endswith("/byteorder") and change == "byte order":
                data = b"big"
            target.writestr(name, data, compression)
    assert read(whole, kind)
    with pytest.raises(CheckpointError, match=r"corrupt\.pt: damaged"):
        read(corrupt, kind)


@pytest.mark.parametrize("model", [None, {"model.0.conv.weight": torch.zeros(2)}, "text"])
def test_a_file_without_a_network_is_refused(tmp_path: Path, model: Any) -> None:
    with pytest.raises(CheckpointError, match="holds no network"):
        read(saved(tmp_path / "x.pt", model), "ultralytics")


@pytest.mark.parametrize("bytes_", [b"<!DOCTYPE html><html>404</html>", b"\x00" * 1000, b"PK\x03\x04broken"])
def test_other_bytes_are_no_checkpoint(tmp_path: Path, bytes_: bytes) -> None:
    path = tmp_path / "page.pt"
    path.write_bytes(bytes_)
    with pytest.raises(CheckpointError, match="not a torch checkpoint"):
        read(path, "ultralytics")
