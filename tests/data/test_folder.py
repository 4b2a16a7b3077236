"""Folders of the user's own: which files in them are what."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zoo.data.folder import complete, find_split
from zoo.errors import DataError, UsageError

BLOCK: dict[str, Any] = {
    "name": None,
    "split": "val",
    "num_images": None,
    "annotations": None,
    "images": None,
    "root": None,
    "classes": None,
    "train": {"split": "train", "annotations": None, "images": None, "limit": None},
}


def write(
    root: Path, annotations: str, images: str, *, names: tuple[str, ...] = ("cat", "dog"), count: int = 2
) -> None:
    """An annotation file, and empty files in the place of its images."""
    files = [f"{annotations.replace('/', '_')}_{i}.jpg" for i in range(count)]
    document = {
        "images": [{"id": i, "file_name": name, "height": 4, "width": 4} for i, name in enumerate(files)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names)],
        "annotations": [],
    }
    path = root / annotations
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    (root / images).mkdir(parents=True, exist_ok=True)
    for name in files:
        (root / images / name).touch()


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("annotations/instances_val2017.json", "val2017"),
        ("annotations/val.json", "images/val"),
        ("annotations/my-val-set.json", "images"),
        ("annotations/validation.json", "validation"),
        ("val.json", "."),
        ("instances_val.json", "val/images"),
        ("valid/_annotations.coco.json", "valid"),
        ("val/_annotations.coco.json", "val/images"),
        ("VAL.json", "images"),
    ],
)
def test_layouts(tmp_path: Path, annotations: str, images: str) -> None:
    write(tmp_path, annotations, images)
    found = find_split(tmp_path, "val")
    assert found is not None
    assert (found.annotations, found.images) == (annotations, images)
    assert (found.num_images, found.classes) == (2, ("cat", "dog"))
    assert find_split(tmp_path, "train") is None


def test_a_whole_block(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    write(root, "train/_annotations.coco.json", "train", names=("pets", "cat", "dog"), count=3)
    write(root, "valid/_annotations.coco.json", "valid", names=("pets", "cat", "dog"))
    assert complete({**BLOCK, "root": str(root)}) == {
        **BLOCK,
        "root": str(root),
        "name": "pets",
        "num_images": 2,
        "annotations": "valid/_annotations.coco.json",
        "images": "valid",
        "classes": ["pets", "cat", "dog"],
        "train": {"split": "train", "annotations": "train/_annotations.coco.json", "images": "train", "limit": None},
    }


def test_classes_of_both_splits(tmp_path: Path) -> None:
    write(tmp_path, "annotations/train.json", "images", names=("dog", "cat"))
    write(tmp_path, "annotations/val.json", "images", names=("cat", "fox"))
    assert complete({**BLOCK, "root": tmp_path})["classes"] == ["dog", "cat", "fox"]
    assert complete({**BLOCK, "root": tmp_path, "classes": ["fox"]})["classes"] == ["fox"]


def test_without_a_training_split(tmp_path: Path) -> None:
    write(tmp_path, "annotations/val.json", "val")
    assert complete({**BLOCK, "root": tmp_path})["train"] is None


def test_a_block_that_says_everything_is_left_alone() -> None:
    block = {**BLOCK, "annotations": "a.json", "images": "i", "num_images": 3, "classes": ["cat"]}
    assert complete(block) == block


def test_two_candidates_are_listed_and_one_is_chosen(tmp_path: Path) -> None:
    write(tmp_path, "annotations/instances_val.json", "val")
    write(tmp_path, "annotations/captions_val.json", "val")
    with pytest.raises(UsageError, match=r"annotations/captions_val\.json, annotations/instances_val\.json") as several:
        complete({**BLOCK, "root": tmp_path})
    assert "data.annotations=" in several.value.next_step
    chosen = complete({**BLOCK, "root": tmp_path, "annotations": "annotations/captions_val.json"})
    assert chosen["annotations"] == "annotations/captions_val.json"


def test_two_folders_of_images(tmp_path: Path) -> None:
    write(tmp_path, "annotations/val.json", "val")
    write(tmp_path, "annotations/val.json", "images")
    with pytest.raises(UsageError, match="several folders have the val images: images, val") as several:
        complete({**BLOCK, "root": tmp_path})
    assert "data.images=" in several.value.next_step
    assert complete({**BLOCK, "root": tmp_path, "images": "val"})["images"] == "val"


def test_of_training_the_keys_are_its_own(tmp_path: Path) -> None:
    write(tmp_path, "annotations/val.json", "val")
    write(tmp_path, "annotations/train_a.json", "train")
    write(tmp_path, "annotations/train_b.json", "train")
    with pytest.raises(UsageError, match="train_a") as several:
        complete({**BLOCK, "root": tmp_path})
    assert "data.train.annotations=" in several.value.next_step


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folder of data") as nothing:
        complete(BLOCK)
    assert "data.root=DIR" in nothing.value.next_step
    with pytest.raises(UsageError, match="no such folder"):
        complete({**BLOCK, "root": tmp_path / "absent"})
    with pytest.raises(UsageError, match="JSON files there: none"):
        complete({**BLOCK, "root": tmp_path})
    write(tmp_path, "annotations/instances_default.json", "images")
    with pytest.raises(UsageError, match=r"JSON files there: annotations/instances_default\.json"):
        complete({**BLOCK, "root": tmp_path})
    with pytest.raises(DataError, match="no annotation file"):
        complete({**BLOCK, "root": tmp_path, "annotations": "absent.json"})
    write(tmp_path, "annotations/val.json", "images/val")
    (tmp_path / "images/val/annotations_val.json_1.jpg").unlink()
    with pytest.raises(UsageError, match=r"images/val/ lacks 1 of 2, such as annotations_val\.json_1\.jpg"):
        complete({**BLOCK, "root": tmp_path})
