"""One run at a time in a folder, nothing of an earlier one, and the run that a record is of."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from made_up import make_record

from zoo.errors import UsageError, ZooError
from zoo.results.record import Record
from zoo.results.run_folder import OUTPUTS, PREDICTIONS, RunFolders, leave_standing, taken


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


def test_a_record_that_stands_keeps_its_detections_and_no_others(tmp_path: Path) -> None:
    record = make_record(measured={"box_AP": 37.4})
    record.write(tmp_path / "record.json")
    (tmp_path / PREDICTIONS).write_text("[]", encoding="utf-8")
    more = make_record(measured={"box_AP": 37.4, "fps": 60.0})
    leave_standing(tmp_path, more)
    assert Record.read(tmp_path / "record.json") == more
    assert (tmp_path / PREDICTIONS).is_file()
    other = make_record(measured={"box_AP": 37.4}, finished="2026-02-02T00:00:00+00:00")
    leave_standing(tmp_path, other)
    assert Record.read(tmp_path / "record.json") == other
    assert not (tmp_path / PREDICTIONS).exists()


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


# --- the run of a record ----------------------------------------------------------------------------


def leave(folder: Path, entry: str = "mmdet_a", *, detections: bool = True, **more: Any) -> Record:
    folder.mkdir(parents=True)
    record = make_record(entry, **more)
    record.write(folder / "record.json")
    if detections:
        (folder / PREDICTIONS).write_text("[]")
    return record


def test_a_run_is_known_by_its_composition_and_the_end_of_its_accuracy(tmp_path: Path) -> None:
    first = leave(tmp_path / "outputs" / "mmdet_a" / "run-0", finished="2026-01-01T00:00:00+00:00")
    second = leave(tmp_path / "multirun" / "day" / "0_mmdet_a", finished="2026-01-02T00:00:00+00:00")
    leave(tmp_path / "outputs" / "mmdet_b" / "run-0", "mmdet_b", finished="2026-01-01T00:00:00+00:00")
    runs = RunFolders([tmp_path / "outputs", tmp_path / "multirun", tmp_path / "absent"])
    found = [runs.of(record) for record in (first, second)]
    assert [run and run.folder.name for run in found] == ["run-0", "0_mmdet_a"]
    assert found[0] is not None
    assert found[0].path == tmp_path / "outputs" / "mmdet_a" / "run-0" / PREDICTIONS
    assert found[0].record == first
    assert [run.folder.name for run in runs.of_entry("mmdet_a")] == ["0_mmdet_a", "run-0"]
    changed = dataclasses.replace(first, identity=dataclasses.replace(first.identity, row="e" * 64))
    assert runs.of(changed) is None
    assert runs.of(make_record(finished="2026-01-03T00:00:00+00:00")) is None
    assert runs.of(make_record(status="failed", reason="out of memory")) is None


def test_runs_without_detections_or_accuracy_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = leave(tmp_path / "a", detections=False)
    leave(tmp_path / "b", measured={"fps": 1.0})
    assert RunFolders([tmp_path]).of(record) is None
    assert not caplog.messages


def test_a_damaged_record_is_said_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = leave(tmp_path / "a")
    leave(tmp_path / "b")
    (tmp_path / "b" / "record.json").write_text("{")
    assert RunFolders([tmp_path]).of(record) is not None
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"warning: {tmp_path / 'b' / 'record.json'}: not valid JSON")
