"""Dense detectors: one head says something of every place of the image (Lin et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

from zoo.models.detectors.base import Detector
from zoo.models.layers.normalize import PixelNormalizer
from zoo.types import Batch, Detections, Target, Transform


class DenseHead(Protocol):
    """A pyramid to detections, in two steps, or to losses."""

    def __call__(self, features: Sequence[Tensor]) -> Any:
        """Feature maps (N, C, H, W), fine to coarse, to raw outputs, of a type the head chooses."""
        ...

    def detect(self, outputs: Any, batch: Batch) -> list[Detections]:
        """Raw outputs of a batch to detections in pixels of the originals."""
        ...

    def losses(self, outputs: Any, targets: Sequence[Target], batch: Batch) -> dict[str, Tensor]:
        """Raw outputs of a batch and its targets to named scalars, whose sum is minimised."""
        ...


class DenseDetector(Detector):
    """Backbone, neck, dense head.

    Args:
        classes: names of the object classes, in label order.
        backbone: images to feature maps.
        neck: feature maps to a pyramid.
        dense_head: pyramid to detections; a module.
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

    def network(self, batch: Batch) -> Any:
        """Everything up to what the head says of each place."""
        return self.dense_head(self.extract(batch.images))

    def postprocess(self, outputs: Any, batch: Batch) -> list[Detections]:
        """Select, decode, clip, rescale, suppress."""
        return self.dense_head.detect(outputs, batch)

    def losses(self, batch: Batch, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The losses of the dense head."""
        return self.dense_head.losses(self.network(batch), targets, batch)
