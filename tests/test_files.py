"""JSON of ours as it is read back: JSON, or a ValueError that says what is wrong with it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from zoo.errors import ZooError
from zoo.files import LARGEST_JSON, files_below, read_json, remove_rests


def test_json_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": [1, 2.5, null, "\\u00e4\\ud83d\\ude00"]}', encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, None, "\u00e4\U0001f600"]}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe", "can't decode"),
        (b"[" * 100_000, "nested deeper than 64 levels"),
        (b'"\\ud800"', "a text that is no Unicode"),
        (b'{"a": 1, "b": 2, "b": 2}', "the key 'b' stands there twice"),
        (b"[NaN]", "NaN is no JSON number"),
        (b"[-Infinity]", "-Infinity is no JSON number"),
        (b"1" * 5000, "4300 digits"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, data: bytes, problem: str) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(ValueError, match=problem):
        read_json(tmp_path / "a.json")


def test_amounts_are_limited(tmp_path: Path) -> None:
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(LARGEST_JSON + 1)
    with pytest.raises(ValueError, match="larger than 64 MiB"):
        read_json(tmp_path / "a.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(ValueError, match="not a regular file"):
        read_json(tmp_path / "a.json")


def test_the_rest_of_a_killed_writer_goes_and_nothing_else(tmp_path: Path) -> None:
    others = [tmp_path / name for name in ("a.json", ".b.json.x1.part", "a.json.part", ".a.json.lock")]
    for path in (*others, tmp_path / ".a.json.k2j3.part"):
        path.write_text("", encoding="utf-8")
    remove_rests(tmp_path / "a.json")
    assert sorted(tmp_path.iterdir()) == sorted(others)


def test_a_folder_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.json").touch()
    assert files_below(tmp_path, "*/*.json") == [tmp_path / "a" / "1.json", tmp_path / "b" / "1.json"]
    assert files_below(tmp_path / "none", "*/*.json") == []

    scandir = os.scandir

    def refused(path: str) -> object:
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)  # root may read everything
    with pytest.raises(ZooError, match=r"cannot read .*b: Permission denied"):
        files_below(tmp_path, "*/*.json")
