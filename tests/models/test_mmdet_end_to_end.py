"""From the JPEG to the final detections, the answers of mmdetection on real images."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from parity import SHARED, needs_coco, needs_shared, sample, weights

from zoo.compose import build_model, compose, load_weights
from zoo.models.boxes import pairwise_iou
from zoo.models.detectors.two_stage import TwoStageDetector

CASES = {"mmdet_faster_rcnn_r50_fpn_1x": "mmdet/faster_rcnn_r50_fpn_1x_coco"}
IMAGES = ("000000349184", "000000520707")

pytestmark = [pytest.mark.slow, needs_shared, needs_coco]


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[TwoStageDetector, dict[str, npt.NDArray[Any]]]:
    with torch.device("meta"):
        model = build_model(compose(request.param), num_classes=80)
    load_weights(model, weights(CASES[request.param]), "mmdet")
    assert isinstance(model, TwoStageDetector)
    with np.load(SHARED / "parity" / f"{CASES[request.param]}.npz") as archive:
        answers = {key.removeprefix("e2e/"): archive[key] for key in archive.files if key.startswith("e2e/")}
    return model.eval(), answers


@pytest.mark.parametrize("image", IMAGES)
@torch.inference_mode()
def test_input_proposals_and_detections(case: tuple[TwoStageDetector, dict[str, npt.NDArray[Any]]], image: str) -> None:
    detector, answers = case
    golden = {key.removeprefix(f"{image}/"): value for key, value in answers.items() if key.startswith(image)}
    one = detector.transform(SHARED / "coco" / "val2017" / f"{image}.jpg")
    assert one.scale == pytest.approx(golden["scale"], abs=1e-9)
    batch = detector.prepare([one])
    assert tuple(batch.images.shape) == tuple(golden["input_shape"].astype(int))
    assert np.abs(sample(batch.images) - golden["input_sample"]).max() <= 1e-6

    outputs = detector.network(batch)
    assert len(outputs.proposals[0]) == int(golden["proposal_count"])
    assert np.abs(outputs.proposals[0][:50].numpy() - golden["proposals"]).max() <= 0.05

    (found,) = detector.postprocess(outputs, batch)
    assert len(found) == len(golden["scores"])
    overlap = pairwise_iou(torch.from_numpy(golden["boxes"]), found.boxes).numpy()
    near = np.abs(golden["scores"][:, None] - found.scores.numpy()[None]) <= 1e-3
    same = golden["labels"][:, None] == found.labels.numpy()[None]
    assert ((overlap >= 0.99) & near & same).any(axis=1).mean() >= 0.99
