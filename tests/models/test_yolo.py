"""YOLOv8's parts by themselves: shapes, decoding, selection."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from class_names import class_names
from device_work import counted
from geometries import geometry
from torchvision.ops import nms

from zoo.config.build import build_model
from zoo.config.compose import compose
from zoo.data.detections import Detections
from zoo.data.size_rules import letterbox_offset
from zoo.errors import UsageError
from zoo.models.backbones.csp import CspBackbone
from zoo.models.heads.yolo import YoloHead, best_survivors
from zoo.models.heads.yolo_masks import PrototypeMasks
from zoo.models.heads.yolo_outputs import REG_MAX, YoloMaps
from zoo.models.layers.conv import ConvNorm
from zoo.models.necks.pan import PAN
from zoo.models.selection import DetectionSelector
from zoo.types import Batch, FeatureSpec, ImageGeometry

SPECS = [FeatureSpec(8, 8), FeatureSpec(8, 16), FeatureSpec(8, 32)]
CELLS = [(4, 6), (2, 3), (1, 2)]  # of an input of 32 x 48, the coarsest rounded up


def test_backbone_and_neck_publish_what_they_return() -> None:
    backbone = CspBackbone(channels=[4, 8, 16, 24, 32], blocks=[1, 2, 2, 1]).eval()
    neck = PAN(backbone.out_specs, blocks=2).eval()
    with torch.inference_mode():
        features = backbone(torch.zeros(1, 3, 64, 96))
        pyramid = neck(features)
    assert [spec.stride for spec in backbone.out_specs] == [8, 16, 32]
    assert neck.out_specs == backbone.out_specs
    for maps in (features, pyramid):
        for x, spec in zip(maps, backbone.out_specs, strict=True):
            assert tuple(x.shape) == (1, spec.channels, 64 // spec.stride, 96 // spec.stride)


def test_neck_needs_maps_each_half_as_large() -> None:
    with pytest.raises(ValueError, match=r"strides \[8, 16, 64\]"):
        PAN([FeatureSpec(8, 8), FeatureSpec(8, 16), FeatureSpec(8, 64)], blocks=1)


def test_prototypes_are_of_stride_4() -> None:
    with pytest.raises(ValueError, match="a finest map of stride 8, not 4"):
        PrototypeMasks([FeatureSpec(8, 4)])


def test_backbone_needs_a_number_for_every_stage() -> None:
    with pytest.raises(ValueError, match="4 and 4 numbers where 5 and 4"):
        CspBackbone(channels=[4, 8, 16, 24], blocks=[1, 2, 2, 1])


def test_trainings_begin_with_torchs_own_convolutions() -> None:
    detector = build_model(compose("shapes_yolov8_p"), class_names(4))
    for module in detector.modules():
        if isinstance(module, ConvNorm):  # uniform within 1 / sqrt(values that an output sums), not He's normal
            bound = module.conv.weight[0].numel() ** -0.5
            assert float(module.conv.weight.detach().abs().max()) == pytest.approx(bound, rel=0.1)


def head(**more: Any) -> YoloHead:
    settings = DetectionSelector(score_threshold=0.001, iou_threshold=0.7, max_detections=300)
    return YoloHead(SPECS, num_classes=3, **{"detections": settings, **more}).eval()


def empty_maps() -> YoloMaps:
    """One image in which nothing is."""
    return YoloMaps(
        box_dist=[torch.zeros(1, 4 * REG_MAX, *cells) for cells in CELLS],
        logits=[torch.full((1, 3, *cells), -20.0) for cells in CELLS],
    )


def put(
    maps: YoloMaps, level: int, row: int, column: int, distances: tuple[int, int, int, int], scores: list[float]
) -> None:
    """Make a cell sure of its distances, in cells, and give it scores."""
    sides = torch.full((4, REG_MAX), -100.0)
    sides[range(4), list(distances)] = 100.0
    maps.box_dist[level][0, :, row, column] = sides.flatten()
    maps.logits[level][0, :, row, column] = torch.tensor(list(scores)).logit()


def detect(head: YoloHead, maps: YoloMaps, placed: ImageGeometry | None = None) -> Detections:
    (found,) = head.detect(head.decode(maps), Batch(torch.empty(1, 3, 32, 48), [placed or geometry((32, 48))], [0]))
    return found


def test_a_box_is_so_many_cells_about_its_cells_centre() -> None:
    maps = empty_maps()
    put(maps, 0, 1, 2, (1, 0, 2, 1), [0.9, 0.0, 0.0])
    put(maps, 2, 0, 1, (1, 0, 0, 0), [0.0, 0.0, 0.5])
    found = detect(head(), maps)
    # centre (2.5, 1.5) cells of 8 pixels; centre (1.5, 0.5) cells of 32, cut to the image
    assert found.boxes.tolist() == [[12.0, 12.0, 36.0, 20.0], [16.0, 16.0, 48.0, 16.0]]
    assert found.scores.tolist() == pytest.approx([0.9, 0.5])
    assert found.labels.tolist() == [0, 2]


def test_distances_are_expectations() -> None:
    maps = empty_maps()
    put(maps, 1, 0, 0, (1, 1, 1, 1), [0.9, 0.0, 0.0])
    sides = torch.full((4, REG_MAX), -100.0)
    sides[:, 2], sides[:, 3] = 0.0, float(torch.tensor(3.0).log())  # a quarter at 2 cells, the rest at 3
    maps.box_dist[1][0, :, 0, 1] = sides.flatten()
    boxes = head().decode(maps).boxes[0, 4 * 6 + 1]  # the second cell of the second level
    assert boxes.tolist() == pytest.approx([(1.5 - 2.75) * 16, (0.5 - 2.75) * 16, (1.5 + 2.75) * 16, (0.5 + 2.75) * 16])


def test_a_box_is_kept_with_each_class_that_scores() -> None:
    maps = empty_maps()
    put(maps, 0, 1, 2, (1, 1, 1, 1), [0.9, 0.001, 0.3])  # the threshold itself is not above it
    put(maps, 0, 1, 3, (2, 1, 0, 1), [0.8, 0.0, 0.0])  # the same box
    found = detect(head(), maps)
    assert found.labels.tolist() == [0, 2]
    assert torch.equal(found.boxes[0], found.boxes[1])


def test_only_the_best_candidates_and_detections_are_kept() -> None:
    maps = empty_maps()
    for column in range(6):
        put(maps, 0, 0, column, (0, 0, 0, 1), [0.1 + 0.1 * column, 0.0, 0.0])
    assert detect(head(max_nms=4), maps).scores.tolist() == pytest.approx([0.6, 0.5, 0.4, 0.3])
    few = DetectionSelector(score_threshold=0.001, iou_threshold=0.7, max_detections=2)
    assert detect(head(detections=few), maps).scores.tolist() == pytest.approx([0.6, 0.5])


@pytest.mark.parametrize("span", [20.0, 600.0], ids=["crowded", "scattered"])
@pytest.mark.parametrize("digits", [2, 9], ids=["ties", "no ties"])
def test_the_best_survivors_are_those_of_all_boxes(span: float, digits: int) -> None:
    generator = torch.Generator().manual_seed(0)
    corners, sides = torch.rand(900, 2, generator=generator) * span, torch.rand(900, 2, generator=generator) * 50 + 5
    boxes, scores = (
        torch.cat((corners, corners + sides), dim=1),
        torch.rand(900, generator=generator).round(decimals=digits),
    )
    for most in (1, 20, 100, 200):  # in the crowd fewer than 100 survive
        assert torch.equal(best_survivors(boxes, scores, 0.7, most), nms(boxes, scores, 0.7)[:most])
    assert best_survivors(boxes[:0], scores[:0], 0.7, 20).tolist() == []


def test_a_gpu_is_waited_for_twice() -> None:
    maps = empty_maps()
    for column in range(6):
        put(maps, 0, 0, column, (0, 0, 0, 1), [0.1 + 0.1 * column, 0.5, 0.5])
    one = DetectionSelector(score_threshold=0.001, iou_threshold=0.7, max_detections=2)
    tested, batch = head(detections=one), Batch(torch.empty(1, 3, 32, 48), [geometry((32, 48))], [0])
    outputs = tested.decode(maps)
    with counted() as work:
        tested.detect(outputs, batch)
    assert work.waits == 2  # for the candidates, and for the survivors
    assert work.copies == 0
    assert work.ops <= 26


def test_boxes_go_back_to_the_image_by_both_factors() -> None:
    maps = empty_maps()
    put(maps, 0, 1, 2, (1, 1, 1, 1), [0.9, 0.0, 0.0])
    top, left = letterbox_offset((32, 48), (25, 41))
    placed = ImageGeometry((25, 41), (25, 41), (2.0, 4.0), (6, 20), (32, 48), offset=(left, top))
    found = detect(head(), maps, placed)
    assert found.boxes.tolist() == [[(12 - left) / 2, (4 - top) / 4, (28 - left) / 2, (20 - top) / 4]]


def test_boxes_went_back_by_the_height_alone_in_the_first_release() -> None:
    maps = empty_maps()
    put(maps, 0, 1, 2, (1, 1, 1, 1), [0.9, 0.0, 0.0])
    top, left = letterbox_offset((32, 48), (25, 41))
    placed = ImageGeometry((25, 41), (25, 41), (2.0, 4.0), (6, 20), (32, 48), offset=(left, top))
    found = detect(head(one_gain=True), maps, placed)
    # borders of 3.5 pixels in both directions, and the factor of the height
    assert found.boxes.tolist() == [[(12 - 3.5) / 4, (4 - 3.5) / 4, (28 - 3.5) / 4, (20 - 3.5) / 4]]


def test_methods_have_names() -> None:
    with pytest.raises(UsageError, match="method: 'guess' is none of logits, probabilities"):
        build_model(compose("ultralytics_yolov8n_seg", ["head.dense_head.mask_branch.method=guess"]), class_names(80))
