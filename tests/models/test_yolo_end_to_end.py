"""From the JPEG to the final detections and masks, the answers of Ultralytics on real images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pairing import pair_detections
from parity import SHARED, golden, needs_coco, needs_shared, sample
from pycocotools import mask as coco_mask
from test_yolo_parity import DEEP, load

from zoo.data.detections import Detections
from zoo.models.detectors.dense import DenseDetector
from zoo.models.heads.yolo import YoloHead
from zoo.models.heads.yolo_masks import MaskMethod
from zoo.models.layers.conv import fold_batch_norm
from zoo.types import Rle

CASES = ["yolov8n", "yolov8n-seg", "yolov8s-seg", *DEEP]
IMAGES = ("000000349184", "000000520707")

pytestmark = [pytest.mark.long, needs_shared, needs_coco]


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[str, DenseDetector]:
    """As it runs: with folded normalisation."""
    detector = load(request.param)
    fold_batch_norm(detector)
    return f"ultralytics/{request.param}", detector


@torch.inference_mode()
def found_in(detector: DenseDetector, image: str, answers: dict[str, npt.NDArray[Any]], *, square: bool) -> Detections:
    """What is found in an image, whose input is the original's."""
    one = detector.transform(SHARED / "coco" / "val2017" / f"{image}.jpg")
    assert one.scale == pytest.approx(answers["scale"], abs=1e-6)
    if square:
        one.batch_shape = (640, 640)
    batch = detector.prepare([one])
    assert tuple(batch.images.shape) == tuple(answers["input_shape"].astype(int))
    assert np.abs(sample(batch.images) - answers["input_sample"]).max() <= 1e-6
    return detector.postprocess(detector.network(batch), batch)[0].cpu()


def pair(answers: dict[str, npt.NDArray[Any]], found: Detections) -> dict[int, int]:
    """Each of the original's best detections with the one here."""
    return pair_detections(answers, found, nms_iou=0.7, score=1e-4)


def area(mask: Rle) -> int:
    encoded: Any = {**mask, "counts": mask["counts"].encode()}
    return int(coco_mask.area(encoded))


def assert_masks(masks: list[Rle], expected: npt.NDArray[Any]) -> None:
    """A box side within float noise of a whole number moves a mask's edge by a row: one in a hundred may."""
    areas = np.array([area(mask) for mask in masks])
    good = np.abs(areas - expected) <= np.maximum(2, 0.001 * expected)
    assert good.mean() >= 0.99


@pytest.mark.parametrize("variant", ["e2e", "e2e_square"])
@pytest.mark.parametrize("image", IMAGES)
def test_detections(case: tuple[str, DenseDetector], image: str, variant: str) -> None:
    name, detector = case
    answers = golden(name, f"{variant}/{image}")
    assert_answers(found_in(detector, image, answers, square=variant == "e2e_square"), answers)


def assert_answers(found: Detections, answers: dict[str, npt.NDArray[Any]]) -> None:
    """As many detections as the original's, its best among them, with its masks."""
    assert len(found) == int(answers["num"])
    pairs = pair(answers, found)
    if found.masks is not None:
        assert_masks([found.masks[i] for i in pairs.values()], answers["mask_area"][list(pairs)])


@pytest.mark.parametrize("image", IMAGES)
def test_the_prediction_does_not_depend_on_folding(case: tuple[str, DenseDetector], image: str) -> None:
    name, _ = case
    plain = load(name.removeprefix("ultralytics/"))
    answers = golden(name, f"e2e/{image}")
    pair(answers, found_in(plain, image, answers, square=False))


METHODS: dict[MaskMethod, str] = {"logits": "mask_area", "probabilities": "mask_area_v800"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("file", "image"), [("yolov8n-seg", IMAGES[0]), ("yolov8n-seg", IMAGES[1]), ("yolov8n-seg_resized", "000000020992")]
)
def test_masks_by_both_methods(file: str, image: str, method: MaskMethod) -> None:
    detector = load("yolov8n-seg")
    fold_batch_norm(detector)
    assert isinstance(detector.dense_head, YoloHead)
    assert detector.dense_head.mask_branch is not None
    detector.dense_head.mask_branch.method = method
    answers = golden(f"ultralytics/{file}", f"e2e/{image}")
    found = found_in(detector, image, answers, square=False)
    pairs = pair(answers, found)
    assert found.masks is not None
    assert_masks([found.masks[i] for i in pairs.values()], answers[METHODS[method]][list(pairs)])
    if method == "logits":
        assert [found.masks[pairs[i]]["counts"] for i in range(5)] == answers["mask_rle_first5"].tolist()
