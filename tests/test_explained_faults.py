"""Faults put into the embedded zoo, and what `zoo explain` says of each; and runs without one.

A fault is an entry whose published AP, AP50 and AP75 were measured with something changed, and otherwise than the trial
that is to find it: folded where the row is not, the images that may share a batch in batches of four. It is detected
where some verdict is not EXACT or NUMERIC, named where one switch alone brings all three inside.

| family | fault | detected | named |
|---|---|---|---|
| Faster R-CNN | blue before red | yes | yes |
| Faster R-CNN | padded to a multiple of 32 | yes | yes |
| Faster R-CNN | RoIAlign without half a pixel | yes | yes |
| Faster R-CNN | corners that are pixels | yes | yes |
| Faster R-CNN | other standard deviations (on no list) | yes | no, rightly |
| RetinaNet | a smaller size | yes | yes |
| RetinaNet | suppression above 0.3 | yes | yes |
| RetinaNet | epsilon of 0.01 | yes | yes |
| RetinaNet | scores of one decimal | yes | yes |
| YOLOv8 | a black border | yes | yes |
| YOLOv8 | cubic resize | yes | yes |
| YOLOv8 | evaluation of Ultralytics 8.0 | yes | yes |
| YOLOv8 | ten detections an image | yes | yes |
| YOLOv8 | blue before red and a black border (two at once) | yes | no, rightly |
| Mask R-CNN | pixels that are not centred | yes | yes |
| Mask R-CNN | a demo's score threshold | yes | yes |
| Mask R-CNN | one pixel wider | yes | yes |
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from faulty_entries import FaultyEntry, boxes_of

import zoo
from zoo.catalog.entry import read_entry
from zoo.catalog.switches import read_switches
from zoo.config.build import open_data, prepare
from zoo.data.batching import PlannedBatch
from zoo.data.loader import ImageDataset, image_loader
from zoo.measure.accuracy import make_metric
from zoo.results.explain import Explanation
from zoo.results.record import Record
from zoo.run.evaluate import evaluate

pytestmark = [pytest.mark.nightly, pytest.mark.long]

IMAGES = 100
ROWS = {
    "Faster R-CNN": "shapes_faster_rcnn_r10_fpn",
    "RetinaNet": "shapes_retinanet_r10_fpn",
    "YOLOv8": "shapes_yolov8_p",
    "Mask R-CNN": "shapes_mask_rcnn_r10_fpn",
}
LISTED = {
    "Faster R-CNN": (
        *("blue before red", "padded to a multiple of 32", "RoIAlign without half a pixel", "corners that are pixels"),
    ),
    "RetinaNet": ("a smaller size", "suppression above 0.3", "epsilon of 0.01", "scores of one decimal"),
    "YOLOv8": ("a black border", "cubic resize", "evaluation of Ultralytics 8.0", "ten detections an image"),
    "Mask R-CNN": ("pixels that are not centred", "a demo's score threshold", "one pixel wider"),
}
"""Family -> faults that are a switch of the list."""

UNLISTED = {
    "Faster R-CNN": (("protocol.normalize.std=[50.0,50.0,50.0]",),),
    "YOLOv8": (("protocol.normalize.channels=bgr", "protocol.normalize.padding.fill=0"),),
}
"""Family -> faults that no switch is, as overrides."""

ALONE = ("padded to a multiple of 32",)
"""Faults that make an image's answer depend on the images it shares a batch with."""

REPEATS = 25
"""Runs of each family without a fault."""


@pytest.fixture(params=ROWS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def row(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FaultyEntry:
    return FaultyEntry(tmp_path, monkeypatch, ROWS[family], IMAGES)


def test_faults_are_detected_and_none_is_named_wrong(
    family: str, row: FaultyEntry, capsys: pytest.CaptureFixture[str]
) -> None:
    base = row.run()
    found: dict[str, str | None] = {}
    for name in LISTED[family]:
        row.publish(measured_with(row, base, name))
        _, said = row.explain(capsys)
        verdicts = {outcome["verdict"] for outcome in said["verdicts"].values()}
        assert verdicts & {"DRIFT", "EXPLAINED"}, f"{name} was not detected"
        found[name] = said["named"]
    assert found == {name: name for name in LISTED[family]}
    for overrides in UNLISTED.get(family, ()):
        row.publish(boxes_of(fault(row, base, overrides, batch_size=4).measured))
        status, said = row.explain(capsys)
        assert (status, said["named"]) == (1, None), overrides


def measured_with(row: FaultyEntry, base: Record, name: str) -> dict[str, float]:
    """The numbers of a row with one switch of the list changed, measured otherwise than the trial will be."""
    (switch,) = (one for one in read_switches("shapes") if one.name == name)
    if switch.tier == 2:
        overrides = switch.applied(base.protocol.config)
        return boxes_of(fault(row, base, overrides, batch_size=1 if name in ALONE else 4).measured)
    # Detections of another run: that of the row in batches, folded otherwise; scored by the rule in the way of a run.
    from zoo.commands.trial_runs import TrialRuns, settings_of
    from zoo.results.trials import rescored

    other = fault(row, base, (), batch_size=4)
    settings = settings_of(row.name, other.overrides, Path("faults"))
    folder = max(Path("outputs", row.name).glob("run-*"), key=lambda path: path.stat().st_mtime)
    runs = TrialRuns(settings=settings, overrides=(), record=other, can_run=False, run_dir=folder)
    return boxes_of(rescored(other, switch, runs.stored).measured)


def fault(row: FaultyEntry, base: Record, overrides: Sequence[str], batch_size: int) -> Record:
    """A run of a row with something changed, folded where the row is not."""
    protocol = base.protocol.config["protocol"]
    assert isinstance(protocol, dict)
    folded = f"protocol.fold_batch_norm={str(not protocol['fold_batch_norm']).lower()}"
    return row.run([*overrides, folded, f"batch_size={batch_size}"], results=Path("faults"))


def test_no_alarm_without_a_fault(row: FaultyEntry, two_threads: None) -> None:
    """Threads, folding, batches and the order of the images vary; no run is made twice."""
    base = row.run()
    row.publish(boxes_of(base.measured))
    entry = read_entry(row.name)
    ways = list(itertools.product((1, 2), (False, True), (1, 2, 3, 4, 5, 6, 7, 8)))
    for number, (threads, folded, batch_size) in enumerate(random.Random(0).sample(ways, REPEATS)):
        torch.set_num_threads(threads)
        numbers = measured_again(row, base, folded=folded, batch_size=batch_size, seed=number)
        again = replace(base, measured={**base.measured, **numbers})
        outcomes = Explanation(entry=entry, record=again).verdicts
        assert {outcome.verdict for outcome in outcomes.values()} <= {"EXACT", "NUMERIC"}, (number, outcomes)


def measured_again(row: FaultyEntry, base: Record, *, folded: bool, batch_size: int, seed: int) -> dict[str, float]:
    """AP, AP50 and AP75 of a row with its images in another order."""
    from zoo.commands.trial_runs import settings_of

    settings = settings_of(row.name, (), Path("results"))
    detector = zoo.load(row.name)
    split = open_data(settings.asked.data, settings.row_classes)
    truth, protocol = split.ground_truth, {**settings.parts["protocol"], "fold_batch_norm": folded}
    prepare(detector, protocol)
    order = random.Random(seed).sample(range(len(truth)), len(truth))
    batches = [PlannedBatch(tuple(order[i : i + batch_size])) for i in range(0, len(order), batch_size)]
    dataset = ImageDataset(split.files, truth.image_ids.tolist(), truth.sizes, detector.transform)
    metric = make_metric(detector, truth, protocol)
    evaluate(detector, image_loader(dataset, batches, 0), [metric], images=len(dataset), precision="fp32")
    return boxes_of(metric.result())
