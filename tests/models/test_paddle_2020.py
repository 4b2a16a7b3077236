"""PaddleDetection's first dygraph zoo: network stages, and from the JPEG to the final detections."""

from __future__ import annotations

import pytest
from paddle_cases import IMAGES, assert_end_to_end, assert_stages, cases_of, loaded
from parity import GOLDEN, SHARED, needs_coco, needs_shared

FPN, C4 = "faster_rcnn_r50_fpn_1x_coco", "faster_rcnn_r50_1x_coco"
CASES = cases_of("paddle_2020")
ANSWERED = [case for case in CASES if (SHARED / "parity" / "paddle" / f"{case}.npz").exists()]
OFTEN = {(FPN, IMAGES[0])}
"""What every test run looks at; the rest is `nightly`: of C4 every region costs a stage."""

pytestmark = pytest.mark.long


@pytest.mark.parametrize("case", [case for case in CASES if (GOLDEN / "paddle" / f"{case}.npz").exists()])
def test_stages(case: str) -> None:
    # The last hidden layer of a pyramid's box head is no module's answer.
    assert_stages(loaded(case), case, unseen=() if case == C4 else ("roi_head",))


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
    assert_end_to_end(loaded(case), case, image, extent="im_shape")
