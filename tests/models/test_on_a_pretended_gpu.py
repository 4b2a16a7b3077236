"""Whole detectors on a pretended GPU: nothing mixes devices, and the code for a GPU gives what that for a CPU does."""

from __future__ import annotations

import copy

import pytest
import torch
from pretended_gpu import pretended_gpu

import zoo
from zoo.data.shapes.scenes import draw_scene
from zoo.models.heads.yolo_masks import MaskMethod, PrototypeMasks
from zoo.models.losses.masks import STRIDE
from zoo.run.stages import Stages
from zoo.types import FeatureSpec, ImageGeometry, Target

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


def test_mixed_devices_are_noticed() -> None:
    with (
        pretended_gpu() as gpu,
        pytest.raises(AssertionError, match=r"aten::add of tensors on the GPU, and on the CPU"),
    ):
        torch.zeros(2, device=gpu) + torch.zeros(2)
