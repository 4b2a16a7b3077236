"""`zoo explain` from the command line: faults that were put in are named, and nothing is tried twice.

All faults, and the runs without one, are in `tests/test_explained_faults.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from faulty_entries import RESULTS, FaultyEntry, boxes_of

from zoo import cli, pipeline
from zoo.commands.trial_runs import first_run, settings_of
from zoo.data.coco import CocoGroundTruth
from zoo.errors import ZooError
from zoo.measure.coco_eval.summary import coco_numbers
from zoo.measure.score.results_file import read_predictions
from zoo.results.record import Record

Capture = pytest.CaptureFixture[str]

IMAGES = 24
CHOSEN = [f"--switch={name}" for name in ("ten detections an image", "one pixel wider", "blue before red")]
"""Two switches that score again and one that runs again."""

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyEntry]:
    """A row that was measured."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        entry = FaultyEntry(tmp_path_factory.mktemp("row"), monkeypatch, "shapes_yolov8_p", IMAGES)
        entry.run()
        yield entry


def predictions() -> Path:
    """The detections of the run."""
    return next(Path("outputs").glob("*/run-0/predictions.json"))


def by_hand(row: FaultyEntry, rows: list[dict[str, Any]]) -> dict[str, float]:
    """What pycocotools gives for detections that were changed by hand."""
    file = row.folder / "by_hand.json"
    file.write_text(json.dumps(rows), encoding="utf-8")
    truth = CocoGroundTruth.load(row.data / "annotations" / "instances_val.json")
    return boxes_of(coco_numbers(truth, read_predictions(file, truth).columns, ("bbox",), "pycocotools"))


def test_detections_cut_at_ten_an_image(row: FaultyEntry, capsys: Capture) -> None:
    rows = sorted(json.loads(predictions().read_text(encoding="utf-8")), key=lambda one: -one["score"])
    images = {one["image_id"] for one in rows}
    row.publish(by_hand(row, [one for image in images for one in [r for r in rows if r["image_id"] == image][:10]]))
    status, said = row.explain(capsys, *CHOSEN)
    assert status == 0
    assert said["named"] == "ten detections an image"
    assert {outcome["verdict"] for outcome in said["verdicts"].values()} == {"EXPLAINED"}
    assert "3 switches tried" in said["verdicts"]["box_AP"]["reason"]
    assert [one["switch"] for one in said["tried"]] == [name.partition("=")[2] for name in CHOSEN]
    assert said["tried"][0]["meets"] == ["box_AP", "box_AP50", "box_AP75"]


def test_boxes_one_pixel_wider(row: FaultyEntry, capsys: Capture) -> None:
    rows = json.loads(predictions().read_text(encoding="utf-8"))
    for one in rows:
        one["bbox"][2:] = [side + 1 for side in one["bbox"][2:]]
    row.publish(by_hand(row, rows))
    status, said = row.explain(capsys, *CHOSEN)
    assert (status, said["named"]) == (0, "one pixel wider")


def test_a_run_of_before_a_row_said_more_of_itself(row: FaultyEntry) -> None:
    settings = settings_of(row.name, ["device=cpu", "workers=0"], RESULTS)
    record = first_run(settings, None)
    condition = {key: value for key, value in record.identity.condition.items() if key != "data.num_images"}
    assert condition != record.identity.condition
    older = replace(record, identity=replace(record.identity, condition=condition))
    older.write(next(path for path in RESULTS.rglob("*.json") if Record.read(path) == record))
    assert first_run(settings, None) == older
    with pytest.raises(ZooError, match="no run of"):
        first_run(settings_of(row.name, ["device=cpu", "batch_size=2"], RESULTS), None)


def test_colours_in_the_other_order(row: FaultyEntry, capsys: Capture) -> None:
    fault = row.run(["protocol.normalize.channels=bgr", "batch_size=4"], results=Path("elsewhere"))
    row.publish(boxes_of(fault.measured))
    status, said = row.explain(capsys, *CHOSEN)
    assert (status, said["named"]) == (0, "blue before red")


def test_what_was_tried_is_not_tried_again(row: FaultyEntry, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    row.publish({"box_AP": 1.0, "box_AP50": 2.0, "box_AP75": 3.0})
    row.explain(capsys, *CHOSEN)
    monkeypatch.setattr(pipeline, "run", lambda *_: pytest.fail("run again"))
    before = sorted(RESULTS.rglob("*.json"))
    status, said = row.explain(capsys, *CHOSEN)
    assert status == 1  # an alarm: no switch does it
    assert said["named"] is None
    assert len(said["tried"]) == len(CHOSEN)
    assert sorted(RESULTS.rglob("*.json")) == before


def test_a_limit_of_time_keeps_what_is_there(row: FaultyEntry, capsys: Capture) -> None:
    row.publish({"box_AP": 1.0, "box_AP50": 2.0, "box_AP75": 3.0})
    names = ("one pixel wider", "a black border", "50 proposals", "TF32")
    status, said = row.explain(capsys, "--minutes", "0", *(f"--switch={name}" for name in names))
    assert status == 1
    reasons = {one["switch"]: one["reason"] for one in said["untried"]}
    assert reasons["a black border"] == "the time was up: run the same command again to go on"
    assert reasons["50 proposals"] == "the row has no such setting, or has that value"
    assert reasons["TF32"] == "it needs device=cuda"
    assert "one pixel wider" in {one["switch"] for one in said["tried"]}


def test_interrupted_it_keeps_what_was_finished(
    row: FaultyEntry, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(settings: object) -> None:
        raise KeyboardInterrupt

    row.publish({"box_AP": 1.0, "box_AP50": 2.0, "box_AP75": 3.0})
    monkeypatch.setattr(pipeline, "run", interrupt)
    names = ("--switch=scores of one decimal", "--switch=cubic resize")
    assert cli.main(["explain", row.name, "device=cpu", "--results-dir", str(RESULTS), *names]) == 1
    assert "what was finished is kept" in capsys.readouterr().err
    assert list(RESULTS.rglob("*score_decimals-1.json"))


def test_the_detections_of_another_run_are_refused(row: FaultyEntry, tmp_path: Path, capsys: Capture) -> None:
    rows = json.loads(predictions().read_text(encoding="utf-8"))
    (tmp_path / "predictions.json").write_text(json.dumps(rows[::2]), encoding="utf-8")
    row.publish({"box_AP": 1.0, "box_AP50": 2.0, "box_AP75": 3.0})
    status, said = row.explain(capsys, "--run", str(tmp_path), "--switch=boxes in whole pixels")
    assert status == 1
    assert "the detections of another run" in said["untried"][0]["reason"]
    assert "boxes in whole pixels" not in {one["switch"] for one in said["tried"]}


def test_as_a_table_and_as_csv(row: FaultyEntry, capsys: Capture) -> None:
    row.publish({"box_AP": 1.0, "box_AP50": 2.0, "box_AP75": 3.0})
    line = ["explain", row.name, "device=cpu", "--results-dir", str(RESULTS), "--switch=one pixel wider"]
    assert cli.main(line) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["switch", "box_AP", "box_AP50", "box_AP75", "meets", "tier", "named", "by"]
    assert lines[2].split()[:4] == ["published", "1.0", "2.0", "3.0"]
    assert any(text.startswith("box_AP  ") and "DRIFT" in text for text in lines)
    assert cli.main([*line, "--format", "csv"]) == 1
    assert capsys.readouterr().out.splitlines()[0] == "switch,box_AP,box_AP50,box_AP75,meets,tier,named by,note"


def test_nothing_is_tried_where_nothing_is_off(row: FaultyEntry, capsys: Capture) -> None:
    row.publish(boxes_of(json.loads(next(RESULTS.glob("records/*/*.json")).read_text(encoding="utf-8"))["measured"]))
    status, said = row.explain(capsys, "--switch=epsilon of 0.01")
    assert status == 0
    assert {outcome["verdict"] for outcome in said["verdicts"].values()} == {"EXACT"}
    assert not list(RESULTS.rglob("*norm_eps*"))


def test_a_row_without_a_run_names_the_command(row: FaultyEntry, capsys: Capture) -> None:
    assert cli.main(["explain", row.name, "batch_size=2", "--results-dir", "nowhere"]) == 1
    error = capsys.readouterr().err
    assert f"no run of {row.name} (batch_size=2) in nowhere" in error
    assert f"next: run `zoo run {row.name} batch_size=2 measure=accuracy` first" in error


def test_an_unknown_switch(row: FaultyEntry, capsys: Capture) -> None:
    assert cli.main(["explain", row.name, "--switch", "one pixel"]) == 2
    assert "no switch 'one pixel' (closest: one pixel wider" in capsys.readouterr().err


def test_scoring_again_needs_no_torch(row: FaultyEntry) -> None:
    row.publish({"box_AP": 1.0, "box_AP50": 2.0, "box_AP75": 3.0})
    line = ["explain", row.name, "--tier", "1", "--results-dir", str(RESULTS)]
    code = f"import sys; from zoo import cli; cli.main({line!r}); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "ten detections an image" in done.stdout
