"""minival2014 is val2017 by another name: read in both layouts, known by its content, refused where it is another."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zoo.data import dataset, splits
from zoo.data.coco2014 import EQUIVALENT, EquivalentSplit, image_ids_sha256
from zoo.data.dataset import open_dataset
from zoo.data.splits import Split, open_split
from zoo.errors import DataError

NAME = "coco_minival2014"
IDS = [9, 25, 30]
MINIVAL = "instances_minival2014.json"


def document(ids: Sequence[int], prefix: str = "") -> dict[str, Any]:
    images = [{"id": i, "file_name": f"{prefix}{i:012d}.jpg", "height": 20, "width": 30} for i in ids]
    objects = [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0} for i in ids]
    return {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "person"}]}


def make_root(root: Path, files: Mapping[str, Any], images: Sequence[str]) -> Path:
    """A folder with annotation files and images, which are empty."""
    (root / "annotations").mkdir(parents=True)
    for name, content in files.items():
        (root / "annotations" / name).write_text(json.dumps(content), encoding="utf-8")
    for image in images:
        (root / image).parent.mkdir(exist_ok=True)
        (root / image).touch()
    return root


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> EquivalentSplit:
    """minival2014 as if it had three images."""
    ids = hashlib.sha256("\n".join(map(str, IDS)).encode()).hexdigest()
    split = replace(EQUIVALENT[NAME, "minival2014"], num_images=3, image_ids_sha256=ids)
    for module in (splits, dataset):
        monkeypatch.setattr(module, "EQUIVALENT", {(NAME, "minival2014"): split})
    return split


def opened(root: Path | None, **changes: Any) -> Split:
    asked: dict[str, Any] = {
        "root": root, "annotations": "annotations/instances_val2017.json", "images": "val2017", "num_images": 3,
        "limit": None, "classes": ["person"], "categories": ["person"], "known": {}, "sizes": {},
    }  # fmt: skip
    return open_split(NAME, "minival2014", **asked | changes)


OF_2017 = [f"val2017/{i:012d}.jpg" for i in IDS]
OF_2014 = [f"val2014/COCO_val2014_{i:012d}.jpg" for i in IDS]


@pytest.mark.parametrize("images", [OF_2017, OF_2014], ids=["val2017", "val2014"])
def test_annotations_of_val2017_are_its_own(small: EquivalentSplit, images: Sequence[str], tmp_path: Path) -> None:
    root = make_root(tmp_path / "coco", {"instances_val2017.json": document(IDS)}, images)
    digest = hashlib.sha256((root / "annotations/instances_val2017.json").read_bytes()).hexdigest()
    split = opened(root, known={"val2017": digest})
    assert (split.known, split.partial, split.name) == (True, False, "minival2014")
    assert (split.equivalent, split.evidence) == ("val2017", small.evidence)
    assert split.files == [root / image for image in images]


@pytest.mark.parametrize("images", [OF_2017, OF_2014], ids=["val2017", "val2014"])
def test_the_layout_of_2014(small: EquivalentSplit, images: Sequence[str], tmp_path: Path) -> None:
    root = make_root(tmp_path / "coco", {MINIVAL: document(IDS, "COCO_val2014_")}, images)
    split = opened(root, known={"val2017": "0" * 64}, sizes={"val2017": (10, 20)})
    assert split.files == [root / image for image in images]
    assert split.difference is not None, "its annotations may be others: nobody knows the original's hash"
    assert split.difference.startswith(f"{MINIVAL} (")
    assert split.difference.endswith("its images are those of val2017")
    assert opened(root, limit=2).partial


@pytest.mark.parametrize(
    ("files", "images", "message"),
    [
        (
            {},
            OF_2014,
            "no annotations of minival2014, looked for annotations/instances_val2017.json and annota",
        ),
        (
            {"instances_val2014.json": document([*IDS, 40])},
            OF_2014,
            "those are cannot be told from instances_val2014.json",
        ),
        ({MINIVAL: document(IDS[:2])}, OF_2014, "names 2 images, minival2014 has 3"),
        ({MINIVAL: document([*IDS[:2], 31])}, OF_2014, "its images are not those of minival2014"),
        ({MINIVAL: document(IDS)}, OF_2014[:2], "lacks 1 of 3 images, such as val2017/000000000030.jpg"),
        ({MINIVAL: document(IDS)}, ["train2014/0.jpg"], "no folder of images, looked for val2017/ and val2014/"),
        ({"instances_val2017.json": document(IDS)}, OF_2017[1:], "lacks 1 of 3 images"),
    ],
)
def test_what_it_is_not(
    small: EquivalentSplit, files: Mapping[str, Any], images: Sequence[str], message: str, tmp_path: Path
) -> None:
    root = make_root(tmp_path / "coco", files, images)
    with pytest.raises(DataError) as raised:
        opened(root)
    assert message.lstrip() in raised.value.message.replace(str(root), "")
    assert raised.value.next_step


def test_files_that_are_named_are_the_only_ones(small: EquivalentSplit, tmp_path: Path) -> None:
    root = make_root(tmp_path / "coco", {MINIVAL: document(IDS)}, OF_2014)
    with pytest.raises(DataError, match=r"mine\.json"):
        opened(root, annotations="annotations/mine.json")
    with pytest.raises(DataError, match="looked for pictures/"):
        opened(root, images="pictures")
    shutil.move(root / "val2014", root / "pictures")
    assert opened(root, images="pictures").files[0] == root / "pictures" / "COCO_val2014_000000000009.jpg"
    with pytest.raises(DataError, match="nowhere"):
        opened(tmp_path / "nowhere")


def test_the_training_split_has_two_folders_in_2014(tmp_path: Path) -> None:
    names = ["train2014/COCO_train2014_000000000009.jpg", "val2014/COCO_val2014_000000000025.jpg"]
    root = make_root(tmp_path / "coco", {"instances_train2017.json": document(IDS[:2])}, names)
    split = EQUIVALENT[NAME, "trainval35k"]
    file, loaded = split.load(root, "annotations/instances_train2017.json")
    assert file.name == "instances_train2017.json"
    assert split.image_files(root, "train2017", loaded) == [root / name for name in names]
    (root / "annotations" / "instances_train2017.json").rename(root / "annotations" / "instances_train2014.json")
    with pytest.raises(DataError, match=r"instances_train2017\.json; .* instances_train2014\.json"):
        split.load(root, "annotations/instances_train2017.json")


def test_without_a_root_val2017_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetched(split: str) -> Path:
        asked.append(split)
        return tmp_path

    monkeypatch.setattr(dataset, "fetch_coco", fetched)
    assert open_dataset(NAME, "minival2014").root == tmp_path
    assert open_dataset(NAME, "trainval35k").root == tmp_path
    assert asked == ["val2017", "train2017"]


def test_the_hash_is_over_ids_in_ascending_order(small: EquivalentSplit, tmp_path: Path) -> None:
    root = make_root(tmp_path / "coco", {MINIVAL: document(IDS[::-1])}, OF_2014)
    assert image_ids_sha256(opened(root).ground_truth) == small.image_ids_sha256
