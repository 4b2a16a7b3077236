"""PaddleDetection since its version 2: network stages, and from the JPEG to the final detections and masks."""

from __future__ import annotations

import pytest
from paddle_cases import IMAGES, TWINS, assert_end_to_end, assert_stages, cases_of, loaded, runs, with_stages
from parity import needs_coco, needs_shared

ENHANCE, MASK = "faster_rcnn_enhance_3x_coco", "mask_rcnn_res2net50_vb_26w_4s_fpn_2x_coco"
CASES = cases_of("paddle")
OFTEN = {(ENHANCE, IMAGES[0]), (MASK, IMAGES[0])}
"""What every test run looks at; the rest is `nightly`: of C4 every region costs a stage."""

pytestmark = pytest.mark.long


def hidden(case: str) -> tuple[str, ...]:
    """The stages that are no module's answer: of a pyramid's box head the last hidden layer."""
    return ("roi_head",) if "fpn" in case or "enhance" in case else ()


@pytest.mark.parametrize("case", with_stages(CASES))
def test_stages(case: str) -> None:
    assert_stages(loaded(case), case, unseen=hidden(case))


@needs_shared
@pytest.mark.nightly
@pytest.mark.parametrize("case", TWINS)
def test_stages_of_what_is_no_entry(case: str) -> None:
    assert_stages(loaded(case), case, unseen=hidden(case))


@needs_shared
@needs_coco
@pytest.mark.parametrize(("case", "image"), runs([*CASES, *TWINS], OFTEN))
def test_input_proposals_and_detections(case: str, image: str) -> None:
    # The twins were recorded with another build of OpenCV, in which other near ties went the other way.
    noise = {"box": 0.5, "score": 3e-3} if case in TWINS else {}
    assert_end_to_end(loaded(case), case, image, extent="im_shape", **noise)
