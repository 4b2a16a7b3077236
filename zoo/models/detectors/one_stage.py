"""One-stage detectors: a dense head classifies and refines every anchor (Lin et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from zoo.models.detectors.base import Detector
from zoo.models.heads.retina import RetinaHead
from zoo.models.layers.normalize import PixelNormalizer
from zoo.types import Batch, Detections, Target, Transform


@dataclass(slots=True)
class OneStageOutputs:
    """What the network says of a batch.

    Attributes:
        logits: (N, A * K, H, W) a level, anchor-major.
        deltas: (N, A * 4, H, W) a level, anchor-major.
    """

    logits: list[Tensor]
    deltas: list[Tensor]


class OneStageDetector(Detector):
    """Backbone, neck, dense head.

    Args:
        backbone: images to feature maps.
        neck: feature maps to a pyramid.
        dense_head: pyramid to detections.
        transform: host-side preprocessing.
        normalizer: device-side preprocessing.
    """

    def __init__(
        self,
        backbone: nn.Module,
        neck: nn.Module | None,
        dense_head: RetinaHead,
        transform: Transform,
        normalizer: PixelNormalizer,
    ) -> None:
        super().__init__(backbone, neck, transform, normalizer)
        self.dense_head = dense_head

    def network(self, batch: Batch) -> OneStageOutputs:
        """Everything up to class logits and deltas of each anchor."""
        logits, deltas = self.dense_head(self.extract(batch.images))
        return OneStageOutputs(logits, deltas)

    def postprocess(self, outputs: OneStageOutputs, batch: Batch) -> list[Detections]:
        """Select, decode, clip, rescale, suppress."""
        return self.dense_head.detect(outputs.logits, outputs.deltas, batch.geometries)

    def losses(self, batch: Batch, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The losses of the dense head."""
        logits, deltas = self.dense_head(self.extract(batch.images))
        padded_sizes = [self.normalizer.padded_size(geometry.size) for geometry in batch.geometries]
        return self.dense_head.losses(logits, deltas, targets, padded_sizes)
