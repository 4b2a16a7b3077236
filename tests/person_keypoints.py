"""Keypoints made up for boxes: of annotations, of detections, and of a detector that has none of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from zoo.data.coco import CocoGroundTruth
from zoo.data.detections import Detections
from zoo.data.keypoints import KEYPOINT_NAMES
from zoo.measure.coco_eval.columns import DetectionColumns
from zoo.measure.measurement import Subject
from zoo.models.detectors.base import Detector
from zoo.types import Batch

PLACES = np.random.default_rng(3).uniform(0.05, 0.95, (len(KEYPOINT_NAMES), 2))
"""Where each keypoint lies in a box, as a share of its sides: unlike its mirror image."""


def pose(boxes: Any) -> np.ndarray:
    """Keypoints (N, 17, 3) in boxes (N, 4), xywh, all of them visible."""
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    points = boxes[:, None, :2] + PLACES * boxes[:, None, 2:]
    return np.concatenate([points, np.full((len(boxes), len(PLACES), 1), 2.0)], axis=2)


def add_keypoints(truth: CocoGroundTruth) -> CocoGroundTruth:
    """The annotations with keypoints in every box."""
    keypoints = pose(truth.boxes)
    return replace(truth, keypoints=keypoints, num_keypoints=np.full(len(keypoints), len(PLACES)))


def pose_of(detections: DetectionColumns) -> DetectionColumns:
    """Detections with keypoints in every box."""
    return replace(detections, keypoints=pose(detections.bbox))


class WithKeypoints:
    """A detector whose detections have made-up keypoints; everything else is that of the detector."""

    has_keypoints = True

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def __getattr__(self, name: str) -> Any:
        return getattr(self.detector, name)

    def postprocess(self, outputs: Any, batch: Batch) -> list[Detections]:
        found = self.detector.postprocess(outputs, batch)
        for image in found:
            corners = image.boxes.detach().cpu().numpy()
            points = pose(np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1))
            image.keypoints = torch.from_numpy(points).float()
        return found


def find_keypoints(subject: Subject) -> Subject:
    """A subject whose detector finds keypoints too, in annotations that have them."""
    detector: Any = WithKeypoints(subject.detector)
    return replace(subject, detector=detector, ground_truth=add_keypoints(subject.ground_truth))
