"""Two-stage detectors: proposals, then a classification and refinement of each (Ren et al., 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from zoo.models.detectors.base import Detector
from zoo.models.heads.roi import RoiHead
from zoo.models.heads.rpn import RpnHead
from zoo.models.layers.normalize import PixelNormalizer
from zoo.types import Batch, Detections, Size, Target, Transform


@dataclass(slots=True)
class TwoStageOutputs:
    """What the network says of a batch.

    Attributes:
        proposals: (P, 4) an image, in input pixels.
        logits: (P, K + 1) an image, background last.
        deltas: (P, K * 4) an image, class-major.
    """

    proposals: list[Tensor]
    logits: list[Tensor]
    deltas: list[Tensor]


class TwoStageDetector(Detector):
    """Backbone, neck, region proposal network, RoI head.

    Args:
        backbone: images to feature maps.
        neck: feature maps to a pyramid.
        rpn_head: pyramid to proposals.
        roi_head: proposals to detections.
        transform: host-side preprocessing.
        normalizer: device-side preprocessing.
    """

    def __init__(
        self,
        backbone: nn.Module,
        neck: nn.Module | None,
        rpn_head: RpnHead,
        roi_head: RoiHead,
        transform: Transform,
        normalizer: PixelNormalizer,
    ) -> None:
        super().__init__(backbone, neck, transform, normalizer)
        self.rpn_head = rpn_head
        self.roi_head = roi_head

    def network(self, batch: Batch) -> TwoStageOutputs:
        """Everything up to class logits and deltas of each proposal."""
        features = self.extract(batch.images)
        objectness, anchor_deltas = self.rpn_head(features)
        proposals = [boxes for boxes, _ in self.rpn_head.propose(objectness, anchor_deltas, batch.sizes)]
        logits, deltas = self.roi_head(features, proposals)
        counts = [len(boxes) for boxes in proposals]
        return TwoStageOutputs(proposals, list(logits.split(counts)), list(deltas.split(counts)))

    def losses(self, batch: Batch, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The losses of both stages; the proposals of the first carry no gradient into the second."""
        features = self.extract(batch.images)
        objectness, anchor_deltas = self.rpn_head(features)
        padded_sizes = [_round_up(size, self.normalizer.divisor) for size in batch.sizes]
        proposals = [boxes for boxes, _ in self.rpn_head.propose(objectness, anchor_deltas, batch.sizes)]
        return {
            **self.rpn_head.losses(objectness, anchor_deltas, targets, padded_sizes),
            **self.roi_head.losses(features, proposals, targets),
        }

    def postprocess(self, outputs: TwoStageOutputs, batch: Batch) -> list[Detections]:
        """Decode, clip, rescale, suppress."""
        return [
            self.roi_head.detect(*image)
            for image in zip(outputs.logits, outputs.deltas, outputs.proposals, batch.sizes, batch.scales, strict=True)
        ]


def _round_up(size: Size, divisor: int) -> Size:
    """The size an image would be padded to if it were alone in its batch."""
    height, width = (-(-side // divisor) * divisor for side in size)
    return height, width
