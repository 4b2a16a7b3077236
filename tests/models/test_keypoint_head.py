"""Keypoints: heat maps to points and points to targets against torchvision's functions, and the head's shapes."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection.roi_heads import heatmaps_to_keypoints, keypoints_to_heatmap

from zoo.data.detections import Detections
from zoo.models.heads.keypoint_head import UPSAMPLING, ConvKeypointHead
from zoo.models.keypoints import heatmap_targets, locate
from zoo.models.selection import DetectionSelector
from zoo.types import ImageGeometry

BOXES = torch.tensor([[10.0, 20, 25.5, 61], [3.25, 4, 3.5, 90], [40, 40, 41, 41], [0, 0, 130.7, 33.3]])


def test_a_keypoint_is_where_its_stretched_heat_map_is_highest() -> None:
    heatmaps = torch.randn(4, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    points, scores = heatmaps_to_keypoints(heatmaps, BOXES)
    found = locate(heatmaps, BOXES)
    assert torch.equal(found[..., :2], points[..., :2])
    assert torch.equal(found[..., 2], scores)


def test_a_peak_lies_in_the_middle_of_its_pixel() -> None:
    heatmap = torch.zeros(1, 1, 56, 56)
    heatmap[0, 0, 14, 28] = 1
    ((keypoint,),) = locate(heatmap, torch.tensor([[100.0, 200, 156, 256]])).tolist()
    assert keypoint == [128.5, 214.5, 1]


def test_nothing_found_no_keypoints() -> None:
    assert locate(torch.zeros(0, 17, 56, 56), torch.zeros(0, 4)).shape == (0, 17, 3)


def test_a_keypoint_is_trained_on_in_its_cell() -> None:
    generator = torch.Generator().manual_seed(1)
    regions = BOXES[[0, 3]]
    places = torch.rand(2, 40, 2, generator=generator) * 1.4 - 0.2  # some outside
    points = regions[:, None, :2] + places * (regions[:, None, 2:] - regions[:, None, :2])
    points[0, 0], points[0, 1] = regions[0, 2:], torch.stack((regions[0, 2], regions[0, 1]))  # on the far edges
    keypoints = torch.cat((points, torch.randint(3, (2, 40, 1), generator=generator)), dim=2)
    keypoints[0, :2, 2] = 2
    cells, trained = heatmap_targets(keypoints, regions, 56)
    expected_cells, expected_trained = keypoints_to_heatmap(keypoints, regions, 56)
    assert torch.equal(trained, expected_trained.bool())
    assert torch.equal(cells, expected_cells)
    assert cells[0, :2].tolist() == [56 * 56 - 1, 55]
    assert 0 < trained.sum() < trained.numel()


def test_head_quadruples_the_size() -> None:
    head = ConvKeypointHead(in_channels=4, num_keypoints=5, channels=8)
    assert head(torch.zeros(2, 4, 6, 6)).shape == (2, 5, 6 * UPSAMPLING, 6 * UPSAMPLING)
    assert not any(conv.bias.any() for conv in (*head.convs, head.heatmaps))


@pytest.mark.parametrize("rescale", ["by_scale", "by_ratio"])
def test_keypoints_come_to_original_pixels_with_their_boxes(rescale: str) -> None:
    selector = DetectionSelector(0.05, 0.5, 100, nms_frame="input", rescale=rescale)  # type: ignore[arg-type] # both exist
    found = Detections(torch.tensor([[2.0, 4, 8, 16]]), torch.ones(1), torch.zeros(1, dtype=torch.int64))
    found.keypoints = torch.tensor([[[4.0, 8, -3.5]]])
    geometry = ImageGeometry((40, 20), (40, 20), (2.0, 4.0), (10, 10), (40, 20))
    original = selector.to_original(found, geometry)
    assert original.keypoints is not None
    assert original.boxes.tolist() == [[1, 1, 4, 4]]
    assert original.keypoints.tolist() == [[[2, 2, -3.5]]]
