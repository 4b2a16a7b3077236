"""PaddleDetection's static graph (PSS-DET): network stages, and from the JPEG to the final detections."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases import ENTRIES
from paddle_cases import IMAGES, assert_end_to_end, assert_stages, cases_of, loaded, runs, with_stages
from parity import SHARED, golden, needs_coco, needs_shared

from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.heads.roi_stage import RoiStage
from zoo.models.layers.skip_init import SkipInit

FASTER = "faster_rcnn_dcn_r50_vd_fpn_3x_server_side"
CASCADE_50, CASCADE_101 = (f"cascade_rcnn_dcn_{depth}_vd_fpn_3x_server_side" for depth in ("r50", "r101"))
CASES = cases_of("paddle_static")
OFTEN = {(FASTER, IMAGES[0])}
"""What every test run looks at; the rest is `nightly`."""

pytestmark = pytest.mark.long


@pytest.mark.parametrize("case", with_stages(CASES))
def test_stages(case: str) -> None:
    assert_stages(loaded(case), case)


@needs_shared
@needs_coco
@pytest.mark.parametrize(("case", "image"), runs(CASES, OFTEN))
def test_input_proposals_and_detections(case: str, image: str) -> None:
    assert_end_to_end(loaded(case), case, image, extent="im_info")
    original = golden(f"paddle/{case}", f"e2e/{image}")["im_shape"]
    assert (original == (*loaded(case).transform(SHARED / "coco" / "val2017" / f"{image}.jpg").original_size, 1)).all()


@pytest.mark.parametrize(
    ("case", "size", "resized", "padded", "stds"),
    [
        (FASTER, (480, 640), (480, 640), (480, 640), [0.1]),
        (FASTER, (427, 640), (427, 640), (448, 640), [0.1]),
        (CASCADE_50, (480, 640), (1000, 1333), (1024, 1344), [0.1, 0.05, 1 / 30]),
        (CASCADE_101, (480, 640), (800, 1067), (800, 1088), [0.1, 0.05, 1 / 30]),
        (CASCADE_101, (300, 640), (625, 1333), (640, 1344), [0.1, 0.05, 1 / 30]),
    ],
)
def test_sizes_and_stages(
    case: str, size: tuple[int, int], resized: tuple[int, int], padded: tuple[int, int], stds: list[float]
) -> None:
    (name,) = ENTRIES[f"paddle/{case}"]
    config = compose(name)
    with SkipInit("meta"):
        detector = build_model(config, config["data"]["classes"])
    assert isinstance(detector, TwoStageDetector)
    samples = [detector.transform(np.zeros((*size, 3), dtype=np.uint8))]
    (geometry,) = detector.normalizer.eval()(samples, torch.device("cpu")).geometries
    assert geometry.size == resized
    assert geometry.extent == geometry.padded_size == padded  # proposals are clipped to the padded image
    (geometry,) = detector.normalizer.train()(samples, torch.device("cpu")).geometries
    assert geometry.extent == pytest.approx(
        [side * detector.transform(np.zeros((*size, 3), np.uint8)).scale[0] for side in size]
    )
    found = [stage.coder.stds for stage in detector.roi_head.stages if isinstance(stage, RoiStage)]
    assert found == [pytest.approx((std, std, 2 * std, 2 * std)) for std in stds]
    selector = detector.rpn_head.proposals
    assert (selector.pre_nms_top_n, selector.level_top_n, selector.post_nms_top_n) == (500, 300, 300)
