"""What the report shows of stored detections: the run's own numbers, or a sentence that says what is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from made_up import make_record
from stored_runs import ANNOTATIONS, detect, store

from zoo import cli
from zoo.coco_tasks import IouType
from zoo.data.coco import CocoGroundTruth
from zoo.measure.coco_eval.errors import ERROR_KINDS, find_errors
from zoo.results.ledger import Ledger
from zoo.results.record import Verdict
from zoo.results.report import choice
from zoo.results.report.detections import RECALLS, DetectionView, DetectionViews

PAGE = 400_000


@pytest.fixture(scope="module")
def truth(few_shapes: Path) -> CocoGroundTruth:
    return CocoGroundTruth.load(few_shapes / ANNOTATIONS)


@pytest.fixture
def views(tmp_path: Path, few_shapes: Path) -> DetectionViews:
    return DetectionViews([tmp_path / "outputs"], [few_shapes])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "outputs" / "shapes_a"


def shown(view: DetectionView) -> DetectionView:
    assert view.missing is None, view.missing
    return view


def test_curves_and_errors_are_those_of_the_run(views: DetectionViews, runs: Path, truth: CocoGroundTruth) -> None:
    detections = detect(truth)
    record = store(runs / "one", truth, detections)
    view = shown(views.of(record))
    assert [curves.of for curves in view.curves] == [table.of for table in view.errors] == ["box", "mask"]
    types: tuple[IouType, ...] = ("bbox", "segm")
    for curves, table, kind in zip(view.curves, view.errors, types, strict=True):
        for name, key in (("0.5", "AP50"), ("0.75", "AP75"), ("0.5:0.95", "AP")):
            assert len(curves.mean[name]) == RECALLS
            assert np.mean(curves.mean[name]) * 100 == pytest.approx(record.number(f"{curves.of}_{key}"))
        assert {len(curve) for curve in curves.per_class.values()} == {RECALLS}
        points: Any = record.value(f"per_class.{curves.of}_AP")
        assert list(curves.per_class) == [name for name, value in points.items() if value is not None]
        errors = find_errors(truth, detections, iou_type=kind)
        assert [line.kind for line in table.lines] == list(ERROR_KINDS)
        assert {line.kind: (line.count, line.cost) for line in table.lines} == {
            kind: (errors.counts[kind], errors.cost[kind]) for kind in ERROR_KINDS
        }
        assert (table.hits, table.ap50) == (errors.hits, errors.ap50)


def test_the_images_of_the_costliest_errors_are_drawn(
    views: DetectionViews, runs: Path, truth: CocoGroundTruth, tmp_path: Path, few_shapes: Path
) -> None:
    record = store(runs / "one", truth, detect(truth))
    view = shown(views.of(record))
    assert view.chosen.startswith("The images with the costliest mask errors")
    costs = [float(image.caption.split(": ")[1].split(" ")[0]) for image in view.images]
    assert costs == sorted(costs, reverse=True)
    assert len(costs) == 4, "there are no more"
    # All errors but those that end in nothing are shared among the images, none is lost.
    assert sum(costs) == pytest.approx(sum(line.cost for line in view.errors[1].lines), abs=0.03)
    for image in view.images:
        drawing = ET.fromstring(image.markup)  # noqa: S314 - our own text
        assert drawing.get("role") == "img"
        assert drawing.get("aria-label", "").startswith(f"{image.name}. Drawn: ")
    assert sum(len(image.markup) for image in view.images) + len(view.legend) < PAGE
    assert "both: near an object of another class" in view.legend
    assert DetectionViews([tmp_path / "outputs"], [few_shapes]).of(record) == view, "the same bytes"


def test_a_page_stays_small(
    views: DetectionViews, runs: Path, truth: CocoGroundTruth, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = store(runs / "one", truth, detect(truth))
    first, second, *_ = [len(image.markup) for image in views.of(record).images]
    monkeypatch.setattr(choice, "MOST_MARKUP", first + second)
    assert len(views.of(record).images) == 2


def test_boxes_alone(views: DetectionViews, runs: Path, truth: CocoGroundTruth) -> None:
    view = shown(views.of(store(runs / "one", truth, detect(truth), types=("bbox",))))
    assert [curves.of for curves in view.curves] == ["box"]
    assert view.chosen.startswith("The images with the costliest box errors")


def test_perfect_detections_leave_nothing_to_draw(views: DetectionViews, runs: Path, truth: CocoGroundTruth) -> None:
    perfect = detect(truth, missing=0).chosen(np.arange(2 * len(truth.boxes)) % 2 == 0)
    perfect.bbox[:], perfect.category_id[:] = truth.boxes, truth.category_ids[truth.category_index]
    view = shown(views.of(store(runs / "one", truth, perfect)))
    assert (view.images, view.chosen, view.legend) == ((), "", "")
    assert [line.count for table in view.errors for line in table.lines] == [0] * 12


def test_numbers_are_rounded_as_the_protocol_says(views: DetectionViews, runs: Path, truth: CocoGroundTruth) -> None:
    record = store(runs / "one", truth, detect(truth), rounding={"box": 0, "score": 1})
    assert np.mean(shown(views.of(record)).curves[0].mean["0.5:0.95"]) * 100 == pytest.approx(record.number("box_AP"))


def test_a_run_of_some_images(views: DetectionViews, runs: Path, truth: CocoGroundTruth) -> None:
    part = truth.subset(2)
    assert len(shown(views.of(store(runs / "one", part, detect(part), partial=True))).images) == 2


def test_a_run_of_some_classes(views: DetectionViews, runs: Path, truth: CocoGroundTruth) -> None:
    part = truth.with_categories([truth.category_names[2], "another", truth.category_names[0]], optional=["another"])
    view = shown(views.of(store(runs / "one", part, detect(part))))
    assert set(view.curves[0].per_class) <= {truth.category_names[2], truth.category_names[0]}


# --- the images that moved most --------------------------------------------------------------------


def test_against_an_older_run_those_that_moved_most_are_drawn(
    views: DetectionViews, runs: Path, truth: CocoGroundTruth
) -> None:
    store(runs / "oldest", truth, detect(truth, 2), finished="2025-11-01T00:00:00+00:00")
    store(runs / "older", truth, detect(truth, 1), finished="2025-12-01T00:00:00+00:00")
    store(runs / "later", truth, detect(truth, 3), finished="2026-02-01T00:00:00+00:00")
    store(runs / "other", truth, detect(truth, 4), finished="2025-12-31T00:00:00+00:00", row="e" * 64)
    view = shown(views.of(store(runs / "one", truth, detect(truth))))
    assert view.chosen == "The images whose mask AP changed most against shapes_a, run on 2025-12-01."
    ends = [image.caption.split("mask AP from ")[1].split(";")[0].split(" to ") for image in view.images]
    moves = [abs(float(new) - float(old)) for old, new in ends]
    assert moves == sorted(moves, reverse=True)


@pytest.mark.parametrize(
    ("nearer", "against"),
    [
        (True, "shapes_a (protocol.normalize.channels=bgr), run on 2026-01-02."),
        (False, "shapes_a, run on 2025-12-01."),
    ],
)
def test_a_switch_that_comes_nearer_to_what_was_published_counts_first(
    views: DetectionViews, runs: Path, truth: CocoGroundTruth, nearer: bool, against: str
) -> None:
    store(runs / "older", truth, detect(truth, 1), finished="2025-12-01T00:00:00+00:00")
    change = ["protocol.normalize.channels=bgr"]
    changed = {"protocol": {"normalize": {"channels": "bgr"}}, "row": "e" * 64, "changes": change, "overrides": change}
    trial: Any = changed | {"finished": "2026-01-02T00:00:00+00:00"}
    with_switch = store(runs / "explain_bgr", truth, detect(truth, 5), **trial).number("box_AP")
    record = store(runs / "one", truth, detect(truth), protocol={"normalize": {"channels": "rgb"}})
    measured = record.number("box_AP")
    assert measured is not None
    assert with_switch is not None
    published = with_switch if nearer else measured + 1e-3
    record.verdict = {"box_AP": Verdict("DRIFT", published="?", measured=measured, delta=measured - published)}
    record.write(runs / "one" / "record.json")
    assert shown(views.of(record)).chosen == f"The images whose mask AP changed most against {against}"


def test_a_damaged_older_run_is_not_needed(views: DetectionViews, runs: Path, truth: CocoGroundTruth) -> None:
    store(runs / "older", truth, detect(truth, 1), finished="2025-12-01T00:00:00+00:00")
    (runs / "older" / "predictions.json").write_text("[")
    view = shown(views.of(store(runs / "one", truth, detect(truth))))
    assert view.chosen.startswith("The images with the costliest mask errors")


# --- what is missing is said ------------------------------------------------------------------------


def test_no_run_no_view(views: DetectionViews, tmp_path: Path) -> None:
    assert views.of(make_record("shapes_a")) == DetectionView(
        missing=f"The detections of this run are not below {tmp_path / 'outputs'}/: name the folder that they lie in "
        "with `zoo report --runs DIR`, or run the row again."
    )
    nothing = "No accuracy was measured, so there are no detections to show."
    assert views.of(make_record("shapes_a", status="blocked", reason="link dead")).missing == nothing
    assert views.of(make_record("shapes_a", measured={"fps": 1.0})).missing == nothing


def test_no_data_no_view(runs: Path, truth: CocoGroundTruth, tmp_path: Path, few_shapes: Path) -> None:
    record = store(runs / "one", truth, detect(truth), data="mine")
    missing = DetectionViews([runs]).of(record).missing
    assert missing == (
        f"Its detections cannot be shown: {ANNOTATIONS} of mine val2017, sha256 {truth.sha256[:8]}, is not here; name "
        "the folder of the data with --data DIR."
    )
    other = tmp_path / "other"
    shutil.copytree(few_shapes / "annotations", other / "annotations")
    document = json.loads((other / ANNOTATIONS).read_text())
    document["annotations"].pop()
    (other / ANNOTATIONS).write_text(json.dumps(document))
    assert DetectionViews([runs], [other]).of(record).missing == missing, "other annotations are not those of the run"
    assert shown(DetectionViews([runs], [other, few_shapes]).of(record)).images, "every folder is looked into"


def test_data_lies_in_the_cache(
    runs: Path, truth: CocoGroundTruth, few_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    record = store(runs / "one", truth, detect(truth), data="coco2017")
    assert "is not here" in (DetectionViews([runs]).of(record).missing or ""), "nothing is downloaded"
    shutil.copytree(few_shapes, tmp_path / "cache" / "coco")
    assert shown(DetectionViews([runs]).of(record)).images


def test_detections_of_another_run_are_not_shown(views: DetectionViews, runs: Path, truth: CocoGroundTruth) -> None:
    record = store(runs / "one", truth, detect(truth))
    store(runs / "two", truth, detect(truth, 1), finished="2026-01-02T00:00:00+00:00")
    shutil.copy(runs / "two" / "predictions.json", runs / "one" / "predictions.json")
    view = views.of(record)
    assert "has the detections of another run than its record; run the row again." in (view.missing or "")
    assert view == DetectionView(missing=view.missing)


def test_without_images_there_are_curves(runs: Path, truth: CocoGroundTruth, few_shapes: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    shutil.copytree(few_shapes, root)
    (root / "val" / truth.file_names[1]).unlink()
    view = DetectionViews([runs.parent], [root]).of(store(runs / "one", truth, detect(truth)))
    assert (len(view.curves), len(view.errors), view.images, view.chosen) == (2, 2, (), "")
    assert view.missing is not None
    assert view.missing.startswith("Its images cannot be drawn: ")
    assert f"lacks 1 of 4 images, such as {truth.file_names[1]}" in view.missing


# --- the command ------------------------------------------------------------------------------------


def test_the_command_looks_where_it_is_told(
    runs: Path, truth: CocoGroundTruth, few_shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = "shapes_mask_rcnn_r10_fpn"
    record = store(runs / "one", truth, detect(truth), entry=entry)
    results = tmp_path / "results"
    Ledger(results).file(record)
    command = ["report", "--results-dir", str(results), "--runs", str(runs)]
    assert cli.main([*command, "--data", str(tmp_path), str(few_shapes)]) == 0
    page = results / "report" / "entries" / f"{entry}.html"
    text = page.read_text(encoding="utf-8")
    for image in DetectionViews([runs], [few_shapes]).of(record).images:
        assert image.markup in text
    assert page.stat().st_size < PAGE
    assert cli.main(["report", "--results-dir", str(results), "--runs", str(tmp_path / "results")]) == 0
    assert "zoo report --runs DIR" in page.read_text(encoding="utf-8")
    capsys.readouterr()
    assert cli.main([*command, "--data", str(tmp_path / "absent")]) == 2
    assert f"no folder {tmp_path / 'absent'}" in capsys.readouterr().err
