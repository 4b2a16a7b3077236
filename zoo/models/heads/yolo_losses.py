"""What YOLOv8 is trained to say, and what it costs to say something else (Ultralytics, 2023).

Legend: N images, M anchor points of all levels, K object classes, P positives of one image, C prototypes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.data.size_rules import letterbox_offset
from zoo.models.assigners.max_iou import NEGATIVE
from zoo.models.assigners.task_aligned import Assignment, TaskAlignedAssigner
from zoo.models.losses.classification import sigmoid_cross_entropy
from zoo.models.losses.masks import STRIDE, instance_map, prototype_mask_losses
from zoo.models.losses.regression import complete_iou, distribution_focal_loss
from zoo.types import Size, Target


@dataclass(slots=True)
class Predictions:
    """What the network says of every anchor point of a batch.

    Attributes:
        logits: (N, M, K).
        bins: (N, M, 4, BINS), logits of the distance of each side.
        boxes: (N, M, 4), xyxy in cells of the point's level.
        points: (M, 2), x and y in cells.
        strides: (M, 1), pixels a cell.
        coefficients: (N, M, C); None without masks.
        prototypes: (N, C, H, W), at stride 4; None without masks.
    """

    logits: Tensor
    bins: Tensor
    boxes: Tensor
    points: Tensor
    strides: Tensor
    coefficients: Tensor | None = None
    prototypes: Tensor | None = None


class YoloLosses:
    """The four losses of a batch, each with its weight.

    Those of boxes and classes are divided by the sum of all target scores of the batch, or 1 where that is
    less. All are means: Ultralytics multiplies their sum by the number of images before it takes gradients,
    which is part of a recipe here (`gradients` of a schedule).

    Args:
        assigner: which points find which object.
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

    def __call__(
        self, predictions: Predictions, targets: Sequence[Target], canvas: Size, sizes: Sequence[Size]
    ) -> dict[str, Tensor]:
        """Scalars loss_box, loss_cls and loss_dfl, and with masks loss_seg.

        Args:
            predictions: of a batch.
            targets: one an image, in pixels of the image without borders.
            canvas: size of the batch's images with borders.
            sizes: of the images without borders.
        """
        boxes = [_on_canvas(target.boxes, canvas, size) for target, size in zip(targets, sizes, strict=True)]
        assigned = self.assign(predictions, targets, boxes)
        wanted = torch.zeros_like(predictions.logits, dtype=torch.float32)  # (N, M, K)
        overlap, surprise = predictions.boxes.new_zeros((2,), dtype=torch.float32)
        for i, (matches, scores) in enumerate(assigned):
            points = (matches != NEGATIVE).nonzero()[:, 0]  # (P,)
            matches, scores = matches[points], scores[points]
            wanted[i, points, targets[i].labels[matches]] = scores
            goals = boxes[i][matches] / predictions.strides[points]
            overlap = overlap + ((1 - complete_iou(predictions.boxes[i, points], goals)) * scores).sum()
            centres = predictions.points[points]
            sides = torch.cat((centres - goals[:, :2], goals[:, 2:] - centres), dim=1)
            surprise = surprise + (distribution_focal_loss(predictions.bins[i, points], sides) * scores).sum()
        total = wanted.sum().clamp(min=1)
        losses = {
            "loss_box": self.box * overlap / total,
            "loss_cls": self.classes * sigmoid_cross_entropy(predictions.logits, wanted) / total,
            "loss_dfl": self.distances * surprise / total,
        }
        if predictions.prototypes is not None:
            losses["loss_seg"] = self.masks * self._mask_loss(predictions, targets, boxes, assigned, canvas, sizes)
        return losses

    def assign(self, predictions: Predictions, targets: Sequence[Target], boxes: Sequence[Tensor]) -> list[Assignment]:
        """What each anchor point of each image is trained on.

        Args:
            predictions: of a batch.
            targets: one an image.
            boxes: their boxes (G, 4), in pixels of the input with its borders.
        """
        points = predictions.points * predictions.strides
        return [
            self.assigner(
                logits.float().sigmoid(), predicted * predictions.strides, points, boxes[i], targets[i].labels
            )
            for i, (logits, predicted) in enumerate(
                zip(predictions.logits.detach(), predictions.boxes.detach(), strict=True)
            )
        ]

    def _mask_loss(
        self,
        predictions: Predictions,
        targets: Sequence[Target],
        boxes: Sequence[Tensor],
        assigned: Sequence[Assignment],
        canvas: Size,
        sizes: Sequence[Size],
    ) -> Tensor:
        """The mean over positives, still part of the graph where there are none."""
        coefficients, prototypes = predictions.coefficients, predictions.prototypes
        if coefficients is None or prototypes is None:
            raise ValueError("these predictions were made without a mask branch")
        losses = []
        for i, (target, (matches, _)) in enumerate(zip(targets, assigned, strict=True)):
            if target.masks is None:
                raise ValueError("a detector that finds masks needs the masks of its targets")
            points = (matches != NEGATIVE).nonzero()[:, 0]
            mine = matches[points]
            wanted = instance_map(target.masks, canvas, letterbox_offset(canvas, sizes[i]))
            cells = boxes[i][mine] / STRIDE
            losses.append(prototype_mask_losses(coefficients[i, points], prototypes[i], wanted, cells, mine))
        if self.masks_per_image:
            return torch.stack([image.sum() / max(len(image), 1) for image in losses]).mean()
        every = torch.cat(losses)
        return every.sum() / max(len(every), 1)


def _on_canvas(boxes: Tensor, canvas: Size, size: Size) -> Tensor:
    """Boxes (G, 4) of an image without borders, in pixels of the canvas that it is in the middle of."""
    top, left = letterbox_offset(canvas, size)
    return boxes.float() + boxes.new_tensor((left, top, left, top)).float()
