"""torch.save files: both containers, and nothing in them is ever executed."""

from __future__ import annotations

import collections
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from zoo.checkpoints.containers.allowed import BUILDERS, METADATA, NAMES
from zoo.checkpoints.readers import read
from zoo.errors import CheckpointError, UnsafePickleError, UsageError

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.num_batches_tracked": torch.tensor(7)}


class Runs:
    """An object whose unpickling runs a command that leaves a file behind."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def write(path: Path, content: Any, *, zipped: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("wrapped", [True, False], ids=["state_dict", "flat"])
def test_reads_both_containers(tmp_path: Path, zipped: bool, wrapped: bool) -> None:
    content = {"meta": {"mmdet_version": "2.0.0", "CLASSES": ["person"]}, "state_dict": STATE} if wrapped else STATE
    tensors = read(write(tmp_path / "x.pth", collections.OrderedDict(content), zipped=zipped), "pth")
    assert list(tensors) == list(STATE)
    assert all(torch.equal(tensors[key], STATE[key]) for key in STATE)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_metadata_of_the_training_framework_becomes_inert(tmp_path: Path, zipped: bool) -> None:
    meta = {"lr": np.float64(0.02), "hooks": np.arange(3), "work_dir": Path("work")}
    path = write(tmp_path / "x.pth", {"meta": meta, "state_dict": STATE}, zipped=zipped)
    with pytest.raises(pickle.UnpicklingError):  # what torch alone makes of it
        torch.load(path, weights_only=True)
    assert torch.equal(read(path, "pth")["a.weight"], STATE["a.weight"])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("payload", "named"),
    [
        (lambda mark: Runs(os.system, f"touch {mark}"), f"{os.name}.system"),
        (lambda mark: Runs(subprocess.check_call, ["touch", str(mark)]), "subprocess.check_call"),
        (lambda mark: Runs(eval, f"open({str(mark)!r}, 'w').close()"), "eval"),
        (lambda _: Runs(getattr, Runs(__import__, "os"), "system"), "__import__"),
        (lambda mark: Runs(Path.touch, mark), "getattr"),
        (lambda mark: {"nested": [Runs(pickle.loads, pickle.dumps(Runs(os.system, f"touch {mark}")))]}, "pickle.loads"),
    ],
    ids=["os.system", "subprocess", "eval", "import", "method", "nested"],
)
def test_hostile_files_are_refused_and_never_run(tmp_path: Path, zipped: bool, payload: Any, named: str) -> None:
    mark = tmp_path / "executed"
    path = write(tmp_path / "hostile.pth", {"state_dict": STATE, "meta": payload(mark)}, zipped=zipped)
    with pytest.raises(UnsafePickleError) as caught:
        read(path, "pth")
    assert "hostile.pth" in caught.value.message
    assert named.split(".")[-1] in caught.value.message
    assert not mark.exists()
    torch.load(path, weights_only=False)  # the fixture is no dud: plain unpickling does run it
    assert mark.exists() or named == "__import__"


@pytest.mark.parametrize("function", [eval, getattr, os.getcwd, __import__], ids=lambda function: function.__name__)
def test_newer_pickles_are_refused_too(tmp_path: Path, function: Any) -> None:
    path = tmp_path / "hostile.pth"
    content = {"state_dict": STATE, "meta": Runs(function, "os")}
    torch.save(content, path, pickle_protocol=4)  # which spells `builtins` otherwise than protocol 2
    with pytest.raises(UnsafePickleError, match=function.__name__):
        read(path, "pth")


def test_the_allow_list_is_short() -> None:
    # A new name here is a decision: what does a call of it stand for?
    assert {name for _, name in BUILDERS} == {
        *("OrderedDict", "defaultdict", "dict", "list", "tuple", "set", "frozenset", "Size", "encode", "getattr"),
        *("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state"),
        "_rebuild_from_type_v2",
    }
    assert not set(NAMES["builtins"]) & {"eval", "exec", "open", "compile", "__import__", "setattr", "type", "vars"}
    assert not {"os", "posix", "subprocess", "importlib", "operator", "codecs", "runpy", "sys"} & {*NAMES, *METADATA}


def test_metadata_packages_cannot_be_called_into(tmp_path: Path) -> None:
    # numpy is a known package, yet nothing of it is imported or called: its objects are inert.
    path = write(tmp_path / "x.pth", {"state_dict": STATE, "meta": Runs(np.fromfile, "/nonexistent")}, zipped=True)
    assert list(read(path, "pth")) == list(STATE)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0, 10, 200, 0.5, 0.98])
def test_truncated_files_are_named(tmp_path: Path, zipped: bool, kept: float) -> None:
    path = write(tmp_path / "cut.pth", {"state_dict": {"w": torch.randn(500)}}, zipped=zipped)
    size = path.stat().st_size
    os.truncate(path, int(kept * size) if kept < 1 else int(kept))
    with pytest.raises(CheckpointError, match=r"cut\.pth") as caught:
        read(path, "pth")
    assert caught.value.status == "blocked"


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>404</html>", b"\x00" * 1000, b"PK\x03\x04broken"])
def test_other_bytes_are_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "page.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a torch checkpoint"):
        read(path, "pth")


@pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], {"state_dict": {"a": "text"}}])
def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(CheckpointError, match=r"x\.pth"):
        read(write(tmp_path / "x.pth", content, zipped=True), "pth")


def test_unknown_format_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pth"):
        read(tmp_path / "x", "pht")
