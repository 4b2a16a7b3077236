"""What lies in the cache and in the lock file, broken: an entry, or an error, and nothing outside is touched."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from fuzzing import fuzz

from zoo.checkpoints.index import Index
from zoo.checkpoints.pins import Pins

URL = "http://127.0.0.1:9/a.pth"
SHA = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def _no_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, logger="zoo")


def test_pins(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.lock"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        pins = Pins([], path)
        pins.find([URL])
        pins.add(["http://other/b.pth"], sha256=SHA, size=1)

    fuzz("pins", read, [{URL: {"sha256": SHA, "size": 7, "pinned": "2026-01-31"}}])


def test_the_index_of_the_cache(tmp_path: Path) -> None:
    index = Index(tmp_path)

    def read(data: bytes) -> None:
        index.path(URL).write_bytes(data)
        found = index.find(URL)
        assert found is None or re.fullmatch("[0-9a-f]{64}", found)
        assert (found is None) == index.path(URL).with_suffix(".damaged").exists()
        index.path(URL).with_suffix(".damaged").unlink(missing_ok=True)

    fuzz("index", read, [{"url": URL, "sha256": SHA}])
