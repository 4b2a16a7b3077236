"""The index of the cache: what it says is believed only in its form, and nothing outside the cache is touched."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import QUICK, FileServer

from zoo.checkpoints.index import Index, key_of
from zoo.checkpoints.store import CheckpointStore

SHA = "0123456789abcdef" * 4
URL = "https://host/a.pth"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FileServer() as server:
        yield server


def test_what_was_noted_is_found(tmp_path: Path) -> None:
    index = Index(tmp_path / "index")
    assert index.find(URL) is None
    index.add(URL, SHA)
    assert index.find(URL) == SHA
    assert index.find("https://other/a.pth") is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "5", "null", "[]", "{}", '"sha256"', "[" * 100_000, "\x00", '{"url": NaN}', "1" * 5000),
        json.dumps({"url": URL, "sha256": 5}),
        json.dumps({"url": URL, "sha256": "/some/folder"}),
        json.dumps({"url": URL, "sha256": "../" * 21 + "a"}),
        json.dumps({"url": URL, "sha256": SHA.upper()}),
        json.dumps({"url": "https://other/a.pth", "sha256": SHA}),
        json.dumps({"url": URL, "sha256": SHA, "path": "/some/folder"}),
        '{"url": "\\ud800", "sha256": "' + SHA + '"}',
        f'{{"url": "{URL}", "sha256": "{SHA}", "sha256": "{SHA}"}}',
    ],
)
def test_a_damaged_entry_is_set_aside_with_one_warning(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    index = Index(tmp_path)
    path = index.path(URL)
    path.write_text(text)
    assert index.find(URL) is None
    assert index.find(URL) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.getMessage()
    assert path.with_suffix(".damaged").read_text() == text
    index.add(URL, SHA)
    assert index.find(URL) == SHA


def test_an_entry_that_names_a_folder_removes_nothing_there(server: FileServer, tmp_path: Path) -> None:
    """`root / "/a/folder"` is the folder itself: its files would not have the digest, and be removed as damaged."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    store = CheckpointStore(tmp_path / "cache", policy=QUICK)
    url = server.serve("/a.pth", b"weights")
    index = Index(tmp_path / "cache" / "index")
    index.add(url, str(mine))
    assert store.fetch([url], published_prefix=None).path.read_bytes() == b"weights"
    assert (mine / "thesis.txt").read_text() == "years of work"
    assert index.find(url) is not None


def test_a_link_in_place_of_a_folder_removes_nothing_behind_it(server: FileServer, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    url = server.serve("/a.pth", b"weights")
    Index(tmp_path / "cache" / "index").add(url, SHA)
    folder = tmp_path / "cache" / "sha256" / SHA[:2] / SHA
    folder.parent.mkdir(parents=True)
    folder.symlink_to(mine)
    CheckpointStore(tmp_path / "cache", policy=QUICK).fetch([url], published_prefix=None)
    assert (mine / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("name", ["a%00b", "x" * 300, "..%5coutside", "%0a", "C%3Aoutside"])
def test_an_address_never_names_a_path(server: FileServer, tmp_path: Path, name: str) -> None:
    url = server.serve(f"/zoo/{name}", b"weights")
    server.files[f"/zoo/{name.replace('5c', '5C').replace('0a', '0A')}"] = server.files[f"/zoo/{name}"]
    stored = CheckpointStore(tmp_path / "cache", policy=QUICK).fetch([url], published_prefix=None)
    assert stored.path.parent.parent.parent == tmp_path / "cache" / "sha256"
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_keys_of_any_address() -> None:
    assert len(key_of("\ud800")) == 64
