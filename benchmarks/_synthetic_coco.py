"""A made-up val2017: the real one's counts, class and size mix, and detections like a Faster R-CNN's (AP about .37).

Everything follows from a fixed seed. Legend for shapes: A annotations, D detections.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WIDTH, HEIGHT = 640, 480
CATEGORY_IDS = np.setdiff1d(np.arange(1, 91), [12, 26, 29, 30, 45, 66, 68, 69, 71, 83])
ANNOTATIONS_PER_IMAGE = 36_781 / 5000
CROWDS_PER_ANNOTATION = 452 / 36_781
SMALL_MEDIUM_LARGE = (0.41, 0.34, 0.25)
CORNERS = 20
"""Corners of the polygon drawn into each box, an ellipse."""
KEYPOINTS = 17
PERSONS_WITH_KEYPOINTS = 6_352 / 11_004
"""Of the persons of val2017; on the others no keypoint is labelled."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects, image by image: image (A,), category (A,), both positions; boxes xywh (A, 4); crowds (A,)."""

    image: Ints
    category: Ints
    boxes: Floats
    is_crowd: npt.NDArray[np.bool_]


def make_objects(rng: np.random.Generator, images: int) -> Objects:
    """Objects that come in clumps of a category, as in photographs: a street has many cars, a table many cups."""
    wanted = round(images * ANNOTATIONS_PER_IMAGE)
    frequency = 1 / np.arange(2, 82) ** 0.9
    frequency[0] = 0.45 * frequency[1:].sum()  # persons are three in ten
    frequency /= frequency.sum()
    clumps = wanted  # more than needed
    image = rng.integers(0, images, clumps)
    category = rng.choice(80, clumps, p=frequency)
    size = np.minimum(rng.negative_binomial(0.4, 0.25, clumps) + 1, 40)
    enough = int(np.searchsorted(np.cumsum(size), wanted)) + 1
    image, category = (np.repeat(column[:enough], size[:enough])[:wanted] for column in (image, category))
    order = np.argsort(image, kind="stable")
    is_crowd = rng.random(wanted) < CROWDS_PER_ANNOTATION
    side = np.exp(rng.uniform(np.log([8, 32, 96]), np.log([32, 96, 380]), (wanted, 3)))
    side = side[np.arange(wanted), rng.choice(3, wanted, p=SMALL_MEDIUM_LARGE)] * 1.13 * np.where(is_crowd, 2, 1)
    aspect = np.exp(rng.normal(0, 0.4, wanted))
    extent = np.minimum(np.stack([side * aspect, side / aspect], axis=1), [WIDTH - 2, HEIGHT - 2])
    corner = rng.random((wanted, 2)) * ([WIDTH, HEIGHT] - extent)
    boxes = np.concatenate([corner, extent], axis=1).round(2)
    return Objects(image[order], category[order], boxes, is_crowd)


def make_detections(
    rng: np.random.Generator, objects: Objects, images: int, wanted: int
) -> dict[str, npt.NDArray[Any]]:
    """Columns (D,) and boxes (D, 4): hits of varying quality, repeated hits, confusions, background."""
    copies = np.where(rng.random(len(objects.image)) < 0.85, 1 + rng.poisson(1.0, len(objects.image)), 0)
    source = np.repeat(np.arange(len(copies)), copies)[:wanted]
    first = np.diff(source, prepend=-1) != 0
    blur = rng.gamma(1.4, 0.065, len(source)) * np.where(first, 1, 2)
    hits = _shaken(rng, objects.boxes[source], blur)
    hit_score = 1 / (1 + np.exp(7 * blur + 1.5 * rng.normal(size=len(source)) + np.where(first, -1.5, 2.0)))
    rest = wanted - len(source)
    model = rng.integers(0, len(objects.image), rest)  # background looks like some object of some image
    near = rng.random(rest) < 0.7
    image = np.where(near, objects.image[model], rng.integers(0, images, rest))
    category = np.where(near, objects.category[model], rng.integers(0, 80, rest))
    shift = np.where(near, 0.5, 3.0)
    noise = _shaken(rng, objects.boxes[model], shift)
    noise_score = 0.05 + 0.95 * rng.beta(0.35, 7, rest)
    image = np.concatenate([objects.image[source], image])
    score = np.concatenate([hit_score, noise_score]).astype(np.float32)
    order = np.lexsort((-score, image))  # as a detector gives them: image after image, best score first
    return {
        "image": image[order],
        "category": np.concatenate([objects.category[source], category])[order],
        "bbox": np.concatenate([hits, noise]).astype(np.float32).astype(np.float64)[order],
        "score": score.astype(np.float64)[order],
    }


def write_set(folder: Path, *, images: int, detections: int, iou_type: str = "bbox", seed: int = 0) -> None:
    """Write annotations.json (COCO's layout), detections.npz and masks.json where masks are compared.

    Where keypoints are compared the objects are persons alone, three in ten of all.
    """
    rng = np.random.default_rng(seed)
    objects = make_objects(rng, images)
    if iou_type == "keypoints":
        persons = objects.category == 0
        columns = (objects.image, objects.category, objects.boxes, objects.is_crowd)
        objects = Objects(*(column[persons] for column in columns))
    found = make_detections(rng, objects, images, detections)
    document = _as_json(objects, images)
    arrays = {
        "image_id": found["image"] + 1,
        "category_id": CATEGORY_IDS[found["category"]],
        "bbox": found["bbox"],
        "score": found["score"],
    }
    if iou_type == "keypoints":
        pose = rng.uniform(0.1, 0.9, (KEYPOINTS, 2))
        _label_keypoints(rng, document["annotations"], objects, pose)
        arrays["keypoints"] = _posed(rng, found["bbox"], pose)
    (folder / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
    np.savez(folder / "detections.npz", **arrays)
    if iou_type == "segm":
        (folder / "masks.json").write_text(json.dumps([_rle(box) for box in found["bbox"]]), encoding="utf-8")


def _posed(rng: np.random.Generator, boxes: Floats, pose: Floats) -> Floats:
    """Keypoints in boxes (N, KEYPOINTS, 3): a pose, each a few hundredths of the box away; visibility, or score, 2."""
    shares = pose + rng.normal(0, 0.02, (len(boxes), *pose.shape))
    points = (boxes[:, None, :2] + shares * boxes[:, None, 2:]).astype(np.float32).astype(np.float64)
    return np.concatenate([points, np.full((len(boxes), KEYPOINTS, 1), 2.0)], axis=2)


def _label_keypoints(
    rng: np.random.Generator, annotations: list[dict[str, Any]], objects: Objects, pose: Floats
) -> None:
    """Give annotations keypoints, whole pixels as COCO's are: most persons some, others and crowds none."""
    keypoints = _posed(rng, objects.boxes, pose).round()
    labelled = rng.random((len(annotations), KEYPOINTS)) < rng.uniform(0.3, 1, (len(annotations), 1))
    labelled[objects.is_crowd | (rng.random(len(annotations)) >= PERSONS_WITH_KEYPOINTS)] = False
    keypoints[~labelled] = 0
    for row, points, count in zip(annotations, keypoints, labelled.sum(axis=1).tolist(), strict=True):
        row |= {"keypoints": points.ravel().astype(int).tolist(), "num_keypoints": count}


def _shaken(rng: np.random.Generator, boxes: Floats, amount: Floats) -> Floats:
    """Boxes moved and stretched by `amount` of their size, cut at the image's border."""
    extent = boxes[:, 2:]
    corner = boxes[:, :2] + extent * rng.normal(0, 1, extent.shape) * amount[:, None]
    extent = np.maximum(extent * np.exp(rng.normal(0, 1, extent.shape) * np.minimum(amount, 0.6)[:, None]), 1)
    corner = np.clip(corner, 0, np.array([WIDTH, HEIGHT]) - 2)
    return np.concatenate([corner, np.minimum(extent, [WIDTH, HEIGHT] - corner)], axis=1)


def _ellipses(boxes: Floats) -> Floats:
    """(N, CORNERS * 2): the polygon in each box, x and y in turn."""
    angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) / 2 + 0.5  # (CORNERS, 2)
    corners = boxes[:, None, :2] + circle * boxes[:, None, 2:]
    return corners.round(2).reshape(len(boxes), -1)


def _rle(box: Floats) -> dict[str, Any]:
    from pycocotools import mask

    encoded: Any = mask.frPyObjects(_ellipses(box[None]).tolist(), HEIGHT, WIDTH)[0]
    return {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}


def _as_json(objects: Objects, images: int) -> dict[str, Any]:
    area_of_polygon = CORNERS / 8 * np.sin(2 * np.pi / CORNERS)  # of a box of size 1
    polygons = _ellipses(objects.boxes).tolist()
    areas = (objects.boxes[:, 2] * objects.boxes[:, 3] * area_of_polygon).round(4).tolist()
    annotations = [
        {
            "id": a + 1,
            "image_id": int(objects.image[a]) + 1,
            "category_id": int(CATEGORY_IDS[objects.category[a]]),
            "bbox": objects.boxes[a].tolist(),
            "area": areas[a],
            "iscrowd": int(objects.is_crowd[a]),
            "segmentation": [polygons[a]],
        }
        for a in range(len(areas))
    ]
    return {
        "info": {},
        "images": [
            {"id": i + 1, "file_name": f"{i + 1:012}.jpg", "height": HEIGHT, "width": WIDTH} for i in range(images)
        ],
        "categories": [{"id": int(k), "name": f"category {k}"} for k in CATEGORY_IDS],
        "annotations": annotations,
    }
