"""Hostile checkpoint files: amounts are bounded by the file's own size; only regular files of known kinds are read."""

from __future__ import annotations

import json
import mmap
import os
import pickle
import struct
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import hostile_files
import pytest
import torch
from frameworks import Runs
from hostile_files import FLOATS, archive, as_legacy, legacy, state_dict, stored, tensor, text

from zoo.catalog.entry import Checkpoint, read_entry
from zoo.checkpoints.containers.file_bytes import FileBytes
from zoo.checkpoints.contents import Contents
from zoo.checkpoints.convert import Constant, convert
from zoo.checkpoints.own import read_own
from zoo.checkpoints.readers import read
from zoo.checkpoints.store import CheckpointStore
from zoo.errors import CheckpointError, ConversionError, UnsafePickleError

ROOM = 60
"""Bytes of memory that a byte of a file may take while it is read, and..."""

SPARE = 4 << 20
"""...what every file may."""


@pytest.fixture(scope="module")
def published() -> Checkpoint:
    return read_entry("mmdet_faster_rcnn_r50_fpn_1x").checkpoint


def read_measured(path: Path, published: Checkpoint) -> Contents:
    """Read a file as the user's own, with an eye on memory."""
    tracemalloc.start()
    try:
        return read_own(path, published)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < ROOM * path.stat().st_size + SPARE


# --- amounts in pickles ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["pth", "ultralytics"])
@pytest.mark.parametrize("case", hostile_files.PROGRAMS)
def test_amounts_are_bounded_by_the_file(tmp_path: Path, published: Checkpoint, kind: str, case: str) -> None:
    path = archive(tmp_path / "hostile.pth", hostile_files.PROGRAMS[case])
    if case == "a place of the memo far out":  # costs nothing here, so that there is nothing to refuse
        assert list(read_measured(path, published).tensors) == ["w"]
        return
    with pytest.raises(CheckpointError, match=r"hostile\.pth: "):
        read_measured(path, published)
    with pytest.raises(CheckpointError, match=r"hostile\.pth: "):
        read(path, kind)


@pytest.mark.parametrize("case", hostile_files.PROGRAMS)
def test_amounts_are_bounded_in_old_files_too(tmp_path: Path, published: Checkpoint, case: str) -> None:
    program = as_legacy(hostile_files.PROGRAMS[case])
    path = legacy(tmp_path / "hostile.pth", program)
    if case == "a place of the memo far out":
        assert list(read_measured(path, published).tensors) == ["w"]
        return
    with pytest.raises(CheckpointError, match=r"hostile\.pth: "):
        read_measured(path, published)


def test_the_programs_are_no_duds(tmp_path: Path, published: Checkpoint) -> None:
    for path in (
        archive(tmp_path / "zip", state_dict(FLOATS)),
        legacy(tmp_path / "legacy", as_legacy(state_dict(FLOATS))),
    ):
        assert read_own(path, published).tensors["w"].equal(torch.zeros(4))


def test_the_number_of_instructions_is_bounded(tmp_path: Path, published: Checkpoint) -> None:
    path = archive(tmp_path / "w.pth", b"\x80\x02" + b"N0" * 600_000 + b"}.")
    with pytest.raises(CheckpointError, match="more than 1,000,000 instructions"):
        read_own(path, published)


def test_tensors_that_share_values_are_counted(tmp_path: Path, published: Checkpoint) -> None:
    path = archive(tmp_path / "w.pth", hostile_files.many_tensors_of_the_same_values())
    with pytest.raises(CheckpointError, match="201 tensors of the same values"):
        read_own(path, published)


def test_constants_are_compared_by_their_number_first() -> None:
    endless = torch.zeros(1).expand(1 << 40)
    with pytest.raises(ConversionError, match="other values than the method fixes"):
        convert({"dfl": endless}, [Constant("dfl", range(16))], {})


# --- what it asks for -----------------------------------------------------------------------------

NAMES = (
    *("os system", "posix system", "nt system", "builtins eval", "builtins exec", "builtins compile"),
    *("__builtin__ eval", "builtins __import__", "builtins open", "builtins setattr", "builtins vars"),
    *("subprocess Popen", "importlib import_module", "operator attrgetter", "operator methodcaller", "codecs encode"),
    *("pickle loads", "torch load", "torch.serialization load", "torch.storage _load_from_bytes", "torch.hub load"),
    *("torch.jit load", "torch.utils.model_zoo load_url", "runpy run_path", "shutil rmtree", "functools reduce"),
    *("webbrowser open", "socket socket", "ctypes CDLL", "sys exit", "types FunctionType", "copyreg add_extension"),
    *("torch._utils _import_dotted_name", "pathlib Path.unlink", "numpy core.os.system", "torch.nn __loader__.load"),
    *("mmengine __class__", "collections namedtuple", "torch.utils.cpp_extension load", "zipimport zipimporter"),
)
"""Module and name of what hostile files call, or could."""


@pytest.mark.parametrize("called", [True, False], ids=["called", "named"])
@pytest.mark.parametrize("protocol", [0, 4])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_training_leaves(
    tmp_path: Path, published: Checkpoint, name: str, protocol: int, called: bool
) -> None:
    module, function = name.split()
    spelt = f"c{module}\n{function}\n".encode() if protocol == 0 else text(module) + text(function) + b"\x93"
    path = archive(
        tmp_path / "hostile.pth", state_dict(FLOATS, more=b"K\1" + spelt + (b")R" if called else b"") + b"s")
    )
    with pytest.raises(UnsafePickleError) as caught:
        read_own(path, published)
    assert f"hostile.pth: the file asks for {module}.{function}, " in caught.value.message


REACHED = {
    "an attribute of a type": b"c__builtin__\ngetattr\nc__builtin__\nset\n" + text("__subclasses__") + b"\x86R",
    "an attribute of a path": b"c__builtin__\ngetattr\ncpathlib\nPath\n" + text("unlink") + b"\x86R",
    "an attribute of an array": b"c__builtin__\ngetattr\ncnumpy\nndarray\n" + text("tofile") + b"\x86R",
    "an attribute of an attribute": b"c__builtin__\ngetattr\nc__builtin__\ngetattr\ncmmdet\nA\n"
    + (text("forward") + b"\x86R") * 2,
    "a private attribute": b"c__builtin__\ngetattr\ncmmdet\nA\n" + text("__globals__") + b"\x86R",
    "an attribute with a default": b"c__builtin__\ngetattr\ncmmdet\nA\n" + text("a") + b"N\x87R",
    "an attribute of nothing": b"c__builtin__\ngetattr\n)R",
    "another codec": b"c_codecs\nencode\n" + text("bf") + text("rot13") + b"\x86R",
    "a codec that is no text": b"c_codecs\nencode\n" + text("bf") + b"]\x86R",
    "a change of a class": b"cmmdet\nA\n}" + text("forward") + b"c__builtin__\nset\nsb",
    "a change of a function": b"c__builtin__\ngetattr\nN}" + text("a") + b"Ns\x86b",
    "the extension registry": b"\x82\x01",
    "the extension registry, far out": b"\x84\xff\xff\xff\x7f",
}


@pytest.mark.parametrize("case", REACHED)
def test_nothing_else_is_reached(tmp_path: Path, published: Checkpoint, case: str) -> None:
    path = archive(tmp_path / "hostile.pth", state_dict(FLOATS, more=b"K\1" + REACHED[case] + b"s"))
    with pytest.raises(UnsafePickleError, match="which is not on the allow-list; nothing was executed"):
        read_own(path, published)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_what_is_called_through_known_names_is_never_run(tmp_path: Path, published: Checkpoint, zipped: bool) -> None:
    mark = tmp_path / "executed"
    inner = Runs(os.system, f"touch {mark}")
    for hook in (Runs(set, [inner]), {"a": Runs(Runs, inner)}, Runs(torch.nn.Linear, 2, 2, state={"a": inner})):
        path = tmp_path / "hostile.pth"
        torch.save({"state_dict": {}, "hook": hook}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(UnsafePickleError):
            read_own(path, published)
    assert not mark.exists()


# --- archives -------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("case", hostile_files.ARCHIVES)
def test_archives_that_lie(tmp_path: Path, published: Checkpoint, case: str) -> None:
    path = tmp_path / "hostile.pth"
    path.write_bytes(hostile_files.ARCHIVES[case])
    with pytest.raises(CheckpointError, match=r"hostile\.pth: damaged"):
        read_measured(path, published)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["x/data/0", "x/data.pkl", "y/data.pkl"])
def test_records_are_there_once(tmp_path: Path, published: Checkpoint, name: str) -> None:
    path = archive(tmp_path / "hostile.pth", state_dict(FLOATS))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr(name, state_dict(FLOATS))
    with pytest.raises(CheckpointError, match=r"hostile\.pth: damaged"):
        read_own(path, published)


def test_a_deflated_pickle_is_not_inflated(tmp_path: Path, published: Checkpoint) -> None:
    program = state_dict(b"B" + struct.pack("<I", 1 << 26) + bytes(1 << 26))
    path = archive(tmp_path / "hostile.pth", program, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(CheckpointError, match=r"data\.pkl is compressed"):
        read_measured(path, published)


def test_a_directory_has_a_limit(tmp_path: Path, published: Checkpoint) -> None:
    path = archive(tmp_path / "hostile.pth", state_dict(FLOATS))
    content = bytearray(path.read_bytes())
    end = content.rindex(b"PK\5\6")
    filled = content[:end] + bytes(1 << 25) + content[end:]
    struct.pack_into("<I", filled, len(filled) - 22 + 12, (1 << 25) + end - content.index(b"PK\1\2"))
    path.write_bytes(filled)
    with pytest.raises(CheckpointError, match="a directory of"):
        read_own(path, published)


# --- files of before torch 1.6 --------------------------------------------------------------------

OLD_PROGRAM = as_legacy(state_dict(FLOATS))
OLD = {
    "no values": {"values": b""},
    "no values and no keys": {"values": b"", "keys": pickle.dumps([], 2)},
    "too few values": {"values": struct.pack("<q", 4) + bytes(15)},
    "another number of values": {"values": struct.pack("<q", 3) + bytes(12)},
    "a negative number": {"values": struct.pack("<q", -4) + bytes(16)},
    "a number beyond the file": {"values": struct.pack("<q", 1 << 60) + bytes(16)},
    "values of nobody": {"keys": pickle.dumps(["0", "7"], 2), "values": (struct.pack("<q", 4) + bytes(16)) * 2},
    "values twice": {"keys": pickle.dumps(["0", "0"], 2), "values": (struct.pack("<q", 4) + bytes(16)) * 2},
    "keys that are no list": {"keys": pickle.dumps({"0": 1}, 2)},
    "keys that are no text": {"keys": pickle.dumps([0], 2)},
}


@pytest.mark.parametrize("case", OLD)
def test_old_files_have_all_their_values(tmp_path: Path, published: Checkpoint, case: str) -> None:
    path = legacy(tmp_path / "hostile.pth", OLD_PROGRAM, **OLD[case])
    with pytest.raises(CheckpointError, match=r"hostile\.pth: damaged"):
        read_own(path, published)


@pytest.mark.parametrize("view", [(1, 3), (0, 4), (4, 0)])
def test_parts_of_values_as_the_oldest_files_have_them(
    tmp_path: Path, published: Checkpoint, view: tuple[int, int]
) -> None:
    begin, count = view
    described = b"(" + text("5") + b"K%cK%ct" % view + b"tQ"
    values = stored(4).replace(b"tQ", described)
    values_in_file = struct.pack("<q4f", 4, 0, 1, 2, 3)
    path = legacy(tmp_path / "old.pth", state_dict(tensor(0, 0, (count,), (1,), values=values)), values=values_in_file)
    tensors = read_own(path, published).tensors
    assert tensors["w"].equal(torch.arange(4.0)[begin : begin + count])


@pytest.mark.parametrize("view", [(2, 3), (0, 5)])
def test_parts_of_values_lie_within_them(tmp_path: Path, published: Checkpoint, view: tuple[int, int]) -> None:
    values = stored(4).replace(b"tQ", b"(" + text("5") + b"K%cK%ct" % view + b"tQ")
    path = legacy(tmp_path / "old.pth", state_dict(tensor(0, 0, (2,), (1,), values=values)))
    with pytest.raises(CheckpointError, match="a part of values 0 that is not there"):
        read_own(path, published)


# --- safetensors ----------------------------------------------------------------------------------


def safetensors(path: Path, header: Any, values: bytes = bytes(16), *, length: int | None = None) -> Path:
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(encoded) if length is None else length) + encoded + values)
    return path


def described(*places: tuple[int, int], dtype: Any = "F32", shape: Any = None) -> dict[str, Any]:
    return {
        f"w{i}": {
            "dtype": dtype,
            "shape": [(end - begin) // 4] if shape is None else shape,
            "data_offsets": [begin, end],
        }
        for i, (begin, end) in enumerate(places)
    }


SAFETENSORS: dict[str, Any] = {
    "a gap": described((0, 4), (8, 16)),
    "an overlap": described((0, 12), (8, 16)),
    "one place twice": described((0, 16), (0, 16)),
    "bytes of nobody": described((0, 12)),
    "beyond the file": described((0, 20)),
    "far beyond the file": described((0, 1 << 62), shape=[1 << 60]),
    "end before begin": described((8, 0), shape=[0]),
    "negative": described((-4, 12)),
    "another size": described((0, 16), shape=[3]),
    "a huge shape": described((0, 16), shape=[1 << 40, 1 << 40]),
    "a shape that wraps": described((0, 16), shape=[1 << 62, 1 << 62, 0]),
    "fractions": described((0, 16), shape=[4.0]),
    "truths": described((0, 16), shape=[True, 4]),
    "a shape that is no list": described((0, 16), shape="4"),
    "an unknown type": described((0, 16), dtype="F8_E4M3"),
    "a type that is no text": described((0, 16), dtype=[["F32"]]),
    "no description": {"w": 5},
    "a list": b"[1, 2]",
    "no JSON": b"{" + b"x" * 30,
    "no text": b'{"\xff": 1}',
    "deep": b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "one name twice": b'{"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, "w": {"dtype": "F32"}}',
    "nothing": {},
    "metadata alone": {"__metadata__": {"format": "pt"}},
}


@pytest.mark.parametrize("case", SAFETENSORS)
def test_safetensors_are_held_to_their_header(tmp_path: Path, published: Checkpoint, case: str) -> None:
    path = safetensors(tmp_path / "hostile.safetensors", SAFETENSORS[case])
    for reading in (lambda: read_measured(path, published), lambda: read(path, "safetensors")):
        with pytest.raises(CheckpointError, match=r"hostile\.safetensors: "):
            reading()


@pytest.mark.parametrize("length", [0, 7, 1 << 20, 1 << 62, (1 << 64) - 1])
def test_the_header_of_safetensors_is_in_the_file(tmp_path: Path, length: int) -> None:
    path = safetensors(tmp_path / "hostile.safetensors", described((0, 16)), length=length)
    with pytest.raises(CheckpointError, match=r"hostile\.safetensors: "):
        read(path, "safetensors")


def test_the_description_of_safetensors_is_no_dud(tmp_path: Path) -> None:
    path = safetensors(tmp_path / "w", described((0, 8), (8, 8), (8, 16)))
    assert [tuple(value.shape) for value in read(path, "safetensors").values()] == [(2,), (0,), (2,)]


# --- files ----------------------------------------------------------------------------------------


def in_tar(path: Path, member: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as archive_:
        archive_.addfile(member)
    return path


@pytest.mark.parametrize("kind", ["pth", "ultralytics", "own"])
@pytest.mark.parametrize("member_type", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE, tarfile.REGTYPE])
def test_a_tar_archive_is_never_unpacked(tmp_path: Path, published: Checkpoint, kind: str, member_type: bytes) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"x")
    outside.chmod(0o600)
    os.utime(outside, (1, 1))
    member = tarfile.TarInfo("storages")
    member.type, member.linkname, member.mode = member_type, str(outside), 0o777
    path = in_tar(tmp_path / "hostile.pth", member)
    with pytest.raises(CheckpointError, match=r"hostile\.pth: not a torch checkpoint \(a tar archive\)"):
        read_own(path, published) if kind == "own" else read(path, kind)
    status = outside.stat()
    assert (status.st_mode & 0o777, status.st_mtime) == (0o600, 1)


@pytest.mark.parametrize("content", [pickle.dumps({"w": 1}), pickle.dumps([1] * 1000, 4), b"MZ" * 200])
def test_other_kinds_are_never_given_to_torch(tmp_path: Path, published: Checkpoint, content: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.pth: not a torch"):
        read_own(tmp_path / "w.pth", published)


@pytest.mark.parametrize("kind", ["pth", "ultralytics", "safetensors", "own"])
def test_only_regular_files_are_read(tmp_path: Path, published: Checkpoint, kind: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "folder", tmp_path / "link", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(CheckpointError, match=r"not a regular file|Is a directory"):
            read_own(path, published) if kind == "own" else read(path, kind)
    with pytest.raises(CheckpointError, match="cannot be read: No such file"):
        read_own(tmp_path / "absent", published) if kind == "own" else read(tmp_path / "absent", kind)


def test_the_store_hashes_only_regular_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(CheckpointError, match="that is not a regular file"):
            CheckpointStore(tmp_path).register_local(path, urls=["https://x/y"], published_prefix=None)


def test_a_link_to_a_file_is_that_file(tmp_path: Path, published: Checkpoint) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "w.pth")
    (tmp_path / "last.pth").symlink_to(tmp_path / "w.pth")
    assert list(read_own(tmp_path / "last.pth", published).tensors) == ["w"]


@pytest.mark.parametrize("suffix", ["zip", "legacy", "safetensors"])
def test_a_file_that_is_cut_or_rewritten_keeps_its_weights_here(
    tmp_path: Path, published: Checkpoint, suffix: str
) -> None:
    from safetensors.torch import save_file

    path, state = tmp_path / "last", {"w": torch.arange(100_000.0)}
    if suffix == "safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=suffix == "zip")
    tensors = read_own(path, published).tensors
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
    assert tensors["w"].equal(state["w"])
    os.truncate(path, 0)
    assert tensors["w"].equal(state["w"])  # a mapped file would kill the process here


def test_a_file_that_is_cut_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pth"
    torch.save({"w": torch.zeros(100_000)}, path)

    def cut(*args: Any, **options: Any) -> mmap.mmap:
        os.truncate(path, 1000)
        return original(*args, **options)

    original = mmap.mmap
    monkeypatch.setattr("zoo.checkpoints.containers.file_bytes.mmap.mmap", cut)
    with pytest.raises(CheckpointError, match=r"last\.pth: it was cut to 1,000 of 40"):
        FileBytes(path)


def test_files_of_the_store_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    path = tmp_path / "w.pth"
    torch.save({"w": torch.zeros(1_000_000)}, path)
    resident = Path("/proc/self/smaps")
    if not resident.exists():
        pytest.skip("no list of mapped files here")
    tensors = read(path, "pth")
    assert str(path) in resident.read_text()
    tensors["w"].fill_(7)  # what is done to the weights stays in memory
    assert read(path, "pth")["w"].eq(0).all()
