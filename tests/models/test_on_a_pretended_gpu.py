"""Whole detectors on a pretended GPU: nothing mixes devices, and the code for a GPU gives what that for a CPU does."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from device_work import counted
from pretended_gpu import pretended_gpu
from torch import Tensor
from torchvision.ops import roi_align as torchvision_roi_align

import zoo
from zoo.data.shapes.scenes import draw_scene
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.heads.yolo_masks import MaskMethod, PrototypeMasks
from zoo.models.layers import roi_align
from zoo.models.losses.masks import STRIDE
from zoo.run.stages import Stages
from zoo.types import FeatureSpec, ImageGeometry, Target

RANKED = ("scores", "boxes", "levels")
"""The tensors of ranked anchors."""

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a true one")


@pytest.mark.parametrize(
    "entry", ["shapes_faster_rcnn_r10_fpn", "shapes_mask_rcnn_r10_fpn", "shapes_retinanet_r10_fpn", "shapes_yolov8_p"]
)
def test_detections_are_those_of_a_cpu(entry: str) -> None:
    detector = zoo.load(entry)
    batches = [[detector.transform(draw_scene(0, i).pixels[: 128 - 32 * i])] for i in range(2)]
    expected = [images for _, images in Stages(detector, "fp32").overlapped(batches)]
    with pretended_gpu() as gpu:
        moved = copy.deepcopy(detector).to(gpu)
        assert moved.device == gpu
        found = [images for _, images in Stages(moved, "fp32").overlapped(batches)]
    for (ours,), (theirs,) in zip(found, expected, strict=True):
        assert len(ours) > 2
        for name in ("boxes", "scores", "labels"):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
        assert ours.masks == theirs.masks


@pytest.mark.parametrize("entry", ["shapes_mask_rcnn_r10_fpn", "shapes_retinanet_r10_fpn", "shapes_yolov8_p"])
def test_losses_are_those_of_a_cpu(entry: str) -> None:
    """The second of two images has no object."""
    detector = zoo.build(entry).train()
    samples = [detector.transform(draw_scene(0, i).pixels) for i in range(2)]
    boxes, labels = torch.tensor([[8.0, 8, 60, 50], [20, 30, 90, 100], [64, 64, 80, 90]]), torch.tensor([0, 1, 2])
    masks = torch.zeros(3, *samples[0].size, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    targets = [Target(boxes, labels, masks), Target(boxes[:0], labels[:0], masks[:0])]
    torch.manual_seed(0)
    expected = detector(samples, targets)
    with pretended_gpu() as gpu:
        moved = copy.deepcopy(detector).to(gpu)
        torch.manual_seed(0)
        found = {name: loss.item() for name, loss in moved(samples, targets).items()}
    assert found == {name: loss.item() for name, loss in expected.items()}


@pytest.mark.parametrize("method", ["logits", "probabilities"])
def test_masks_of_prototypes_are_those_of_a_cpu(method: MaskMethod) -> None:
    branch = PrototypeMasks([FeatureSpec(8, 2 * STRIDE)], count=4, method=method)
    generator = torch.Generator().manual_seed(0)
    coefficients, prototypes = torch.randn(9, 4, generator=generator), torch.randn(4, 16, 24, generator=generator)
    boxes = (torch.rand(9, 2, 2, generator=generator) * torch.tensor([96.0, 64.0])).sort(dim=1).values.flatten(1)
    place = ImageGeometry((53, 90), (53, 90), (0.5, 0.5), (106, 180), (64, 96), offset=(3, 5))
    expected = branch.paste(coefficients, prototypes, boxes, place)
    with pretended_gpu() as gpu:
        assert branch.paste(coefficients.to(gpu), prototypes.to(gpu), boxes.to(gpu), place) == expected


@torch.no_grad()
def test_maps_in_half_precision_are_made_ready_for_roi_align_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions of boxes and masks are cut from the same four maps, which lie channels-last as tensor cores want them."""
    read: list[Tensor] = []

    def noted(feature: Tensor, *arguments: Any, **how: Any) -> Any:
        read.append(feature)
        return torchvision_roi_align(feature, *arguments, **how)

    monkeypatch.setattr(roi_align, "torchvision_roi_align", noted)
    detector = zoo.load("shapes_mask_rcnn_r10_fpn")
    assert isinstance(detector, TwoStageDetector)
    batch = detector.prepare([detector.transform(draw_scene(0, 0).pixels)])
    features, ranked = detector.dense(batch.images)
    maps = tuple(x.half().contiguous(memory_format=torch.channels_last) for x in features)
    plain = tuple(x.contiguous() for x in maps)  # on a CPU channels-last maps are summed in another order
    expected = detector.postprocess(detector.complete((plain, ranked), batch), batch)
    read.clear()
    with pretended_gpu() as gpu:
        moved = copy.deepcopy(detector).to(gpu)
        there = dataclasses.replace(ranked, **{name: getattr(ranked, name).to(gpu) for name in RANKED})
        moved_maps = tuple(x.to(gpu) for x in maps)
        with counted() as work:
            outputs = moved.complete((moved_maps, there), batch)
        ready = moved.roi_head.last_stage.pooler.prepare(moved_maps, torch.float32)
        with counted() as of_ready_ones:
            moved.complete((tuple(ready), there), batch)
        (found,) = [image.cpu() for image in moved.postprocess(outputs, batch)]
    assert torch.equal(found.boxes, expected[0].boxes)
    assert found.masks == expected[0].masks
    assert len(read) > len({id(x) for x in read}), "some are read twice"
    assert all(x.is_contiguous() and x.dtype == torch.float32 for x in read)
    assert work.ops - of_ready_ones.ops == len(maps[:4]), work


def test_mixed_devices_are_noticed() -> None:
    with (
        pretended_gpu() as gpu,
        pytest.raises(AssertionError, match=r"aten::add of tensors on the GPU, and on the CPU"),
    ):
        torch.zeros(2, device=gpu) + torch.zeros(2)
