"""Data is known by its content: the annotations of a split, and of embedded data every image."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import pytest

from zoo.config.build import open_data
from zoo.config.compose import compose
from zoo.config.run_settings import RunSettings
from zoo.data.shapes.dataset import prepare_shapes
from zoo.data.splits import Split

ENTRY = "shapes_retinanet_r10_fpn"


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """The embedded validation split in a folder of one's own."""
    source, root = prepare_shapes("val"), tmp_path / "own"
    shutil.copytree(source / "val", root / "val")
    (root / "annotations").mkdir()
    shutil.copy(source / "annotations" / "instances_val.json", root / "annotations")
    return root


def opened(root: Path, overrides: Sequence[str] = ()) -> Split:
    config: dict[str, Any] = compose(ENTRY, [f"data.root={root}", *overrides])
    settings = RunSettings.from_config(config, overrides=(), run_dir=root, default_results=root)
    return open_data(settings.asked.data, settings.classes)


def test_a_copy_is_known(shapes: Path) -> None:
    split = opened(shapes)
    assert (split.known, split.partial, len(split.files)) == (True, False, 200)


def test_images_turned_upside_down_are_other_data(shapes: Path) -> None:
    for path in sorted((shapes / "val").iterdir())[:1]:
        pixels = cv2.imread(str(path))
        assert pixels is not None
        cv2.imwrite(str(path), pixels[::-1])
    split = opened(shapes)
    assert not split.known
    assert "other images than shapes val" in str(split.difference)


def test_a_record_says_of_which_pixels_it_is(shapes: Path) -> None:
    """Of a part of a split too, and of data whose images nobody knows."""
    before = opened(shapes, ["data.limit=3"])
    assert before.files_sha256 == opened(shapes, ["data.limit=3"]).files_sha256
    with before.files[1].open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x07")
    assert before.files_sha256 != opened(shapes, ["data.limit=3"]).files_sha256


def test_images_of_another_folder_are_held_against_the_same_hash(shapes: Path) -> None:
    (shapes / "val").rename(shapes / "pictures")
    assert opened(shapes, ["data.images=pictures"]).known


def test_numbers_that_fit_are_no_identity(shapes: Path) -> None:
    split = opened(shapes, ["data.num_images=2", "data.limit=2"])
    assert (len(split.files), split.partial) == (2, True)
