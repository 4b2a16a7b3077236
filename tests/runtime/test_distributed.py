"""Two processes are one: the same detections, AP and weights, whoever looks at which image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ENTRY, SIZES
from tiny_training import CPU, meeting_point

from zoo.data.batching import PlannedBatch
from zoo.data.coco import CocoGroundTruth
from zoo.data.loader import ImageDataset, image_loader
from zoo.data.preprocess import Preprocess
from zoo.data.size_rules import KeepRatio
from zoo.errors import DataError, UsageError
from zoo.runtime.distributed import DistributedContext, init_distributed

SMALL = [
    *("initial=null", "backbone=resnet10_small", "neck=fpn64", "head=faster_rcnn_small"),
    *("protocol.transform.size_rule={long:64,short:48}", "schedule.multi_scale.scales=[[64,48]]"),
]


def bench(processes: int, folder: Path, *arguments: str, entry: str = ENTRY) -> tuple[list[int], dict[str, Any]]:
    """Exit statuses of so many processes of one run, and the record they leave."""
    command = [sys.executable, "-m", "zoo.bench", f"entry={entry}", "device=cpu", "measure=[accuracy,complexity]"]
    command += [f"hydra.run.dir={folder}", f"results.dir={folder.parent}/results", *arguments]
    shared = {**os.environ, "OMP_NUM_THREADS": "1"}
    environments = [shared]
    if processes > 1:
        meeting = meeting_point()
        environments = [shared | meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]
    running = [subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL) for env in environments]
    statuses = [process.wait(timeout=180) for process in running]
    return statuses, json.loads((folder / "record.json").read_text(encoding="utf-8"))


def assert_equal(one: Path, two: Path, names: Sequence[str]) -> None:
    for name in names:
        assert (one / name).read_bytes() == (two / name).read_bytes(), name


@pytest.mark.long
def test_training_and_its_evaluations(tiny_coco: Path, tmp_path: Path) -> None:
    same = ["data.train.annotations=annotations/instances_val2017.json", "data.train.images=val2017"]
    options = [*SMALL, *same, f"data.root={tiny_coco}", "run=train", "run.max_steps=4", "run.evaluate_every=1"]
    options += ["batch_size=2", "run.micro_batch_size=1", "backbone.norm_eval=true"]
    assert len(SIZES) % 2, "the images are to be shared unevenly"
    (one, first), (two, second) = (bench(n, tmp_path / f"of_{n}", *options) for n in (1, 2))
    assert (one, two) == ([0], [0, 0])
    assert_equal(tmp_path / "of_1", tmp_path / "of_2", ["metrics.csv", "evaluations.json", "predictions.json"])
    assert len(json.loads((tmp_path / "of_2" / "evaluations.json").read_text(encoding="utf-8"))) == 2
    assert first["measured"] == second["measured"]
    assert second["protocol"]["training"]["processes"] == 2


@pytest.mark.nightly  # the training above evaluates by two processes as well
@pytest.mark.long
def test_evaluation(few_shapes: Path, tmp_path: Path) -> None:
    options = [f"data.root={few_shapes}", "data.limit=3"]
    entry = "shapes_faster_rcnn_r10_fpn"
    (_, first), (statuses, second) = (bench(n, tmp_path / f"of_{n}", *options, entry=entry) for n in (1, 2))
    assert statuses == [0, 0]
    assert_equal(tmp_path / "of_1", tmp_path / "of_2", ["predictions.json"])
    assert first["measured"] == second["measured"]
    assert first["measured"]["params"] > 0


@pytest.mark.nightly
@pytest.mark.long
def test_a_damaged_image_of_another_process_ends_the_run(tiny_coco: Path, tmp_path: Path) -> None:
    coco = shutil.copytree(tiny_coco, tmp_path / "coco")
    damaged = sorted((coco / "val2017").iterdir())[1]  # the second is the second process's
    damaged.write_bytes(b"no image")
    same = ["data.train.annotations=annotations/instances_val2017.json", f"data.train.images={tiny_coco}/val2017"]
    options = [*SMALL, *same, f"data.root={coco}", "run=train", "run.max_steps=1", "batch_size=2"]
    statuses, record = bench(2, tmp_path / "run", *options, "run.micro_batch_size=1")
    assert statuses == [1, 1]
    assert (record["status"], damaged.name in record["reason"]) == ("blocked", True)


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
def test_every_image_is_dealt_out_once(tiny_coco: Path, world_size: int) -> None:
    truth = CocoGroundTruth.load(tiny_coco / "annotations" / "instances_val2017.json")
    files = [tiny_coco / "val2017" / name for name in truth.file_names]
    dataset = ImageDataset(files, truth.image_ids.tolist(), truth.sizes, Preprocess(KeepRatio(64, 48)))
    batches = [PlannedBatch((i,)) for i in range(len(files))]
    seen = []
    for rank in range(world_size):
        loaded = image_loader(dataset, batches, 0, rank=rank, world_size=world_size)
        seen.append([sample.image_id for batch in loaded for sample in batch])
    assert sorted(chain.from_iterable(seen)) == truth.image_ids.tolist()
    assert [share[0] for share in seen if share] == truth.image_ids.tolist()[:world_size]


def test_one_process_has_everything() -> None:
    with init_distributed(CPU) as context:
        assert context == DistributedContext(rank=0, world_size=1)
        assert context.gather_in_order([3, 1, 2]) == [3, 1, 2]
        assert context.gather_in_order([]) == []
        with pytest.raises(DataError, match="damaged"):
            context.gather_in_order(DataError("damaged", next_step="fetch it again"))


def test_statistics_over_all_processes_need_gpus() -> None:
    model = torch.nn.BatchNorm2d(3)
    assert DistributedContext().wrap(model, CPU, sync_bn=True) is model, "one process has all images itself"
    with pytest.raises(UsageError, match="needs GPUs") as refused:
        DistributedContext(rank=0, world_size=2).wrap(model, CPU, sync_bn=True)
    assert "schedule.sync_bn=false" in refused.value.next_step
