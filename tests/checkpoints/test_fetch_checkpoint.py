"""Records name files so that they mean the same on every machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.checkpoints.fetch_checkpoint import EMBEDDED, checkpoint_info, portable_path
from zoo.checkpoints.store import StoredFile
from zoo.files import PROJECT


def test_no_folder_of_this_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    assert portable_path(EMBEDDED / "a.safetensors") == "package:a.safetensors"
    assert portable_path(tmp_path / "cache" / "sha256" / "ab" / "abcd" / "a.pth") == "cache:sha256/ab/abcd/a.pth"
    assert portable_path(PROJECT / "outputs" / "run" / "weights.pth") == "outputs/run/weights.pth"
    assert portable_path(tmp_path / "home" / "a.pth") == "a.pth"
    assert portable_path(Path("b.pth")) == "b.pth"


def test_a_cache_inside_the_project_is_still_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(PROJECT / "cache"))
    assert portable_path(PROJECT / "cache" / "index" / "a.pth") == "cache:index/a.pth"


def test_a_link_is_named_by_what_it_leads_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "link"))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert portable_path(tmp_path / "real" / "a.pth") == "cache:a.pth"


def test_checkpoint_info_is_what_goes_into_a_record(tmp_path: Path) -> None:
    stored = StoredFile(path=tmp_path / "a.pth", url=None, sha256="0" * 64, size=1, hash_evidence="other weights")
    assert checkpoint_info(stored) == {
        "path": "a.pth", "url": None, "sha256": "0" * 64, "size": 1, "hash_evidence": "other weights",
    }  # fmt: skip
