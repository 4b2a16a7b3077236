"""YOLOv8 (Ultralytics, 2023): one stage, without anchor boxes; with a mask branch it finds masks too."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from zoo.models.detectors.base import Detector
from zoo.models.heads.yolo import YoloHead, YoloOutputs
from zoo.models.layers.conv import ConvNorm
from zoo.models.layers.letterbox import LetterboxNormalizer
from zoo.types import Batch, Detections, Target, Transform


class YoloDetector(Detector):
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
        dense_head: YoloHead,
        transform: Transform,
        normalizer: LetterboxNormalizer,
    ) -> None:
        super().__init__(classes, backbone, neck, transform, normalizer)
        self.dense_head = dense_head
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.conv.reset_parameters()  # to begin a training with torch's own values, as the original does

    @property
    def has_masks(self) -> bool:
        """Whether it finds masks, not boxes alone."""
        return self.dense_head.mask_branch is not None

    def network(self, batch: Batch) -> YoloOutputs:
        """Everything up to the box, logits and mask coefficients of each anchor point."""
        return self.dense_head.decode(self.dense_head(self.extract(batch.images)))

    def postprocess(self, outputs: YoloOutputs, batch: Batch) -> list[Detections]:
        """Select, suppress, rescale, clip; then the masks."""
        canvas = (batch.images.shape[2], batch.images.shape[3])
        return self.dense_head.detect(outputs, canvas, batch.geometries)

    def losses(self, batch: Batch, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The losses of the dense head."""
        canvas = (batch.images.shape[2], batch.images.shape[3])
        return self.dense_head.losses(self.dense_head(self.extract(batch.images)), targets, canvas, batch.geometries)
