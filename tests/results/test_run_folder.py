"""One run at a time in a folder, and nothing of an earlier one."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo.errors import UsageError, ZooError
from zoo.results.run_folder import OUTPUTS, taken


def test_what_an_earlier_run_left_is_gone_and_what_a_training_needs_stays(tmp_path: Path) -> None:
    kept = [tmp_path / "metrics.csv", tmp_path / "weights.pth", tmp_path / "checkpoints" / "step_1.pt"]
    kept[-1].parent.mkdir()
    for path in (*(tmp_path / name for name in OUTPUTS), *kept):
        path.write_text("earlier")
    with taken(tmp_path):
        assert not [name for name in OUTPUTS if (tmp_path / name).exists()]
        assert all(path.read_text() == "earlier" for path in kept)
        (tmp_path / "record.json").write_text("new")
    assert (tmp_path / "record.json").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".lock",
        "checkpoints",
        "metrics.csv",
        "record.json",
        "weights.pth",
    ]


def test_a_second_run_is_refused_and_takes_nothing_away(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    with taken(folder):
        (folder / "record.json").write_text("first")
        with pytest.raises(UsageError, match="another run is at work"), taken(folder):
            pytest.fail("two runs in one folder")
        assert (folder / "record.json").read_text() == "first"
    with taken(folder):  # free again
        pass


def test_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), taken(tmp_path):
        raise RuntimeError
    with taken(tmp_path):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ZooError, match="cannot write"), taken(tmp_path / "file" / "run"):
        pytest.fail("no such folder")
