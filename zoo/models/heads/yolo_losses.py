"""The losses of YOLOv8 (Ultralytics, 2023): boxes, classes, distances of the sides, and masks.

Legend: N images, M anchor points of all levels, K object classes, P positives of one image, C prototypes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.assigners.max_iou import NEGATIVE
from zoo.models.assigners.task_aligned import Assignment, TaskAlignedAssigner
from zoo.models.device_constants import constant
from zoo.models.heads.yolo_outputs import YoloOutputs
from zoo.models.losses.classification import sigmoid_cross_entropy
from zoo.models.losses.masks import STRIDE, instance_map, prototype_mask_losses
from zoo.models.losses.regression import complete_iou, distribution_focal_loss
from zoo.types import Batch, ImageGeometry, Target


class YoloLosses:
    """The four losses of a batch, each with its weight.

    Those of boxes and classes are divided by the sum of all target scores of the batch, or 1 where that is
    less. All are means: Ultralytics multiplies their sum by the number of images before it takes gradients,
    which is part of a recipe here (`gradients` of a schedule).

    Args:
        assigner: matches anchor points with objects.
        box: weight of 1 - CIoU.
        classes: weight of the cross entropy of the classes.
        distances: weight of the distribution focal loss.
        masks: weight of the cross entropy of the masks.
        masks_per_image: whether the loss of masks is the mean over the positives of each image, and then over the
            images (8.0.0), or else the mean over all positives of the batch.
    """

    def __init__(
        self,
        assigner: TaskAlignedAssigner,
        box: float = 7.5,
        classes: float = 0.5,
        distances: float = 1.5,
        masks: float = 7.5,
        masks_per_image: bool = False,
    ) -> None:
        self.assigner = assigner
        self.box = box
        self.classes = classes
        self.distances = distances
        self.masks = masks
        self.masks_per_image = masks_per_image

    def __call__(self, outputs: YoloOutputs, targets: Sequence[Target], batch: Batch) -> dict[str, Tensor]:
        """Scalars loss_box, loss_cls and loss_dfl, and with masks loss_seg.

        Args:
            outputs: the head's, of the batch.
            targets: one an image, in pixels of the image without borders.
            batch: the images' geometries and shape.

        Raises:
            ValueError: the outputs lack what the losses need: the anchor points, or the masks of the targets.
        """
        box_dist = outputs.box_dist
        if box_dist is None:
            raise ValueError("an exported network cannot be trained")
        boxes = [_in_input(*image) for image in zip(targets, batch.geometries, strict=True)]
        assigned = self.assign(outputs, box_dist.points * box_dist.strides, targets, boxes)
        target_scores = torch.zeros_like(outputs.logits, dtype=torch.float32)  # (N, M, K)
        iou_loss, dfl = outputs.boxes.new_zeros((2,), dtype=torch.float32)
        for i, (matches, scores) in enumerate(assigned):
            positives = (matches != NEGATIVE).nonzero()[:, 0]  # (P,)
            matches, scores = matches[positives], scores[positives]
            target_scores[i, positives, targets[i].labels[matches]] = scores
            points, strides = box_dist.points[positives], box_dist.strides[positives]
            # In cells, in which the small constants of the complete IoU are meant.
            target_boxes, predicted = boxes[i][matches] / strides, outputs.boxes[i, positives] / strides  # (P, 4)
            iou_loss = iou_loss + ((1 - complete_iou(predicted, target_boxes)) * scores).sum()
            distances = torch.cat((points - target_boxes[:, :2], target_boxes[:, 2:] - points), dim=1)  # (P, 4)
            dfl = dfl + (distribution_focal_loss(box_dist.dist_logits[i, positives], distances) * scores).sum()
        total = target_scores.sum().clamp(min=1)
        losses = {
            "loss_box": self.box * iou_loss / total,
            "loss_cls": self.classes * sigmoid_cross_entropy(outputs.logits, target_scores) / total,
            "loss_dfl": self.distances * dfl / total,
        }
        if outputs.prototypes is not None:
            losses["loss_seg"] = self.masks * self._mask_loss(outputs, targets, boxes, assigned, batch)
        return losses

    def assign(
        self, outputs: YoloOutputs, points: Tensor, targets: Sequence[Target], boxes: Sequence[Tensor]
    ) -> list[Assignment]:
        """The target of each anchor point of each image.

        Args:
            outputs: the head's, of the batch.
            points: anchor points (M, 2), x and y in pixels of the input.
            targets: one an image.
            boxes: ground-truth boxes (G, 4) an image, in pixels of the input with its borders.
        """
        return [
            self.assigner(logits.sigmoid(), predicted, points, boxes[i], targets[i].labels)
            for i, (logits, predicted) in enumerate(zip(outputs.logits.detach(), outputs.boxes.detach(), strict=True))
        ]

    def _mask_loss(
        self,
        outputs: YoloOutputs,
        targets: Sequence[Target],
        boxes: Sequence[Tensor],
        assigned: Sequence[Assignment],
        batch: Batch,
    ) -> Tensor:
        """The mean over positives, still part of the graph where there are none."""
        coefficients, prototypes = outputs.coefficients, outputs.prototypes
        if coefficients is None or prototypes is None:
            raise ValueError("these outputs were made without a mask branch")
        losses = []
        for i, (target, (matches, _)) in enumerate(zip(targets, assigned, strict=True)):
            if target.masks is None:
                raise ValueError("a detector that finds masks needs the masks of its targets")
            positives = (matches != NEGATIVE).nonzero()[:, 0]
            matches = matches[positives]
            instances = instance_map(target.masks, batch.input_shape, batch.geometries[i].offset)
            cells = boxes[i][matches] / STRIDE
            losses.append(prototype_mask_losses(coefficients[i, positives], prototypes[i], instances, cells, matches))
        if self.masks_per_image:
            return torch.stack([image.sum() / max(len(image), 1) for image in losses]).mean()
        every = torch.cat(losses)
        return every.sum() / max(len(every), 1)


def _in_input(target: Target, geometry: ImageGeometry) -> Tensor:
    """Boxes (G, 4) of a target, in pixels of the input with its borders."""
    return target.boxes.float() + constant(geometry.offset * 2, torch.float32, target.boxes.device)
