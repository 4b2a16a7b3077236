"""torchvision's detectors of one stage: the same as the installed package's, in detections, losses and gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from parity import SHARED, needs_coco
from PIL import Image
from torch import nn
from torchvision_pairs import Pair, assert_same_detections, assert_same_losses, make_pair, objects, picture

NMS_IOU = {
    "torchvision_retinanet_resnet50_fpn": 0.5,
    "torchvision_retinanet_resnet50_fpn_v2": 0.5,
    "torchvision_fcos_resnet50_fpn": 0.6,
    "torchvision_ssd300_vgg16": 0.45,
    "torchvision_ssdlite320_mobilenet_v3_large": 0.55,
}
"""Entry -> the overlap above which the lower score falls."""

CONTRAST = {"torchvision_retinanet_resnet50_fpn": 0.25, "torchvision_ssd300_vgg16": 0.15}
"""Entry -> factor of its logits, which are so large on real images that hundreds of scores would be 1 and equal."""

LABELS = 91
"""Of every anchor, the background or a class of its name among them."""

LOSSES = {"classification": "loss_cls", "bbox_regression": "loss_bbox", "bbox_ctrness": "loss_centerness"}
"""The original's name of a loss -> ours."""


@pytest.mark.parametrize("entry", NMS_IOU)
def test_a_batch_gives_the_same_detections_losses_and_gradients(entry: str) -> None:
    pair = make_pair(entry, short=96, long=160)
    pictures = [picture(150, 201, 1), picture(240, 170, 2)][: 1 if "ssd300" in entry else 2]  # it is ten times the work
    assert_same_detections(pair, pictures, NMS_IOU[entry])
    assert_same_losses(pair, pictures, [objects(x.shape, 5, i) for i, x in enumerate(pictures)], LOSSES)


@pytest.mark.nightly
@pytest.mark.parametrize("entry", NMS_IOU)
def test_pictures_of_any_size_alone_and_in_pairs(entry: str) -> None:
    pair = make_pair(entry, short=256, long=416)
    for seed in range(2):
        sides = torch.randint(90, 500, (2, 2), generator=torch.Generator().manual_seed(seed)).tolist()
        pictures = [picture(height, width, seed) for height, width in sides]
        for batch in ([pictures[0]], pictures):
            assert_same_detections(pair, batch, NMS_IOU[entry])
        targets = [objects(image.shape, 3 * seed, seed + i) for i, image in enumerate(pictures)]
        assert_same_losses(pair, pictures, targets, LOSSES)
        if "ssdlite" not in entry:  # a single picture has maps of one cell, which cannot be normalised
            assert_same_losses(pair, pictures[:1], targets[:1], LOSSES)


@needs_coco
@pytest.mark.nightly
@pytest.mark.parametrize("entry", NMS_IOU)
def test_real_images_at_their_full_size(entry: str) -> None:
    pair = make_pair(entry, short=800, long=1333)
    soften(pair, CONTRAST.get(entry, 1.0))
    for path in sorted((SHARED / "coco" / "val2017").glob("*.jpg"))[:2]:
        with Image.open(path) as image:
            assert_same_detections(pair, [np.array(image.convert("RGB"))], NMS_IOU[entry])


@torch.no_grad()
def soften(pair: Pair, factor: float) -> None:
    """Multiply the weights of both models' last layer of the classes."""
    for head in (pair.theirs.get_submodule("head.classification_head"), pair.own.get_submodule("dense_head.logits")):
        for layer in head.modules():
            if isinstance(layer, nn.Conv2d) and layer.out_channels % LABELS == 0:
                layer.weight.mul_(factor)
