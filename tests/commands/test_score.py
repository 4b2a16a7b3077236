"""`zoo score` from the command line."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import scored_set
from scored_set import detections, with_boxes

from zoo import cli

Capture = pytest.CaptureFixture[str]


def run(folder: Path, rows: Any, *more: str) -> int:
    predictions, truth = scored_set.write(folder, rows)
    return cli.main(["score", str(predictions), "--data", str(truth), *more])


def test_a_table_of_numbers(tmp_path: Path, capsys: Capture) -> None:
    assert run(tmp_path, detections()) == 0
    said = capsys.readouterr()
    first, _, _, number, *_ = said.out.splitlines()
    assert first.startswith(f"{len(detections()):,} detections, 60 images, ")
    assert number.split()[0] == "box_AP"
    assert said.err == ""


def test_every_digit_and_the_warnings_in_every_format(tmp_path: Path, capsys: Capture) -> None:
    rows = [row for row in detections() if row["score"] >= 0.3]
    assert run(tmp_path, rows) == 0
    assert "warning: no score is below" in capsys.readouterr().err
    assert run(tmp_path, rows, "--format", "json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [warning["kind"] for warning in said["warnings"]] == ["threshold"]
    assert said["refused"] == []
    assert run(tmp_path, rows, "--format", "csv") == 0
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert float(lines[0]["value"]) == said["numbers"]["box_AP"]
    assert lines[-1]["metric"] == "warning"
    assert "no score is below" in lines[-1]["value"]


@pytest.mark.parametrize("style", ["table", "json", "csv"])
def test_a_refusal_ends_with_the_fix_and_scores_nothing(style: str, tmp_path: Path, capsys: Capture) -> None:
    rows = with_boxes(lambda corner, extent, _: (corner, corner + extent))
    assert run(tmp_path, rows, "--format", style) == 1
    said = capsys.readouterr()
    assert "box_AP" not in said.out
    assert said.err.splitlines()[-1].startswith("next: write (x, y, width, height)")
    assert "is not scored: xyxy" in said.err
    if style == "json":
        assert [one["kind"] for one in json.loads(said.out)["refused"]] == ["xyxy"]


def test_an_entry_shows_what_was_published(tmp_path: Path, capsys: Capture) -> None:
    assert run(tmp_path, detections(), "--entry", "mmdet_faster_rcnn_r50_fpn_1x", "--format", "json") == 0
    said = json.loads(capsys.readouterr().out)
    outcome = said["verdicts"]["box_AP"]
    assert outcome["published"] == "37.4"
    assert outcome["verdict"] == "NOT-COMPARED"
    assert outcome["measured"] == said["numbers"]["box_AP"]


def test_a_folder_with_annotations(tmp_path: Path, capsys: Capture) -> None:
    predictions, truth = scored_set.write(tmp_path, detections())
    (tmp_path / "set").mkdir()
    assert cli.main(["score", str(predictions), "--data", str(tmp_path / "set")]) == 2
    assert "no val annotations" in capsys.readouterr().err
    truth.rename(tmp_path / "set" / "instances_val2017.json")
    assert cli.main(["score", str(predictions), "--data", str(tmp_path / "set")]) == 0
    capsys.readouterr()
    assert cli.main(["score", str(predictions), "--data", str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("next: give the annotations")


def test_a_folder_with_several_annotation_files_is_told_how_to_name_one(tmp_path: Path, capsys: Capture) -> None:
    predictions, truth = scored_set.write(tmp_path, detections())
    annotations = tmp_path / "coco" / "annotations"
    annotations.mkdir(parents=True)
    for kind in ("instances", "person_keypoints"):
        (annotations / f"{kind}_val2017.json").write_bytes(truth.read_bytes())
    assert cli.main(["score", str(predictions), "--data", str(tmp_path / "coco")]) == 2
    assert capsys.readouterr().err.rstrip().endswith(f"choose one with --data {tmp_path / 'coco' / 'FILE'}")
    chosen = str(annotations / "instances_val2017.json")
    assert cli.main(["score", str(predictions), "--data", chosen]) == 0


def test_torch_is_not_imported(tmp_path: Path) -> None:
    predictions, truth = scored_set.write(tmp_path, detections())
    program = (
        "import sys; from zoo import cli; "
        f"assert cli.main(['score', {str(predictions)!r}, '--data', {str(truth)!r}, '--entry', 'yolov8n']) == 0; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
