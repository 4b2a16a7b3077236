"""Two runs image by image: what is opened, what is refused, and what is shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scored_set
import yaml
from made_up import make_record
from scored_runs import ANNOTATIONS, without_image, write_data, write_run

from zoo.errors import DataError
from zoo.results.compare.by_image import by_image_lines, compare_by_image, render_by_image
from zoo.results.run_folder import StoredDetections

Make = Callable[..., StoredDetections]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes the folder of a run on the made-up data set, which is beside it."""
    write_data(tmp_path / "data")

    def run(name: str, rows: scored_set.Rows, **more: Any) -> StoredDetections:
        record = write_run(tmp_path / name, rows, tmp_path / "data", **more)
        return StoredDetections(record=record, folder=tmp_path / name)

    return run


def test_an_image_without_its_detections_is_the_one_that_moved(make: Make) -> None:
    old, new = make("old", scored_set.detections()), make("new", without_image(7))
    (compared,) = compare_by_image(old, new)
    assert [change.file_name for change in compared.moved] == ["photo_007.jpg"]
    assert compared.moved[0].new == 0
    assert (compared.numbers[0].old, compared.numbers[0].new) == (
        old.record.number("box_AP"),
        new.record.number("box_AP"),
    )
    text = render_by_image([compared])
    assert "By image (60 images, box AP; interval: 95% of 1000 paired resamples)" in text
    assert "1 of 60 images moved:" in text
    assert "photo_007.jpg" in text
    lines = by_image_lines([compared])
    assert {line["about"] for line in lines} == {"data set", "class", "image"}
    assert lines[0]["metric"] == "box_AP"
    assert float(lines[0]["new"]) == new.record.number("box_AP")
    assert lines[0]["resamples"] == "1000"
    assert [line["name"] for line in lines if line["about"] == "image"] == ["photo_007.jpg"]


def test_equal_runs_are_equal(make: Make) -> None:
    (compared,) = compare_by_image(make("old", scored_set.detections()), make("new", scored_set.detections()))
    text = render_by_image([compared])
    assert text.count("[0, 0]") == 3
    assert "0 of 8 classes moved\n" in text
    assert "0 of 60 images moved\n" in text


def test_a_part_of_the_images_compares_too(make: Make) -> None:
    old, new = make("old", scored_set.detections(), images=20), make("new", without_image(7), images=20)
    assert compare_by_image(old, new)[0].images == 20


def test_the_folder_of_a_run_says_where_its_data_is(make: Make, tmp_path: Path) -> None:
    old, new = (make(name, scored_set.detections(), root="data") for name in ("old", "new"))
    with pytest.raises(DataError, match=r"instances_val.json of coco2017 val2017, sha256 \w{8}, is not here"):
        compare_by_image(old, new)
    composed = new.folder / ".hydra" / "config.yaml"
    composed.parent.mkdir()
    composed.write_text(yaml.safe_dump({"data": {"root": str(tmp_path / "data")}}), encoding="utf-8")
    assert compare_by_image(old, new)


def test_the_folder_of_the_data_may_be_named(make: Make, tmp_path: Path) -> None:
    old, new = (make(name, scored_set.detections(), root="elsewhere") for name in ("old", "new"))
    other = tmp_path / "other" / ANNOTATIONS
    other.parent.mkdir(parents=True)
    other.write_text(json.dumps({**scored_set.truth(), "info": "another"}), encoding="utf-8")
    with pytest.raises(DataError, match="is not here"):
        compare_by_image(old, new, [tmp_path / "other"])
    assert compare_by_image(old, new, [tmp_path / "other", tmp_path / "data"])


def test_what_is_missing_is_named(make: Make) -> None:
    old, new = make("old", scored_set.detections()), make("new", scored_set.detections())
    (new.folder / "predictions.json").unlink()
    with pytest.raises(DataError, match=r"no .*new/predictions\.json"):
        compare_by_image(old, new)


def test_detections_of_another_run_are_refused(make: Make) -> None:
    old, new = make("old", scored_set.detections()), make("new", scored_set.detections())
    (new.folder / "predictions.json").write_text(json.dumps(without_image(7)), encoding="utf-8")
    with pytest.raises(DataError, match="the detections of another run than its record"):
        compare_by_image(old, new)


def test_other_images_are_refused(make: Make) -> None:
    old, new = make("old", scored_set.detections()), make("new", scored_set.detections(), images=20)
    with pytest.raises(DataError, match="other images, annotations or classes"):
        compare_by_image(old, new)


def test_a_run_without_accuracy_is_refused(make: Make) -> None:
    old, new = make("old", scored_set.detections()), make("new", scored_set.detections())
    timed = StoredDetections(record=_timed(new), folder=new.folder)
    with pytest.raises(DataError, match="no accuracy was measured"):
        compare_by_image(old, timed)


def _timed(run: StoredDetections) -> Any:
    assert run.record.data is not None
    return make_record(measured={"fps": 1.0}, annotations=run.record.data.annotations_sha256, images=60)
