"""Which browser the tests of the report look through."""

from __future__ import annotations

from pathlib import Path

import pytest
from chromium import NAMES, find_chromium


def make_program(folder: Path, name: str) -> str:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_the_first_of_the_known_names_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZOO_CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_chromium() is None
    last = make_program(tmp_path, NAMES[-1])
    assert find_chromium() == last
    first = make_program(tmp_path, NAMES[0])
    assert find_chromium() == first


def test_the_variable_goes_before_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_program(tmp_path, NAMES[0])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ZOO_CHROMIUM", "/opt/other")
    assert find_chromium() == "/opt/other"
