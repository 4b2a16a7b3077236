"""PaddleDetection's static graph (PSS-DET): network stages, and from the JPEG to the final detections."""

from __future__ import annotations

import pytest
from paddle_cases import IMAGES, assert_end_to_end, assert_stages, cases_of, loaded
from parity import GOLDEN, SHARED, golden, needs_coco, needs_shared

FASTER = "faster_rcnn_dcn_r50_vd_fpn_3x_server_side"
CASES = cases_of("paddle_static")
ANSWERED = [case for case in CASES if (SHARED / "parity" / "paddle" / f"{case}.npz").exists()]
OFTEN = {(FASTER, IMAGES[0])}
"""What every test run looks at; the rest is `nightly`."""

pytestmark = pytest.mark.long


@pytest.mark.parametrize("case", [case for case in CASES if (GOLDEN / "paddle" / f"{case}.npz").exists()])
def test_stages(case: str) -> None:
    assert_stages(loaded(case), case)


@needs_shared
@needs_coco
@pytest.mark.parametrize(
    ("case", "image"),
    [
        pytest.param(case, image, marks=() if (case, image) in OFTEN else pytest.mark.nightly)
        for case in ANSWERED
        for image in IMAGES
    ],
)
def test_input_proposals_and_detections(case: str, image: str) -> None:
    assert_end_to_end(loaded(case), case, image, extent="im_info")
    original = golden(f"paddle/{case}", f"e2e/{image}")["im_shape"]
    assert (original == (*loaded(case).transform(SHARED / "coco" / "val2017" / f"{image}.jpg").original_size, 1)).all()
