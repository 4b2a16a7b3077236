"""Two-stage detectors: proposals, then a classification and refinement of each (Ren et al., 2015; He et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from zoo.data.detections import Detections
from zoo.models.detectors.base import Detector
from zoo.models.heads.roi import RoiHead
from zoo.models.heads.rpn import RpnHead
from zoo.models.keypoints import locate
from zoo.models.layers.normalize import PixelNormalizer
from zoo.models.selection import RankedAnchors
from zoo.types import Batch, Target, Transform


@dataclass(slots=True)
class TwoStageOutputs:
    """What the network says of a batch.

    Attributes:
        proposals: (P, 4) an image, in input pixels: of the first stage.
        regions: (P, 4) an image, in input pixels: what the last stage looked at; of one stage the proposals.
        logits: (V, P, K + 1) an image, background last: a vote of each box head.
        deltas: (P, B * 4) an image, of the last stage: of one box a class, or one for all.
        detections: of each image, in input pixels: what was looked at once more; None where nothing was.
        masks: (D, S, S) an image, in [0, 1], on the detections' boxes; None without a mask head.
        heatmaps: (D, J, S, S) an image, of each keypoint, on the same; None without a keypoint head.
    """

    proposals: list[Tensor]
    regions: list[Tensor]
    logits: list[Tensor]
    deltas: list[Tensor]
    detections: list[Detections] | None = None
    masks: list[Tensor] | None = None
    heatmaps: list[Tensor] | None = None


class TwoStageDetector(Detector):
    """Backbone, neck, region proposal network, RoI head.

    Args:
        classes: names of the object classes, in label order.
        backbone: images to feature maps.
        neck: feature maps to a pyramid.
        rpn_head: pyramid to proposals.
        roi_head: proposals to detections.
        transform: host-side preprocessing.
        normalizer: device-side preprocessing.
    """

    def __init__(
        self,
        classes: Sequence[str],
        backbone: nn.Module,
        neck: nn.Module | None,
        rpn_head: RpnHead,
        roi_head: RoiHead,
        transform: Transform,
        normalizer: PixelNormalizer,
    ) -> None:
        super().__init__(classes, backbone, neck, transform, normalizer)
        self.rpn_head = rpn_head
        self.roi_head = roi_head

    @property
    def has_masks(self) -> bool:
        """Whether it finds masks, not boxes alone."""
        return self.roi_head.mask_head is not None

    @property
    def has_keypoints(self) -> bool:
        """Whether it finds keypoints."""
        return self.roi_head.keypoint_head is not None

    def dense(self, images: Tensor) -> tuple[tuple[Tensor, ...], RankedAnchors]:
        """The neck's feature maps, and the anchors that the region proposal network ranks first on each of them."""
        features = self.extract(images)
        return features, self.rpn_head.rank(self.rpn_head(features))

    def complete(self, dense: tuple[tuple[Tensor, ...], RankedAnchors], batch: Batch) -> TwoStageOutputs:
        """Everything up to class logits and deltas of each proposal, or up to masks and heat maps on what survives.

        These are predicted on few boxes but by many convolutions: the suppression between the heads
        belongs to the network, as that between the stages does.
        """
        features, ranked = dense
        proposals = [found.boxes for found in self.rpn_head.select(ranked, batch.geometries)]
        maps = self.roi_head.last_stage.pooler.prepare(features, proposals[0].dtype)  # for all stages, and for masks
        regions, logits, deltas = self.roi_head(maps, proposals)
        counts = [len(boxes) for boxes in proposals]
        outputs = TwoStageOutputs(proposals, regions, list(logits.split(counts, dim=1)), list(deltas.split(counts)))
        if self.has_masks or self.has_keypoints:
            outputs.detections = self._detect(outputs, batch)
            outputs.masks = self.roi_head.segment(maps, outputs.detections) if self.has_masks else None
            outputs.heatmaps = self.roi_head.heatmaps(maps, outputs.detections) if self.has_keypoints else None
        return outputs

    def losses(self, batch: Batch, targets: Sequence[Target]) -> dict[str, Tensor]:
        """The losses of both stages; the proposals of the first carry no gradient into the second."""
        features = self.extract(batch.images)
        anchors = self.rpn_head(features)
        rows = anchors.rows()
        proposals = [found.boxes for found in self.rpn_head.propose(anchors, batch.geometries, rows)]
        return {
            **self.rpn_head.losses(anchors, targets, batch.geometries, rows),
            **self.roi_head.losses(features, proposals, targets, batch.geometries),
        }

    def postprocess(self, outputs: TwoStageOutputs, batch: Batch) -> list[Detections]:
        """Decode, clip, rescale, suppress; with masks or keypoints only rescale, and paste or locate them."""
        detections = self._detect(outputs, batch) if outputs.detections is None else outputs.detections
        if outputs.heatmaps is not None:
            for image, heatmaps in zip(detections, outputs.heatmaps, strict=True):
                image.keypoints = locate(heatmaps, image.boxes)
        images = zip(detections, batch.geometries, strict=True)
        detections = [self.roi_head.detections.to_original(*image) for image in images]
        if outputs.masks is not None:
            for image, masks, geometry in zip(detections, outputs.masks, batch.geometries, strict=True):
                image.masks = self.roi_head.mask_grid.paste(masks, image.boxes, geometry.original_size)
        return [self.roi_head.detections.reported(image) for image in detections]

    def _detect(self, outputs: TwoStageOutputs, batch: Batch) -> list[Detections]:
        """Detections of each image, in the pixels they are suppressed in."""
        images = zip(outputs.logits, outputs.deltas, outputs.regions, batch.geometries, strict=True)
        return [self.roi_head.detect(*image) for image in images]
