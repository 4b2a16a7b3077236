"""torchvision's detectors of two stages: the same as the installed package's, in detections, losses and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from parity import SHARED, needs_coco
from PIL import Image
from torchvision_pairs import assert_same_detections, assert_same_losses, make_pair, objects, picture, take_few_regions

ENTRIES = [
    "torchvision_fasterrcnn_resnet50_fpn",
    "torchvision_fasterrcnn_resnet50_fpn_v2",
    "torchvision_fasterrcnn_mobilenet_v3_large_fpn",
    "torchvision_fasterrcnn_mobilenet_v3_large_320_fpn",
    "torchvision_maskrcnn_resnet50_fpn",
    "torchvision_maskrcnn_resnet50_fpn_v2",
    "torchvision_keypointrcnn_resnet50_fpn",
    "torchvision_keypointrcnn_resnet50_fpn_legacy",
]

TWINS = {
    "torchvision_fasterrcnn_resnet50_fpn",
    "torchvision_fasterrcnn_resnet50_fpn_v2",
    "torchvision_keypointrcnn_resnet50_fpn_legacy",
}
"""Networks that are part of another row's: of one with masks, or of the same with other weights."""
SMALL_PICTURES = [pytest.param(entry, marks=pytest.mark.nightly if entry in TWINS else ()) for entry in ENTRIES]

LOSSES = {
    "loss_objectness": "loss_rpn_cls",
    "loss_rpn_box_reg": "loss_rpn_bbox",
    "loss_classifier": "loss_cls",
    "loss_box_reg": "loss_bbox",
    "loss_mask": "loss_mask",
    "loss_keypoint": "loss_keypoint",
}
"""The original's name of a loss -> ours."""

NMS_IOU = 0.5


@pytest.mark.parametrize("entry", SMALL_PICTURES)
def test_a_batch_gives_the_same_detections_losses_and_gradients(entry: str) -> None:
    pair = make_pair(entry, short=96, long=160)
    few = 3 if pair.own.has_keypoints else 10  # they are half of all the work
    take_few_regions(pair, proposals=40, samples=16 if few == 10 else 8, detections=few)
    pictures = [picture(150, 201, 1), picture(190, 140, 2)]
    assert_same_detections(pair, pictures, NMS_IOU, least=few)
    assert_same_losses(pair, pictures, [objects(x.shape, 5, i) for i, x in enumerate(pictures)], LOSSES)


@pytest.mark.nightly
@pytest.mark.parametrize("entry", ENTRIES)
def test_pictures_of_any_size_alone_and_in_pairs(entry: str) -> None:
    pair = make_pair(entry, short=256, long=416)
    if pair.own.has_keypoints or entry.endswith("v2"):  # the work of a region is that of a hundred of the others
        take_few_regions(pair, proposals=200, samples=64, detections=20)
    for seed in range(2):
        sides = torch.randint(90, 500, (2, 2), generator=torch.Generator().manual_seed(seed)).tolist()
        pictures = [picture(height, width, seed) for height, width in sides]
        for batch in ([pictures[0]], pictures):
            assert_same_detections(pair, batch, NMS_IOU, least=20)
        targets = [objects(image.shape, 3 * seed, seed + i) for i, image in enumerate(pictures)]
        assert_same_losses(pair, pictures, targets, LOSSES)
        assert_same_losses(pair, pictures[:1], targets[:1], LOSSES)


@needs_coco
@pytest.mark.nightly
@pytest.mark.parametrize("entry", ENTRIES)
def test_real_images_at_their_full_size(entry: str) -> None:
    pair = make_pair(entry, short=800, long=1333)
    if pair.own.has_keypoints or entry.endswith("v2"):
        take_few_regions(pair, proposals=200, samples=64, detections=20)
    for path in sorted((SHARED / "coco" / "val2017").glob("*.jpg"))[:2]:
        with Image.open(path) as image:
            assert_same_detections(pair, [np.array(image.convert("RGB"))], NMS_IOU, least=1)
