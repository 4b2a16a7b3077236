"""Paddle's files: what is in them, read without Paddle, and what is refused. The files are made here."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzzing import fuzz
from parity import SHARED, needs_shared

from zoo.checkpoints.readers import read_contents
from zoo.errors import CheckpointError, UnsafePickleError

WEIGHT = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
ARRAYS: dict[str, Any] = {"conv.weight": WEIGHT, "norm._mean": np.array([1.5, -2.0], dtype=np.float32)}
NAMES = {"StructuredToParameterName@@": {"conv.weight": "conv2d_0.w_0"}}


def variable(values: np.ndarray[Any, Any], kind: int = 5, levels: int = 0, packed: bool = False) -> bytes:
    """A variable as the static graph writes it into a file of its own."""
    sizes = bytes(values.shape)
    dimensions = b"\x12" + bytes((len(sizes),)) + sizes if packed else b"".join(b"\x10" + bytes((s,)) for s in sizes)
    description = b"\x08" + bytes((kind,)) + dimensions
    detail = struct.pack("<Q", levels) + b"".join(struct.pack("<Q", 8) + bytes(8) for _ in range(levels))
    return struct.pack("<I", 0) + detail + struct.pack("<Ii", 0, len(description)) + description + values.tobytes()


def archive(members: dict[str, bytes], change: Callable[[tarfile.TarInfo], None] = lambda _: None) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            change(info)
            file.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def read(tmp_path: Path, content: bytes) -> dict[str, torch.Tensor]:
    path = tmp_path / "model.pdparams"
    path.write_bytes(content)
    return read_contents(path, "pdparams").tensors


def assert_arrays(tensors: dict[str, torch.Tensor]) -> None:
    assert tensors.keys() == ARRAYS.keys()
    assert all(torch.equal(tensors[name], torch.from_numpy(array)) for name, array in ARRAYS.items())


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_mapping_of_arrays(tmp_path: Path, protocol: int) -> None:
    assert_arrays(read(tmp_path, pickle.dumps(ARRAYS | NAMES, protocol=protocol)))
    nested = {"model": {name: ("variable_0", array) for name, array in ARRAYS.items()}, "epoch": 1}
    assert_arrays(read(tmp_path, pickle.dumps(nested, protocol=protocol)))
    contents = read_contents(tmp_path / "model.pdparams", "pdparams")
    assert contents.dropped == {"beside the weights": ["epoch"]}


def test_kinds_of_numbers(tmp_path: Path) -> None:
    half = torch.tensor([1.5, -3.0], dtype=torch.bfloat16)
    arrays = {
        "f2": np.array([1, 2], np.float16),
        "i8": np.array([[-1]], np.int64),
        "columns": np.asfortranarray(WEIGHT[0]),
        "bf16": half.view(torch.int16).numpy().view(np.uint16),
        "empty": np.empty((0, 3), np.float32),
        "scalar": np.array(7.0, np.float32),
    }
    found = read(tmp_path, pickle.dumps(arrays, protocol=2))
    assert torch.equal(found["bf16"], half)
    assert torch.equal(found["columns"], torch.from_numpy(WEIGHT[0]))
    assert (found["f2"].dtype, found["i8"].tolist()) == (torch.float16, [[-1]])
    assert (tuple(found["empty"].shape), float(found["scalar"])) == ((0, 3), 7.0)


def test_arrays_that_were_cut_are_put_together(tmp_path: Path) -> None:
    flat = WEIGHT.ravel()
    pieces = {"conv.weight@@.0": flat[:10], "conv.weight@@.1": flat[10:]}
    table = {"conv.weight": {"OriginShape": (2, 3, 4), "slices": list(pieces)}}
    content = pickle.dumps({**pieces, "norm._mean": ARRAYS["norm._mean"], "UnpackBigParamInfor@@": table}, protocol=2)
    assert_arrays(read(tmp_path, content))
    with pytest.raises(CheckpointError, match="does not say what conv"):
        read(tmp_path, pickle.dumps({**ARRAYS, "UnpackBigParamInfor@@": {"conv.weight": 1}}, protocol=2))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("levels", [0, 2])
def test_an_archive_of_variables(tmp_path: Path, packed: bool, levels: int) -> None:
    members = {f"model/{name}": variable(array, levels=levels, packed=packed) for name, array in ARRAYS.items()}
    assert_arrays(read(tmp_path, archive({**members, "model/notes.txt": b"of somebody's own"})))


def test_an_archive_of_a_save(tmp_path: Path) -> None:
    members = {"a.pdopt": b"\x80\2}.", "a.pdparams": pickle.dumps(ARRAYS, protocol=2), "a.pdmodel": b"program"}
    assert_arrays(read(tmp_path, archive(members)))


def linked(info: tarfile.TarInfo) -> None:
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"


def device(info: tarfile.TarInfo) -> None:
    info.type = tarfile.CHRTYPE


def called(name: str) -> Callable[[tarfile.TarInfo], None]:
    return lambda info: setattr(info, "name", name)


PICKLE = pickle.dumps(ARRAYS, protocol=2)
WHOLE = archive({"m/a": variable(WEIGHT)})
FAULTY = {
    "no mapping": (pickle.dumps([WEIGHT], protocol=2), "a list where a mapping"),
    "no array": (pickle.dumps({"a": 1}, protocol=2), "no array"),
    "cut": (PICKLE[:-40], "damaged, truncated"),
    "other file": (b"%PDF-1.4 and more", "neither a .pdparams nor a .tar"),
    "objects": (pickle.dumps({"a": np.array(["x"], dtype=object)}, protocol=2), "an array of"),
    "texts": (pickle.dumps({"a": np.array(["x"])}, protocol=2), "an array of the type 'U1'"),
    "big endian": (pickle.dumps({"a": WEIGHT.astype(">f4")}, protocol=2), "byte order '>'"),
    "link": (archive({"m/a": b""}, linked), "is a link, a device or sparse"),
    "device": (archive({"m/a": b""}, device), "is a link, a device or sparse"),
    "leaves": (archive({"m/a": variable(WEIGHT)}, called("../../a")), "leaves the folder"),
    "absolute": (archive({"m/a": variable(WEIGHT)}, called("/a")), "leaves the folder"),
    "double": (archive({"m/a": variable(WEIGHT), "n/a": variable(WEIGHT)}), "two members are called 'a'"),
    "nothing": (archive({"m/readme": b"words"}), "an archive without weights"),
    "cut archive": (WHOLE[:560], "damaged, truncated"),
    "cut variable": (archive({"m/a": variable(WEIGHT)[:-4]}), "bytes for a variable"),
    "kind": (archive({"m/a": variable(WEIGHT, kind=77)}), "a variable of type 77"),
    "levels": (archive({"m/a": struct.pack("<IQ", 0, 2**60) + bytes(40)}), "levels"),
}


@pytest.mark.parametrize(("content", "message"), FAULTY.values(), ids=FAULTY)
def test_what_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, content)


def test_a_hostile_file_is_refused_by_name(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return (__import__("os").system, (f"touch {tmp_path}/ran",))

    for content in (pickle.dumps({**ARRAYS, "x": Hostile()}, 2), pickle.dumps({**ARRAYS, "x": Hostile()}, 4)):
        with pytest.raises(UnsafePickleError, match="system"):
            read(tmp_path, archive({"a.pdparams": content}))
        with pytest.raises(UnsafePickleError, match="system"):
            read(tmp_path, content)
    assert not (tmp_path / "ran").exists()


def test_broken_files(tmp_path: Path) -> None:
    documents = [
        PICKLE,
        pickle.dumps(ARRAYS | NAMES, protocol=4),
        WHOLE,
        archive({"a.pdparams": PICKLE}),
        variable(WEIGHT),
    ]
    fuzz("pdparams", lambda content: read(tmp_path, content or b"\0"), documents)


@needs_shared
def test_real_files_of_paddle(tmp_path: Path) -> None:
    samples = SHARED / "parity" / "paddle" / "samples"
    of_names = {name: read_contents(samples / name, "pdparams").tensors for name in (
        "dygraph_nested.pdparams", "dygraph_protocol2.pdparams", "dygraph_protocol4.pdparams",
        "static_save.pdparams", "static_vars.tar",
    )}  # fmt: skip
    first, *others = [of_names[f"dygraph_{kind}.pdparams"] for kind in ("nested", "protocol2", "protocol4")]
    for other in others:
        assert first.keys() == other.keys()
        assert all(torch.equal(first[name], other[name]) for name in first)
    save, variables = of_names["static_save.pdparams"], of_names["static_vars.tar"]
    assert save.keys() == variables.keys()
    assert all(torch.equal(save[name], variables[name]) for name in save)
    assert tuple(first["fc.weight"].shape) == tuple(save["fc6_w"].shape) == (8, 5)
