"""Checkpoint files made to hurt what reads them, small enough to be made by code."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
ORDERED = b"ccollections\nOrderedDict\n)R"


def text(value: str) -> bytes:
    """Instructions for a text."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    """Instructions for a whole number of any size."""
    return b"I%d\n" % value


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(number(value) for value in values) + b"t"


def stored(count: int, key: str = "0", kind: str = "FloatStorage") -> bytes:
    """Instructions for values that lie outside of the pickle."""
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(count) + b"tQ"


def as_legacy(program: bytes) -> bytes:
    """A pickle as the old format has it, whose values may be a part of others."""
    return program.replace(b"tQ", b"NtQ")


def tensor(
    count: int, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *, values: bytes | None = None
) -> bytes:
    """Instructions for a tensor of the values "0"."""
    place = number(offset) + numbers(size) + numbers(stride)
    return TENSOR + b"(" + (values or stored(count)) + place + b"\x89" + ORDERED + b"tR"


def state_dict(value: bytes, key: str = "w", *, more: bytes = b"") -> bytes:
    """A pickle of a state dict with one value."""
    return b"\x80\x02}" + text(key) + value + b"s" + more + b"."


def archive(path: Path, program: bytes, records: Mapping[str, bytes] | None = None, *, compression: int = 0) -> Path:
    """A zip archive as torch.save writes them, around a pickle written by hand."""
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("x/data.pkl", program)
        for key, content in (records if records is not None else {"0": bytes(16)}).items():
            file.writestr(f"x/data/{key}", content)
    return path


def legacy(path: Path, program: bytes, *, keys: bytes | None = None, values: bytes | None = None) -> Path:
    """A file as torch.save wrote them before version 1.6."""
    start = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2)
    start += pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": {}}, 2)
    end = keys if keys is not None else pickle.dumps(["0"], 2)
    path.write_bytes(start + program + end + (values if values is not None else struct.pack("<q", 4) + bytes(16)))
    return path


FLOATS = tensor(4, 0, (4,), (1,))
DEEP = 50_000
HUGE = 1 << 40
SET = b"c__builtin__\nset\nh\0\x85R"
ENCODE = b"c_codecs\nencode\nh\0\x85R"

PROGRAMS: dict[str, bytes] = {
    # lengths and places that are not there
    "a place of the memo far out": state_dict(FLOATS, more=b"Nr" + struct.pack("<I", 1 << 28) + b"0"),
    "a text longer than the file": state_dict(b"X\xff\xff\xff\x7fabc"),
    "bytes longer than the file": state_dict(b"\x8e" + struct.pack("<Q", HUGE) + b"abc"),
    "a bytearray longer than the file": state_dict(b"\x96" + struct.pack("<Q", HUGE) + b"abc"),
    "a frame longer than the file": b"\x80\x04\x95" + struct.pack("<Q", HUGE) + b"}.",
    "a number longer than the file": state_dict(b"\x8b" + struct.pack("<i", 1 << 30) + b"abc"),
    "a negative length": state_dict(b"T" + struct.pack("<i", -5) + b"abc"),
    "a line without an end": b"\x80\x02c" + b"a" * 100_000,
    "digits without an end": state_dict(b"I" + b"9" * 60_000 + b"\n"),
    "a place of the memo that is empty": state_dict(b"h\x07"),
    # nesting
    "a deep tuple as a key": b"\x80\x02})" + b"\x85" * DEEP + b"Ns.",
    "a deep tuple in a set": b"\x80\x04\x8f()" + b"\x85" * DEEP + b"\x90.",
    "a deep frozenset": b"\x80\x04(" + b"(" * 1000 + b"\x91" * 1000 + b"1}.",
    "deep lists": b"\x80\x02" + b"]" * DEEP + b"a" * (DEEP - 1) + b".",
    "deep dicts": state_dict(b"}" + b"K\x01}" * 5000 + b"s" * 5000),
    "a tuple doubled": b"\x80\x02})" + b"2\x86" * 60 + b"Ns.",
    "a doubled tuple as the name of a tensor": b"\x80\x02})" + b"2\x86" * 60 + FLOATS + b"s.",
    "a doubled list as a tensor": state_dict(b"]q\0" + b"]h\0ah\0aq\0" * 60),
    "marks without values": b"\x80\x02" + b"(" * DEEP + b".",
    "a set copied over and over": b"\x80\x02](" + b"K\x01" * 2000 + b"eq\0" + SET * 3000 + b"t.",
    "bytes copied over and over": b"\x80\x02(" + text("a" * 2000) + b"q\0" + ENCODE * 3000 + b"t.",
    # the wrong kind of thing
    "a list as a key": state_dict(FLOATS, more=b"]Ns"),
    "a call of a text": state_dict(text("eval") + text("1") + b"\x85R"),
    "a call with a list": state_dict(b"c__builtin__\nset\n]R"),
    "items of a text": state_dict(text("a") + b"K\1K\2s"),
    "members of a dict": state_dict(b"}K\1a"),
    "an odd number of items": b"\x80\x02}(K\1K\2K\3u.",
    "a number from a text": state_dict(b"c__builtin__\nset\n" + text("abc") + b"\x85R"),
    "nothing on the stack": b"\x80\x020000.",
    "two objects": b"\x80\x02NN.",
    "an unknown instruction": b"\x80\x02}\xf3.",
    "a protocol of the future": b"\x80\x09}.",
    "a buffer outside": b"\x80\x05\x97.",
    "a persistent name": b"\x80\x02Pstorage\n.",
    # tensors
    "a stride of nothing": state_dict(tensor(4, 0, (HUGE,), (0,))),
    "a stride of nothing in one of two": state_dict(tensor(4, 0, (2, 3), (1, 0))),
    "overlapping rows": state_dict(tensor(4, 0, (3, 2), (1, 1))),
    "beyond its values": state_dict(tensor(4, 1, (4,), (1,))),
    "far beyond its values": state_dict(tensor(4, 0, (2,), (HUGE,))),
    "a negative offset": state_dict(tensor(4, -4, (4,), (1,))),
    "a negative stride": state_dict(tensor(4, 3, (4,), (-1,))),
    "a negative size": state_dict(tensor(4, 0, (-4,), (1,))),
    "a huge empty shape": state_dict(tensor(4, 0, (0, 1 << 62, 1 << 62), (1, 1, 1))),
    "more sizes than strides": state_dict(tensor(4, 0, (2, 2), (1,))),
    "a thousand dimensions": state_dict(tensor(4, 0, (1,) * 1000, (1,) * 1000)),
    "a size of a text": state_dict(
        TENSOR + b"(" + stored(4) + b"K\0" + text("ab") + numbers((1, 1)) + b"\x89" + ORDERED + b"tR"
    ),
    "values of another number": state_dict(tensor(5, 0, (4,), (1,))),
    "values of a negative number": state_dict(tensor(-4, 0, (4,), (1,))),
    "values without a record": state_dict(tensor(0, 0, (4,), (1,), values=stored(4, "7"))),
    "values outside of the archive's folder": state_dict(tensor(0, 0, (4,), (1,), values=stored(4, "../data.pkl"))),
    "values of an unknown type": state_dict(tensor(0, 0, (4,), (1,), values=stored(4, kind="QInt8Storage"))),
    "a tensor of a tensor": state_dict(tensor(0, 0, (4,), (1,), values=FLOATS)),
    "a tensor of nothing": state_dict(tensor(0, 0, (4,), (1,), values=b"N")),
    "a tensor with too few words": state_dict(TENSOR + b")R"),
}
"""Pickles that must be refused, each within its own size."""


def many_tensors_of_the_same_values() -> bytes:
    """A state dict whose tensors would take the file's size many times over to look at."""
    first = b"q\1" + b"".join(text(f"w{i}") + b"h\1" for i in range(200))
    return b"\x80\x02}(" + text("w") + FLOATS + first + b"u."


def _lying(change: Callable[[bytearray, int, int], None]) -> bytes:
    """An archive whose headers are changed: by its bytes and the places of the first and the last entry."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        target.writestr("x/data.pkl", state_dict(FLOATS))
        target.writestr("x/data/0", bytes(16))
    content = bytearray(file.getvalue())
    change(content, content.index(b"PK\1\2"), content.rindex(b"PK\1\2"))
    return bytes(content)


def _set(at: int, form: str, *values: int, last: bool = True) -> Callable[[bytearray, int, int], None]:
    def change(content: bytearray, first_entry: int, last_entry: int) -> None:
        struct.pack_into(form, content, (last_entry if last else first_entry) + at, *values)

    return change


ARCHIVES: dict[str, bytes] = {
    "a size that is not there": _lying(_set(20, "<II", 1 << 30, 1 << 30)),
    "two sizes": _lying(_set(24, "<I", 15)),
    "a place that is no record": _lying(_set(42, "<I", 3)),
    "a place beyond the file": _lying(_set(42, "<I", 1 << 30)),
    "two names of one record": _lying(_set(42, "<I", 0)),
    "an encrypted record": _lying(_set(8, "<H", 1)),
    "a compressed record": _lying(_set(10, "<H", 8)),
    "a compressed pickle": _lying(_set(10, "<H", 8, last=False)),
}


def torch_file(content: object, *, zipped: bool = True) -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()
