"""PaddleDetection's first dygraph zoo: network stages, and from the JPEG to the final detections."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from cases import ENTRIES
from paddle_cases import IMAGES, assert_end_to_end, assert_stages, cases_of, loaded, runs, with_stages
from parity import needs_coco, needs_shared

from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.models.boxes import BoxConvention
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.layers.skip_init import SkipInit

INCLUSIVE = BoxConvention(inclusive=True)

FPN, C4 = "faster_rcnn_r50_fpn_1x_coco", "faster_rcnn_r50_1x_coco"
CASES = cases_of("paddle_2020")
OFTEN = {(FPN, IMAGES[0])}
"""What every test run looks at; the rest is `nightly`: of C4 every region costs a stage."""

pytestmark = pytest.mark.long


@functools.cache
def build(case: str) -> TwoStageDetector:
    """The detector of a case on the meta device."""
    (name,) = ENTRIES[f"paddle/{case}"]
    config = compose(name)
    with SkipInit("meta"):
        model = build_model(config, config["data"]["classes"])
    assert isinstance(model, TwoStageDetector)
    return model


@pytest.mark.parametrize("case", with_stages(CASES))
def test_stages(case: str) -> None:
    # The last hidden layer of a pyramid's box head is no module's answer.
    assert_stages(loaded(case), case, unseen=() if case == C4 else ("roi_head",))


@needs_shared
@needs_coco
@pytest.mark.parametrize(("case", "image"), runs(CASES, OFTEN))
def test_input_proposals_and_detections(case: str, image: str) -> None:
    assert_end_to_end(loaded(case), case, image, extent="im_shape")


@pytest.mark.parametrize(
    ("case", "pre_nms", "sizes"),
    [
        # Ratios 0.5, 1 and 2 of the finest and of the coarsest level
        (FPN, 1000, {4: [[48, 24], [32, 32], [24, 48]], 64: [[728, 368], [512, 512], [360, 720]]}),
        # Sizes 32 to 512 of each ratio, of which the first and the last are said
        (C4, 6000, {16: [[46, 24], [736, 384], [32, 32], [512, 512], [22, 44], [352, 704]]}),
    ],
)
def test_anchors_and_proposals(case: str, pre_nms: int, sizes: dict[int, list[list[int]]]) -> None:
    rpn = build(case).rpn_head
    assert (rpn.proposals.pre_nms_top_n, rpn.proposals.post_nms_top_n) == (pre_nms, 1000)
    for stride, expected in sizes.items():
        (base,) = rpn.anchors.bases([stride])
        assert ((base[:, :2] + base[:, 2:]) / 2 == (stride - 1) / 2).all()  # about the middle of the cell's pixels
        found = INCLUSIVE.size(base).tolist()
        assert (
            found if len(found) == 3 else [size for i in (0, 5, 10) for size in (found[i], found[i + 4])]
        ) == expected


@pytest.mark.parametrize(("case", "size", "expected"), [(FPN, (480, 640), (800, 1088)), (C4, (480, 640), (800, 1067))])
def test_boxes_are_clipped_to_the_size_before_it_was_rounded(
    case: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    detector = build(case)
    samples = [detector.transform(np.zeros((*size, 3), dtype=np.uint8))]
    batch = detector.normalizer(samples, torch.device("cpu"))
    assert tuple(batch.images.shape[2:]) == expected
    assert batch.geometries[0].extent == pytest.approx((800, 1066 + 2 / 3))
    # A black pixel, normalised; the border is 0.
    assert batch.images[0, :, 0, 0].tolist() == pytest.approx([-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    assert batch.images[0, :, 0, -1].any() == (case == C4)
