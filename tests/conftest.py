"""How tests run, and what several need: a tiny data set in COCO's layout, a checkpoint of the published kind."""

from __future__ import annotations

import os

# Each process of the tests computes with one thread, those that tests start too: threads of processes that share
# the cores only wait for each other. The libraries look at this when they are imported.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
    os.environ[_variable] = "1"

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import torch
from filelock import FileLock
from parity import SHARED_FOLDER, weights

from zoo.config.compose import compose
from zoo.data.shapes.dataset import draw
from zoo.runtime.hardware import use_true_float32

torch.set_num_threads(1)
cv2.setNumThreads(1)

ENTRY = "mmdet_faster_rcnn_r50_fpn_1x"
CASE = "mmdet/faster_rcnn_r50_fpn_1x_coco"
SIZES = [(48, 64), (60, 40), (50, 50)]


MEMORY_OF_A_WORKER = 3 * 2**30
"""Bytes that tests of the largest models take; those of one module, which run one by one, take twice as much."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many processes as there are cores to use and memory for, when `-n auto` asks."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
    return max(1, min(cores, psutil.virtual_memory().available // MEMORY_OF_A_WORKER))


def pytest_configure(config: pytest.Config) -> None:
    """A folder for what the processes of this session make once and share, as they share compiled modules."""
    if not is_worker(config):
        os.environ[SHARED_FOLDER] = tempfile.mkdtemp(prefix="zoo-tests-")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each of many processes would compile everything anew


def pytest_unconfigure(config: pytest.Config) -> None:
    if not is_worker(config):
        shutil.rmtree(os.environ.pop(SHARED_FOLDER))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests for a GPU compute in true float32, as runs do."""
    if item.get_closest_marker("gpu"):
        use_true_float32()


def is_worker(config: pytest.Config) -> bool:
    """Whether pytest-xdist started this process."""
    return hasattr(config, "workerinput")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules with a long test begin, so that no core waits at the end for one of them."""
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture
def two_threads() -> Iterator[None]:
    """For tests that must see more than one thread."""
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def coco_config() -> dict[str, Any]:
    return compose(ENTRY)


@pytest.fixture
def small_parts() -> dict[str, Any]:
    """The composition with a small input."""
    return compose(ENTRY, ["protocol.transform.size_rule={long:128,short:96}"])


@pytest.fixture(scope="session")
def tiny_coco(tmp_path_factory: pytest.TempPathFactory, coco_config: dict[str, Any]) -> Path:
    """Three small mosaics with one object each, laid out as COCO val2017."""
    root = tmp_path_factory.mktemp("coco")
    (root / "val2017").mkdir()
    (root / "annotations").mkdir()
    names = coco_config["data"]["classes"]
    ids = [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
    document: dict[str, Any] = {"images": [], "annotations": []}
    document["categories"] = [{"id": i, "name": name} for i, name in zip(ids, names, strict=True)]
    generator = np.random.default_rng(0)
    for i, (height, width) in enumerate(SIZES, start=1):
        mosaic = generator.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
        pixels = mosaic.repeat(4, axis=0).repeat(4, axis=1)[:height, :width]
        cv2.imwrite(str(root / "val2017" / f"{i:012}.png"), pixels)
        document["images"].append({"id": i, "file_name": f"{i:012}.png", "height": height, "width": width})
        box, x = [4.0 * i, 5.0, 20.0, 25.0], 4.0 * i
        document["annotations"].append(
            {"id": i, "image_id": i, "category_id": ids[i], "bbox": box, "area": 500.0, "iscrowd": 0}
            | {"segmentation": [[x, 5.0, x + 20.0, 5.0, x + 20.0, 30.0, x, 30.0]]}
        )
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(document), encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def few_shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first four images of the embedded data set."""
    root = tmp_path_factory.mktemp("few") / "shapes"
    draw("val", 4, root)
    return root


@pytest.fixture(scope="session")
def faster_rcnn_pth() -> Path:
    """mmdetection's kind of file, with the weights of the parity case."""
    path = Path(os.environ[SHARED_FOLDER], "faster_rcnn.pth")
    with FileLock(f"{path}.lock"):
        if not path.exists():
            torch.save({"meta": {"mmdet_version": "2.0.0", "CLASSES": ["person"]}, "state_dict": weights(CASE)}, path)
    return path
