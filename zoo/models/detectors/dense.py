"""Detectors of one stage: a dense head classifies and places a box in every cell of a pyramid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from zoo.data.detections import Detections
from zoo.models.detectors.base import Detector
from zoo.models.heads.dense import DenseHead
from zoo.models.layers.normalize import PixelNormalizer
from zoo.types import Batch, Target, Transform


class DenseDetector(Detector):
    """Backbone, neck, dense head.

    Args:
        classes: names of the object classes, in label order.
        backbone: images to feature maps.
        neck: feature maps to a pyramid.
        dense_head: pyramid to detections.
        transform: host-side preprocessing.
        normalizer: device-side preprocessing.
    """

    def __init__(
        self,
        classes: Sequence[str],
        backbone: nn.Module,
        neck: nn.Module | None,
        dense_head: DenseHead,
        transform: Transform,
        normalizer: PixelNormalizer,
    ) -> None:
        super().__init__(classes, backbone, neck, transform, normalizer)
        self.dense_head = dense_head
        dense_head.init_weights(self)

    @property
    def has_masks(self) -> bool:
        """Whether it finds masks, not boxes alone."""
        return self.dense_head.has_masks

    def dense(self, images: Tensor) -> Any:
        """Everything up to the head's raw outputs."""
        return self.dense_head(self.extract(images))

    def postprocess(self, outputs: Any, batch: Batch) -> list[Detections]:
        """Raw outputs to detections in original pixels, on the detector's device."""
        return self.dense_head.detect(outputs, batch)

    def losses(self, batch: Batch, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The losses of the dense head."""
        return self.dense_head.losses(self.dense(batch.images), targets, batch)
