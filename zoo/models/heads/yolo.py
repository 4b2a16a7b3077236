"""YOLOv8's decoupled, anchor-free head (Ultralytics, 2023).

The distance of each side of a box to its anchor point is a distribution over whole numbers of cells (Li et
al., "Generalized Focal Loss", 2020). Legend: N images, M anchor points of all levels, K object classes, D
detections of one image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from zoo.data.detections import Detections
from zoo.models.assigners.task_aligned import TaskAlignedAssigner
from zoo.models.boxes import EXCLUSIVE
from zoo.models.heads.dense import DenseHead
from zoo.models.heads.yolo_losses import YoloLosses
from zoo.models.heads.yolo_masks import PrototypeMasks
from zoo.models.heads.yolo_outputs import REG_MAX, YoloMaps, YoloOutputs, box_distributions, flatten_levels
from zoo.models.layers.conv import ConvNorm
from zoo.models.layers.csp import prediction_branch
from zoo.models.selection import DetectionSelector
from zoo.models.true_float32 import float32_on
from zoo.types import Batch, FeatureSpec, ImageGeometry, Size, Target

CLASS_OFFSET = 7680.0
"""Pixels that keep the classes apart in one suppression. Float32 boxes lose precision by it, as the original's do."""

_BOXES_PER_SURVIVOR = 8
"""So many times as many boxes as survivors are wanted are looked at first, and so many times as many after that."""


class YoloHead(DenseHead):
    """A branch for boxes and one for classes on every level, and for masks a third, with prototypes.

    Args:
        in_specs: channels and stride of each feature map, fine to coarse.
        num_classes: number of object classes.
        detections: which (anchor point, class) pairs are kept; one box may be kept with several classes.
        max_nms: number of pairs, best scores first, that enter the suppression.
        mask_branch: makes the mask branch from the in_specs; None finds boxes only.
        criterion: the losses; None: those of Ultralytics now.
        one_gain: boxes go back to the image by the factor of its height in both directions, and by the border before
            it was rounded to whole pixels (Ultralytics 8.0); else by each side's own factor, and the whole border.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        num_classes: int,
        detections: DetectionSelector,
        max_nms: int = 30_000,
        mask_branch: Callable[[Sequence[FeatureSpec]], PrototypeMasks] | None = None,
        criterion: YoloLosses | None = None,
        one_gain: bool = False,
    ) -> None:
        super().__init__()
        self.strides = tuple(spec.stride for spec in in_specs)
        self.detections = detections
        self.max_nms = max_nms
        self.one_gain = one_gain
        finest = in_specs[0].channels
        box_width, class_width = max(finest // 4, 4 * REG_MAX), max(finest, num_classes)
        self.box_branches = nn.ModuleList(prediction_branch(spec.channels, box_width, 4 * REG_MAX) for spec in in_specs)
        self.class_branches = nn.ModuleList(
            prediction_branch(spec.channels, class_width, num_classes) for spec in in_specs
        )
        self.mask_branch = None if mask_branch is None else mask_branch(in_specs)
        self.criterion = criterion or YoloLosses(TaskAlignedAssigner())
        self._set_priors()

    @property
    def has_masks(self) -> bool:
        """Whether it finds masks, not boxes alone."""
        return self.mask_branch is not None

    def init_weights(self, network: nn.Module) -> None:
        """Draw the convolutions of the whole network once more, as torch does: YOLOv8 is trained from such weights."""
        for module in network.modules():
            if isinstance(module, ConvNorm):
                module.conv.reset_parameters()

    def _set_priors(self) -> None:
        """Biases to begin a training with: scores as if an image of 640 pixels held 5 objects, equally spread."""
        for box_branch, class_branch, stride in zip(self.box_branches, self.class_branches, self.strides, strict=True):
            box_bias, class_bias = box_branch[-1].bias, class_branch[-1].bias  # type: ignore[index]
            nn.init.constant_(box_bias, 1.0)
            nn.init.constant_(class_bias, math.log(5 / len(class_bias) / (640 / stride) ** 2))

    def forward(self, features: Sequence[Tensor]) -> YoloOutputs:
        """Feature maps (N, C', H, W), a level each, to the outputs of every anchor point."""
        return self.decode(self.maps(features))

    def maps(self, features: Sequence[Tensor]) -> YoloMaps:
        """Feature maps (N, C', H, W), a level each, to what the branches give."""
        maps = YoloMaps(
            box_dist=[branch(x) for branch, x in zip(self.box_branches, features, strict=True)],
            logits=[branch(x) for branch, x in zip(self.class_branches, features, strict=True)],
        )
        if self.mask_branch is not None:
            maps.coefficients, maps.prototypes = self.mask_branch(features)
        return maps

    def decode(self, maps: YoloMaps) -> YoloOutputs:
        """Boxes from the expected distance of each side to its anchor point; everything else flattened."""
        with float32_on(maps.logits[0].device):
            box_dist = box_distributions(maps.box_dist, self.strides)
            return YoloOutputs(
                boxes=box_dist.boxes(),
                logits=flatten_levels(maps.logits).float(),
                coefficients=None if maps.coefficients is None else flatten_levels(maps.coefficients).float(),
                prototypes=None if maps.prototypes is None else maps.prototypes.float(),
                box_dist=box_dist,
            )

    @torch.no_grad()
    def detect(self, outputs: YoloOutputs, batch: Batch) -> list[Detections]:
        """Outputs to the detections of each image, in pixels of the original, clipped to its size."""
        found = []
        for i, geometry in enumerate(batch.geometries):
            points, scores, labels = self._suppress(outputs.boxes[i], outputs.logits[i])
            boxes = outputs.boxes[i, points]
            detections = Detections(self._to_original(boxes, geometry, batch.input_shape), scores, labels)
            if self.mask_branch is not None and outputs.coefficients is not None and outputs.prototypes is not None:
                coefficients, prototypes = outputs.coefficients[i, points], outputs.prototypes[i]
                detections.masks = self.mask_branch.paste(coefficients, prototypes, boxes, geometry)
            found.append(detections)
        return found

    def _to_original(self, boxes: Tensor, geometry: ImageGeometry, input_shape: Size) -> Tensor:
        """Boxes (D, 4) in input pixels to pixels of the original, clipped to its size."""
        offset, scale = self._letterbox(geometry, input_shape)
        # Divided by tensors: by a number of Python's a GPU multiplies with the reciprocal, which is rounded.
        x, y = ((boxes[:, i::2] - offset[i]) / boxes.new_full((), scale[i]) for i in range(2))
        return EXCLUSIVE.clip(torch.stack((x, y), dim=2).flatten(1), geometry.original_size)

    def _letterbox(self, geometry: ImageGeometry, input_shape: Size) -> tuple[tuple[float, float], tuple[float, float]]:
        """(x, y) of an image's first pixel in the input, and its (x, y) factors: how boxes go back to the image."""
        if not self.one_gain:
            return geometry.offset, geometry.scale
        (height, width), (_, gain) = geometry.size, geometry.scale
        return ((input_shape[1] - width) / 2, (input_shape[0] - height) / 2), (gain, gain)

    def losses(self, outputs: YoloOutputs, targets: Sequence[Target], batch: Batch) -> dict[str, Tensor]:
        """Named scalars; see `YoloLosses`."""
        with float32_on(outputs.logits.device):
            return self.criterion(outputs, targets, batch)

    def _suppress(self, boxes: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Anchor points (D,), scores (D,) and labels (D,) that survive, best first, of boxes (M, 4), logits (M, K)."""
        scores = logits.sigmoid()
        points, labels = (scores > self.detections.score_threshold).nonzero(as_tuple=True)
        scores = scores[points, labels]
        if len(scores) > self.max_nms:
            best = scores.argsort(descending=True)[: self.max_nms]
            points, labels, scores = points[best], labels[best], scores[best]
        shifted = boxes[points] + (labels * CLASS_OFFSET)[:, None]
        keep = best_survivors(shifted, scores, self.detections.iou_threshold, self.detections.max_detections)
        return points[keep], scores[keep], labels[keep]


def best_survivors(boxes: Tensor, scores: Tensor, iou_threshold: float, most: int) -> Tensor:
    """Indices of the best survivors of greedy suppression, best first, at most so many.

    What survives is decided from the best box down, so that the first survivors are those of the best boxes alone:
    a few times as many as are asked for do nearly always, where all would overlap with all.

    Args:
        boxes: (N, 4).
        scores: (N,).
        iou_threshold: overlap above which the lower score falls.
        most: number of survivors asked for.
    """
    count = _BOXES_PER_SURVIVOR * most
    if len(scores) <= count:
        survivors: Tensor = nms(boxes, scores, iou_threshold)[:most]
        return survivors
    ranked, order = scores.sort(descending=True, stable=True)  # stably, as the suppression sorts
    while True:
        keep = nms(boxes[order[:count]], ranked[:count], iou_threshold)[:most]
        if len(keep) == most or count >= len(order):
            return order[keep]
        count *= _BOXES_PER_SURVIVOR
