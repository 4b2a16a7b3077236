"""COCO annotations as columns: what is read, in which order, and what is refused."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from zoo.data.coco import CocoGroundTruth
from zoo.errors import DataError

REAL = Path(__file__).parents[2].parent / "shared" / "coco" / "annotations" / "instances_val2017.json"

DOCUMENT: dict[str, Any] = {
    "images": [
        {"id": 30, "file_name": "c.jpg", "height": 20, "width": 40},
        {"id": 10, "file_name": "a.jpg", "height": 10, "width": 10},
        {"id": 20, "file_name": "b.jpg", "height": 30, "width": 10},
    ],
    "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
    "annotations": [
        {"id": 5, "image_id": 30, "category_id": 18, "bbox": [1, 2, 3, 4], "area": 6.5, "iscrowd": 0}
        | {"segmentation": [[1, 2, 4, 2, 4, 6], [1, 2, 4, 6, 1, 6]]},
        {"id": 9, "image_id": 10, "category_id": 1, "bbox": [0, 0, 2, 5], "area": 10, "iscrowd": 1}
        | {"segmentation": {"size": [10, 10], "counts": [0, 5, 5, 5, 85]}},
        {"id": 2, "image_id": 30, "category_id": 1, "bbox": [0.5, 0, 9, 9], "area": 81, "iscrowd": 0, "ignore": 1},
    ],
}


def load(tmp_path: Path, document: Any) -> CocoGroundTruth:
    path = tmp_path / "instances.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return CocoGroundTruth.load(path)


def test_columns(tmp_path: Path) -> None:
    ground_truth = load(tmp_path, DOCUMENT)
    assert len(ground_truth) == 3
    assert ground_truth.image_ids.tolist() == [10, 20, 30]
    assert ground_truth.file_names == ["a.jpg", "b.jpg", "c.jpg"]
    assert [ground_truth.size_of(i) for i in range(3)] == [(10, 10), (30, 10), (20, 40)]
    assert ground_truth.category_ids.tolist() == [1, 3, 18]
    assert ground_truth.category_names == ["person", "car", "dog"]
    assert ground_truth.annotation_ids.tolist() == [9, 5, 2]  # by image, then as in the file
    assert ground_truth.category_index.tolist() == [0, 2, 0]
    assert ground_truth.boxes.tolist() == [[0, 0, 2, 5], [1, 2, 3, 4], [0.5, 0, 9, 9]]
    assert ground_truth.areas.tolist() == [10, 6.5, 81]
    assert ground_truth.is_crowd.tolist() == [True, False, False]
    assert ground_truth.ignore.tolist() == [False, False, True]
    assert [ground_truth.annotations_of(i) for i in range(3)] == [slice(0, 1), slice(1, 1), slice(1, 3)]
    assert ground_truth.sha256 == hashlib.sha256((tmp_path / "instances.json").read_bytes()).hexdigest()


def test_subset_is_the_first_images_by_id(tmp_path: Path) -> None:
    ground_truth = load(tmp_path, DOCUMENT)
    subset = ground_truth.subset(2)
    assert subset.image_ids.tolist() == [10, 20]
    assert subset.file_names == ["a.jpg", "b.jpg"]
    assert subset.annotation_ids.tolist() == [9]
    assert [subset.annotations_of(i) for i in range(2)] == [slice(0, 1), slice(1, 1)]
    assert subset.category_names == ground_truth.category_names
    assert subset.sha256 == ground_truth.sha256
    assert ground_truth.subset(100).image_ids.tolist() == [10, 20, 30]
    with pytest.raises(DataError, match="a subset of 0 images"):
        ground_truth.subset(0)


def test_labels_are_the_places_of_names_in_the_class_list(tmp_path: Path) -> None:
    chosen = load(tmp_path, DOCUMENT).with_categories(["dog", "car"])
    assert chosen.category_ids.tolist() == [18, 3]
    assert chosen.category_names == ["dog", "car"]
    assert chosen.image_ids.tolist() == [10, 20, 30]
    assert chosen.annotation_ids.tolist() == [5]
    assert chosen.category_index.tolist() == [0]
    assert chosen.annotations_of(2) == slice(0, 1)
    assert chosen.with_categories(["car", "dog"]).category_index.tolist() == [1]


def test_the_ids_of_categories_do_not_matter(tmp_path: Path) -> None:
    renumbered = {18: 2, 1: 3, 3: 1}  # alphabetically: car, dog, person
    other = edited(lambda d: [row.update(category_id=renumbered[row["category_id"]]) for row in d["annotations"]])
    other["categories"] = [{"id": i, "name": name} for i, name in ((3, "person"), (1, "car"), (2, "dog"))]
    for document, ids in ((DOCUMENT, [1, 3, 18]), (other, [3, 1, 2])):
        truth = load(tmp_path, document).with_categories(["person", "car", "dog"])
        assert truth.category_ids.tolist() == ids
        assert truth.category_index.tolist() == [0, 2, 0]


def test_class_lists_that_do_not_fit_name_the_ids(tmp_path: Path) -> None:
    truth = load(tmp_path, DOCUMENT)
    with pytest.raises(DataError, match="no category 'persn': id 1 is 'person', 3 is 'car', 18 is 'dog'") as raised:
        truth.with_categories(["car", "persn"])
    assert "person" in raised.value.next_step
    with pytest.raises(DataError, match="no category is left"):
        truth.with_categories([])
    with pytest.raises(DataError, match="the class list has 'car' more than once"):
        truth.with_categories(["car", "dog", "car"])
    twins = load(tmp_path, edited(lambda d: d["categories"][2].update(name="dog")))
    assert twins.with_categories(["person", "dog"]).category_ids.tolist() == [1, 18], "of twins the one with objects"
    both = edited(lambda d: (d["categories"][2].update(name="dog"), d["annotations"][2].update(category_id=3)))
    with pytest.raises(DataError, match="2 categories of the name 'dog': ids 3, 18"):
        load(tmp_path, both).with_categories(["person", "dog"])


def test_a_class_without_category_has_no_object(tmp_path: Path) -> None:
    truth = load(tmp_path, DOCUMENT).with_categories(["boat", "dog", "kite"], optional=["boat", "dog", "kite"])
    assert truth.category_ids.tolist() == [19, 18, 20]
    assert truth.category_names == ["boat", "dog", "kite"]
    assert truth.category_index.tolist() == [1]
    with pytest.raises(DataError, match="no category 'kite'"):
        load(tmp_path, DOCUMENT).with_categories(["boat", "kite"], optional=["boat"])


def test_no_annotation_has_id_0(tmp_path: Path) -> None:
    truth = load(tmp_path, edited(lambda d: d["annotations"][1].update(id=0)))
    assert truth.annotation_ids.tolist() == [2, 1, 3], "from 1, in the order of the file"


def test_of_many_categories_an_error_names_the_first(tmp_path: Path) -> None:
    many = edited(lambda d: d["categories"].extend({"id": i, "name": f"c{i}"} for i in range(100, 110)))
    with pytest.raises(DataError, match="106 is 'c106' and 3 more"):
        load(tmp_path, many).with_categories(["cat"])


def test_masks(tmp_path: Path) -> None:
    ground_truth = load(tmp_path, DOCUMENT)
    masks: Any = [ground_truth.rle(0), ground_truth.rle(1)]
    assert [mask["size"] for mask in masks] == [[10, 10], [20, 40]]
    assert coco_mask.area(masks).tolist() == [10, 12]
    assert coco_mask.toBbox(masks).tolist() == [[0, 0, 2, 5], [1, 2, 3, 4]]
    assert ground_truth.rle(1) is ground_truth.rle(1)
    with pytest.raises(DataError, match="annotation 2 has no segmentation"):
        ground_truth.rle(2)
    with pytest.raises(DataError, match="1 of 3 annotations have no segmentation, such as annotation 2"):
        ground_truth.require_masks()
    ground_truth.subset(1).require_masks()


def edited(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document = copy.deepcopy(DOCUMENT)
    change(document)
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "is not valid JSON"),
        (json.dumps(DOCUMENT).replace('"images":', '"images": [], "images":'), "the key 'images' stands there twice"),
        (json.dumps(DOCUMENT).replace('"area": 10,', '"area": 10, "area": 11,'), "the key 'area' stands there twice"),
        ("[]", "holds a list, not an object"),
        (edited(lambda d: d.pop("images")), "has no list 'images'"),
        (edited(lambda d: d.update(annotations={})), "has no list 'annotations'"),
        (edited(lambda d: d.update(images=[])), "has no images"),
        (edited(lambda d: d["images"].append(7)), "something in 'images' that is not an object"),
        (edited(lambda d: d["images"][1].pop("height")), "image 10 without 'height'"),
        (edited(lambda d: d["annotations"][0].pop("iscrowd")), "annotation 5 without 'iscrowd'"),
        (edited(lambda d: d["annotations"][0].update(id=9)), "id 9 more than once in annotations"),
        (edited(lambda d: d["images"][0].update(id=10)), "id 10 more than once in images"),
        (edited(lambda d: d["images"][0].update(id="10")), "image '10' whose 'id' is not an integer of 64 bits"),
        (edited(lambda d: d["annotations"][0].update(image_id=31)), "annotation 5 with the unknown image_id 31"),
        (edited(lambda d: d["annotations"][0].update(category_id=2)), "annotation 5 with the unknown category_id 2"),
        (edited(lambda d: d["annotations"][0].update(bbox=[1, 2, 3])), "annotation 5 whose 'bbox' is not a list of 4"),
        (edited(lambda d: d["annotations"][1].update(bbox=["1", 2, 3, 4])), "annotation 9 whose 'bbox'"),
        (edited(lambda d: d["annotations"][1].update(bbox=[1, 2, 3, float("nan")])), "annotation 9 whose 'bbox'"),
        (edited(lambda d: d["annotations"][1].update(bbox=None)), "annotation 9 whose 'bbox'"),
        (edited(lambda d: d["annotations"][1].update(bbox=[0, 0, 1e300, 1])), "'bbox' lies outside of any image"),
        (edited(lambda d: d["annotations"][1].update(bbox=[0, -(2**40), 1, 1])), "'bbox' lies outside of any image"),
        (edited(lambda d: d["annotations"][1].pop("bbox")), "annotation 9 without 'bbox'"),
        (edited(lambda d: d["annotations"][0].update(area=None)), "annotation 5 whose 'area' is not a finite number"),
        (edited(lambda d: d["annotations"][2].update(area="81")), "annotation 2 whose 'area' is not a finite number"),
        (edited(lambda d: d["annotations"][2].update(area=10**400)), "annotation 2 whose 'area' is not a finite"),
        (edited(lambda d: d["annotations"][2].update(iscrowd=2)), "annotation 2 whose 'iscrowd' is not 0 or 1: 2"),
        (edited(lambda d: d["images"][0].update(id=2**63)), "whose 'id' is not an integer of 64 bits"),
        (edited(lambda d: d["annotations"][2].update(category_id=2**70)), "annotation 2 whose 'category_id' is not"),
        (edited(lambda d: d["images"][2].update(height=0)), "image 20 whose 'height' is not a number of pixels: 0"),
        (edited(lambda d: d["images"][2].update(width=-1)), "image 20 whose 'width' is not a number of pixels: -1"),
        (edited(lambda d: d["images"][2].update(width=10.0)), "image 20 whose 'width' is not a number of pixels"),
        (edited(lambda d: d["images"][2].update(width=2**20, height=2**20)), "image 20 of 1048576 x 1048576 pixels"),
        (
            edited(lambda d: d["images"][2].update(file_name="../b.jpg")),
            "image 20 whose 'file_name' is not the name of",
        ),
        (edited(lambda d: d["images"][2].update(file_name="a/../../b.jpg")), "image 20 whose 'file_name'"),
        (edited(lambda d: d["images"][2].update(file_name="/etc/b.jpg")), "image 20 whose 'file_name'"),
        (edited(lambda d: d["images"][2].update(file_name="..\\b.jpg")), "image 20 whose 'file_name'"),
        (edited(lambda d: d["images"][2].update(file_name="C:/b.jpg")), "image 20 whose 'file_name'"),
        (edited(lambda d: d["images"][2].update(file_name="b\0.jpg")), "image 20 whose 'file_name'"),
        (edited(lambda d: d["images"][2].update(file_name=7)), "image 20 whose 'file_name'"),
        (edited(lambda d: d["categories"][0].update(name=None)), "category 18 whose 'name' is not a text: None"),
    ],
)
def test_what_is_refused(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load(tmp_path, document)


FAULTY = {
    "flat": ([1, 2, 4, 2, 4, 6], "a list of numbers, not of polygons"),
    "strings": (["1 2 4 2 4 6"], "not made of lists"),
    "odd": ([[1, 2, 4, 2, 4, 6, 1]], "a polygon of 7 numbers: an x without a y"),
    "text": ("1,2,4,2,4,6", "neither polygons nor run lengths, but a str"),
    "nothing": ([[1, 2, 4, 2, 4, None]], "something that is no finite number"),
    "infinite": ([[1, 2, 4, 2, 4, 6], [1, 2, 4, 2, 4, float("inf")]], "something that is no finite number"),
    "numbers as texts": ([["1", "2", "4", "2", "4", "6"]], "something that is no finite number"),
    "polygons in polygons": ([[[1, 2, 4, 2, 4, 6], [1, 2, 4, 6, 1, 6]]], "something that is no finite number"),
    "far": ([[1, 2, 4, 2, 1e8, 6]], "the coordinate 1e[+]08, far beyond its image of 40 x 20 pixels"),
    "no counts": ({"size": [20, 40]}, "an object without 'counts'"),
    "no size": ({"counts": [800]}, r"the size None; its image is \[20, 40\]"),
    "swapped size": ({"size": [40, 20], "counts": [800]}, r"the size \[40, 20\]; its image is \[20, 40\]"),
    "huge size": ({"size": [2**40, 1], "counts": [0, 1]}, "its image is"),
    "short": ({"size": [20, 40], "counts": [10, 20]}, "counts of 30 pixels, its image has 800"),
    "long": ({"size": [20, 40], "counts": [10, 800]}, "counts of 810 pixels, its image has 800"),
    "negative": ({"size": [20, 40], "counts": [-10, 810]}, "negative counts"),
    "fractions": ({"size": [20, 40], "counts": [0.5, 799.5]}, "an object without 'counts', a list of integers"),
    "cut text": ({"size": [20, 40], "counts": "`"}, "cannot be read: the last number is cut off"),
    "foreign text": ({"size": [20, 40], "counts": "{}"}, "cannot be read: a character is not of the format"),
    "endless text": ({"size": [20, 40], "counts": "o" * 12 + "1"}, "a number is larger than any image"),
    "empty text": ({"size": [20, 40], "counts": ""}, "cannot be read: the text is empty"),
}


@pytest.mark.parametrize(("segmentation", "message"), FAULTY.values(), ids=FAULTY)
def test_faulty_segmentations_name_their_annotation(tmp_path: Path, segmentation: Any, message: str) -> None:
    document = edited(lambda d: d["annotations"][2].update(segmentation=segmentation))
    with pytest.raises(DataError, match=f"annotation 2 whose 'segmentation' .*{message}"):
        load(tmp_path, document)


def test_polygons_are_float64_with_the_values_of_the_file(tmp_path: Path) -> None:
    polygons = [[1, 2, 4.1, 2, 4, 6.7], [0.1, 0, 5, 0, 5, 9, 3, 1e-9]]
    truth = load(tmp_path, edited(lambda d: d["annotations"][0].update(segmentation=polygons)))
    assert [polygon.dtype for polygon in truth.segmentations[1]] == [np.float64, np.float64]
    assert [polygon.tolist() for polygon in truth.segmentations[1]] == polygons


def test_masks_of_an_image_are_made_together_as_one_by_one(tmp_path: Path) -> None:
    several: Any = [[[1, 1, 8, 1, 8, 9]], [[0, 0, 3, 0, 3, 3], [2, 2, 9, 2, 9, 9]], {"size": [20, 40], "counts": [800]}]

    def three(document: dict[str, Any]) -> None:
        first = document["annotations"][0]
        document["annotations"] = [{**first, "id": i + 1, "segmentation": one} for i, one in enumerate(several)]

    document = edited(three)
    together, alone = load(tmp_path, document), load(tmp_path, document)
    assert together.rles([2, 0, 1]) == [alone.rle(2), alone.rle(0), alone.rle(1)]
    assert together.rle(1) is together.rles([1])[0]


def test_polygons_without_an_area_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    triangle = [1, 2, 4, 2, 4, 6]
    mixed = edited(lambda d: d["annotations"][0].update(segmentation=[[3, 3], triangle, [1, 1, 5, 5], []]))
    truth = load(tmp_path, mixed)
    assert "3 polygons of fewer than three points" in caplog.text
    assert "annotation 5" in caplog.text
    alone = load(tmp_path, edited(lambda d: d["annotations"][0].update(segmentation=[triangle])))
    assert truth.rle(1) == alone.rle(1)
    nothing = load(tmp_path, edited(lambda d: d["annotations"][0].update(segmentation=[[3, 3]])))
    assert coco_mask.area([nothing.rle(1)]).tolist() == [0]  # type: ignore[list-item]
    assert nothing.rle(1)["size"] == [20, 40]


def test_compressed_masks_are_read(tmp_path: Path) -> None:
    encoding: Any = coco_mask.frPyObjects([[1, 2, 14, 2, 14, 16]], 20, 40)[0]
    compressed = {"size": [20, 40], "counts": encoding["counts"].decode()}
    truth = load(tmp_path, edited(lambda d: d["annotations"][0].update(segmentation=compressed)))
    assert truth.rle(1) == compressed
    wrong = edited(lambda d: d["annotations"][0].update(segmentation={**compressed, "size": [9, 89]}))
    wrong["images"][0].update(height=9, width=89)
    with pytest.raises(DataError, match="counts of 800 pixels, its image has 801"):
        load(tmp_path, wrong)


def test_images_in_folders(tmp_path: Path) -> None:
    named = load(tmp_path, edited(lambda d: d["images"][0].update(file_name="a/c..jpg")))
    assert named.file_names[2] == "a/c..jpg"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no annotation file") as raised:
        CocoGroundTruth.load(tmp_path / "annotations" / "person_keypoints_val2017.json")
    assert raised.value.next_step.startswith("point data.root at")
    assert "annotations/person_keypoints_val2017.json" in raised.value.next_step
    with pytest.raises(DataError, match="cannot read"):
        CocoGroundTruth.load(tmp_path)


def test_a_set_without_annotations(tmp_path: Path) -> None:
    ground_truth = load(tmp_path, edited(lambda d: d.update(annotations=[])))
    assert ground_truth.boxes.shape == (0, 4)
    assert ground_truth.subset(1).annotations_of(0) == slice(0, 0)


@pytest.mark.skipif(not REAL.exists(), reason="the sample of val2017 is not here")
def test_real_annotations_and_masks_are_those_of_pycocotools(capsys: pytest.CaptureFixture[str]) -> None:
    ground_truth, reference = CocoGroundTruth.load(REAL), COCO(str(REAL))
    assert ground_truth.image_ids.tolist() == sorted(reference.getImgIds())
    assert ground_truth.category_ids.tolist() == sorted(reference.getCatIds())
    assert ground_truth.annotation_ids.tolist() == reference.getAnnIds(imgIds=ground_truth.image_ids.tolist())
    for position in range(0, len(ground_truth.areas), 20):
        annotation: Any = reference.loadAnns([int(ground_truth.annotation_ids[position])])[0]
        assert ground_truth.rle(position)["counts"].encode() == reference.annToRLE(annotation)["counts"]
        assert np.array_equal(ground_truth.boxes[position], annotation["bbox"])
