"""From the JPEG to the final detections, the answers of mmdetection on real images."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from mmdet_cases import ARCHITECTURES, load
from pairing import pair_detections
from parity import SHARED, golden, needs_coco, needs_shared, sample
from torch import Tensor

from zoo.data.rle import decode
from zoo.models.boxes import EXCLUSIVE
from zoo.models.detectors.base import Detector
from zoo.models.detectors.two_stage import TwoStageDetector, TwoStageOutputs
from zoo.types import Batch

IMAGES = ("000000349184", "000000520707")
ANSWERED = [case for case in ARCHITECTURES if (SHARED / "parity" / "mmdet" / f"{case}.npz").exists()]

OFTEN = {
    "faster_rcnn_r50_fpn_1x_coco": IMAGES[1:],
    "retinanet_r50_fpg_crop640_50e_coco": IMAGES[1:],
}
"""The images that every test run looks at; the others are `nightly`: of C4 every region costs a stage, and FPG is
dear; caffe's stages have a test of their own; masks from end to end are looked at with Res2Net."""

MASK_AREA = 1e-3
"""Share of a mask's pixels that may be others on another device than a CPU."""

pytestmark = [pytest.mark.long, needs_shared, needs_coco]


def runs() -> Iterator[Any]:
    """Every case with every image."""
    for case in ANSWERED:
        for image in IMAGES:
            often = image in OFTEN.get(case, ())
            yield pytest.param(case, image, marks=() if often else pytest.mark.nightly)


loaded = functools.lru_cache(maxsize=1)(load)


@pytest.mark.parametrize(("name", "image"), list(runs()))
@torch.inference_mode()
def test_input_proposals_and_detections(name: str, image: str) -> None:
    assert_end_to_end(loaded(name), name, image)


def assert_end_to_end(detector: Detector, name: str, image: str) -> None:
    """Input, proposals and detections are the original's, whatever device the detector is on."""
    batch, answers = prepared(detector, name, image)
    outputs = detector.network(batch)
    if isinstance(outputs, TwoStageOutputs):
        assert_proposals(outputs.proposals[0].cpu(), answers)

    found = detector.postprocess(outputs, batch)[0].cpu()
    assert len(found) == len(answers["boxes"])
    pairs = pair_detections(answers, found, nms_iou=0.5)
    if found.masks is not None:
        areas = np.array([decode(found.masks[i]).sum() for i in pairs.values()], dtype=np.int64)
        expected = answers["mask_area"][list(pairs)]
        # Another device adds in another order, which moves a pixel here and there along a border that is nearly flat.
        allowed = 2 if detector.device.type == "cpu" else np.maximum(2, MASK_AREA * expected)
        assert (np.abs(areas - expected) <= allowed).all(), f"areas of masks: {areas - expected}"


@torch.inference_mode()
def test_input_and_proposals_on_one_map() -> None:
    name = "faster_rcnn_r50_caffe_c4_1x_coco"
    detector = loaded(name)
    batch, answers = prepared(detector, name, IMAGES[1])
    assert isinstance(detector, TwoStageDetector)
    outputs = detector.rpn_head(detector.neck(detector.backbone(batch.images)))
    (proposals,) = detector.rpn_head.propose(outputs, batch.geometries)
    assert_proposals(proposals.boxes, answers)


def prepared(detector: Detector, name: str, image: str) -> tuple[Batch, dict[str, npt.NDArray[Any]]]:
    """An image of a case as the detector's input, which is the original's, and the original's answers."""
    answers = golden(f"mmdet/{name}", f"e2e/{image}")
    one = detector.transform(SHARED / "coco" / "val2017" / f"{image}.jpg")
    assert one.scale == pytest.approx(answers["scale"], abs=1e-9)
    assert tuple(one.pixels.shape[:2]) == tuple(answers["img_shape"].astype(int))
    batch = detector.prepare([one])
    assert tuple(batch.images.shape) == tuple(answers["input_shape"].astype(int))
    assert np.abs(sample(batch.images) - answers["input_sample"]).max() <= 1e-6 * float(answers["input_stats"][1])
    return batch, answers


def assert_proposals(found: Tensor, answers: dict[str, npt.NDArray[Any]]) -> None:
    """As many, and the best agree; two of nearly equal score may have swapped places.

    Sides are decoded by an exponential: noise of 1e-4 in it moves them by that part of their length.
    """
    assert len(found) == int(answers["proposal_count"])
    expected = torch.from_numpy(answers["proposals"])
    distances = torch.cdist(expected, found[: len(expected) + 1], p=torch.inf).amin(dim=1)
    longest = EXCLUSIVE.size(expected).amax(dim=1)
    assert bool((distances <= (1e-4 * longest).clamp(min=0.02)).all())
