"""The operations that torchvision publishes of its detectors, to the last digit, and what of them its test image makes.

Its own test counts a pass over random noise: how many regions and objects a network finds there is part of the number.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torchvision_originals as originals
from torch.utils.flop_counter import FlopCounterMode

from zoo.catalog.entry import read_entry
from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.models.detectors.dense import DenseDetector
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.layers.skip_init import SkipInit
from zoo.run.flops import MISSING

NO_PROPOSALS = ("torchvision_fasterrcnn_mobilenet_v3_large_fpn", "torchvision_fasterrcnn_mobilenet_v3_large_320_fpn")
"""The entries whose proposals need a score of 0.05: noise has none. The others have a thousand."""

FOUND = {"torchvision_maskrcnn_resnet50_fpn_v2": 100, "torchvision_keypointrcnn_resnet50_fpn": 1}
"""Entry -> objects that masks or keypoints are predicted for; nothing is found by the others."""


def macs(run: Callable[[], object]) -> int:
    counter = FlopCounterMode(display=False, custom_mapping=dict(MISSING))
    with counter, torch.no_grad():
        run()
    return counter.get_total_flops() // 2


def pooled(side: int) -> torch.Tensor:
    """What is pooled of one region."""
    return torch.empty(1, 256, side, side, device="meta")


@pytest.mark.parametrize("name", originals.entries())
def test_published_operations(name: str) -> None:
    config, entry = compose(name), read_entry(name)
    with SkipInit("meta"):
        model = build_model(config, entry.classes).eval()
    images = torch.empty(1, 3, *config["protocol"]["complexity"]["size"], device="meta")
    if isinstance(model, DenseDetector):
        counted = macs(lambda: model.dense_head(model.extract(images)))
    else:
        assert isinstance(model, TwoStageDetector)
        head = model.roi_head
        counted = macs(lambda: model.rpn_head(model.extract(images)))
        counted += (0 if name in NO_PROPOSALS else 1000) * macs(lambda: head.last_stage.box_head(pooled(7)))
        for branch in (head.mask_head, head.keypoint_head):
            if branch is not None:
                counted += FOUND.get(name, 0) * macs(lambda branch=branch: branch(pooled(14)))  # type: ignore[misc]
    (cell,) = entry.cells("gmacs")
    assert counted * 1e-9 == pytest.approx(cell.value, abs=cell.half_unit)
    assert (cell.protocol is None) == (name not in FOUND)
