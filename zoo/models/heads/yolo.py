"""YOLOv8's decoupled, anchor-free head (Ultralytics, 2023).

Each side of a box is a distribution over whole numbers of cells (Li et al., "Generalized Focal Loss",
2020). Legend: N images, M anchor points of all levels, K object classes, D detections of one image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from zoo.models.assigners.task_aligned import TaskAlignedAssigner
from zoo.models.boxes import EXCLUSIVE
from zoo.models.heads.yolo_losses import Predictions, YoloLosses
from zoo.models.heads.yolo_masks import PrototypeMasks
from zoo.models.layers.csp import prediction_branch
from zoo.models.selection import DetectionSelector
from zoo.types import Detections, FeatureSpec, ImageGeometry, Size, Target

BINS = 16
"""Distances that each side of a box is distributed over: 0 to 15 cells."""

CLASS_SHIFT = 7680.0
"""Pixels that keep the classes apart in one suppression. Float32 boxes lose precision by it, as the original's do."""


@dataclass(slots=True)
class YoloMaps:
    """What the branches say of a batch.

    Attributes:
        sides: (N, 4 * BINS, H, W) a level, logits, side-major: left, top, right, bottom.
        logits: (N, K, H, W) a level.
        coefficients: (N, C, H, W) a level, of the prototypes that make up a mask; None without masks.
        prototypes: (N, C, H, W), at stride 4, for all levels; None without masks.
    """

    sides: list[Tensor]
    logits: list[Tensor]
    coefficients: list[Tensor] | None = None
    prototypes: Tensor | None = None


@dataclass(slots=True)
class YoloOutputs:
    """The same by anchor point, with boxes; points row by row, levels one after another.

    Attributes:
        boxes: (N, M, 4), xyxy in input pixels.
        logits: (N, M, K).
        coefficients: (N, M, C); None without masks.
        prototypes: (N, C, H, W); None without masks.
    """

    boxes: Tensor
    logits: Tensor
    coefficients: Tensor | None
    prototypes: Tensor | None


class YoloHead(nn.Module):
    """A branch for boxes and one for classes on every level, and for masks a third, with prototypes.

    Args:
        in_specs: of the feature maps, fine to coarse.
        num_classes: object classes.
        detections: which (anchor point, class) pairs are kept; one box may be kept with several classes.
        candidates: best-scored pairs that enter the suppression.
        mask_branch: makes the mask branch from the in_specs; None finds boxes only.
        criterion: its losses; None: those of Ultralytics now.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        num_classes: int,
        detections: DetectionSelector,
        candidates: int = 30_000,
        mask_branch: Callable[[Sequence[FeatureSpec]], PrototypeMasks] | None = None,
        criterion: YoloLosses | None = None,
    ) -> None:
        super().__init__()
        self.strides = tuple(spec.stride for spec in in_specs)
        self.detections = detections
        self.candidates = candidates
        finest = in_specs[0].channels
        box_width, class_width = max(finest // 4, 4 * BINS), max(finest, num_classes)
        self.box_branches = nn.ModuleList(prediction_branch(spec.channels, box_width, 4 * BINS) for spec in in_specs)
        self.class_branches = nn.ModuleList(
            prediction_branch(spec.channels, class_width, num_classes) for spec in in_specs
        )
        self.mask_branch = None if mask_branch is None else mask_branch(in_specs)
        self.criterion = criterion or YoloLosses(TaskAlignedAssigner())
        self._set_priors()

    def _set_priors(self) -> None:
        """Biases to begin a training with: scores as if an image of 640 pixels held 5 objects, equally spread."""
        for box_branch, class_branch, stride in zip(self.box_branches, self.class_branches, self.strides, strict=True):
            box_bias, class_bias = box_branch[-1].bias, class_branch[-1].bias  # type: ignore[index]
            nn.init.constant_(box_bias, 1.0)
            nn.init.constant_(class_bias, math.log(5 / len(class_bias) / (640 / stride) ** 2))

    def forward(self, features: Sequence[Tensor]) -> YoloMaps:
        """Feature maps (N, C, H, W), a level each, to what the branches say."""
        maps = YoloMaps(
            sides=[branch(x) for branch, x in zip(self.box_branches, features, strict=True)],
            logits=[branch(x) for branch, x in zip(self.class_branches, features, strict=True)],
        )
        if self.mask_branch is not None:
            maps.coefficients, maps.prototypes = self.mask_branch(features)
        return maps

    def decode(self, maps: YoloMaps) -> YoloOutputs:
        """Boxes from the expected distance of each side to its anchor point; everything else flattened."""
        return YoloOutputs(
            boxes=self._boxes(maps.sides),
            logits=flatten_levels(maps.logits).float(),
            coefficients=None if maps.coefficients is None else flatten_levels(maps.coefficients).float(),
            prototypes=None if maps.prototypes is None else maps.prototypes.float(),
        )

    def _boxes(self, sides: Sequence[Tensor]) -> Tensor:
        """Boxes (N, M, 4), xyxy in input pixels, of sides (N, 4 * BINS, H, W) a level."""
        points, strides = self._points(sides)
        return boxes_about(points, distributions(sides)) * strides

    @torch.no_grad()
    def detect(
        self,
        outputs: YoloOutputs,
        canvas: Size,
        geometries: Sequence[ImageGeometry],
    ) -> list[Detections]:
        """Detections of each image, in pixels of the original.

        Args:
            outputs: of a batch, decoded.
            canvas: size of the batch's images with their borders.
            geometries: one an image; boxes are clipped to its original size.
        """
        found = []
        for i, geometry in enumerate(geometries):
            points, scores, labels = self._suppress(outputs.boxes[i], outputs.logits[i])
            boxes = outputs.boxes[i, points]
            moved = (boxes - boxes.new_tensor(geometry.offset).repeat(2)) / boxes.new_tensor(geometry.scale).repeat(2)
            detections = Detections(EXCLUSIVE.clip(moved, geometry.original_size), scores, labels)
            if self.mask_branch is not None and outputs.coefficients is not None and outputs.prototypes is not None:
                weights = outputs.coefficients[i, points]
                detections.masks = self.mask_branch.paste(
                    weights, outputs.prototypes[i], boxes, canvas, geometry.size, geometry.original_size
                )
            found.append(detections)
        return found

    def losses(
        self, maps: YoloMaps, targets: Sequence[Target], canvas: Size, geometries: Sequence[ImageGeometry]
    ) -> dict[str, Tensor]:
        """Named scalars; see `YoloLosses`.

        Args:
            maps: of a batch.
            targets: one an image, in pixels of the image without borders.
            canvas: size of the batch's images with their borders.
            geometries: one an image.
        """
        points, strides = self._points(maps.sides)
        with torch.autocast(points.device.type, enabled=False):  # losses are taken in float32
            bins = distributions(maps.sides)
            predictions = Predictions(
                logits=flatten_levels(maps.logits),
                bins=bins,
                boxes=boxes_about(points, bins),
                points=points,
                strides=strides,
                coefficients=None if maps.coefficients is None else flatten_levels(maps.coefficients),
                prototypes=maps.prototypes,
            )
            return self.criterion(predictions, targets, canvas, [geometry.size for geometry in geometries])

    def _suppress(self, boxes: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Anchor points (D,), scores (D,) and labels (D,) that survive, best first, of boxes (M, 4), logits (M, K)."""
        scores = logits.sigmoid()
        points, labels = (scores > self.detections.score_threshold).nonzero(as_tuple=True)
        scores = scores[points, labels]
        if len(scores) > self.candidates:
            best = scores.argsort(descending=True)[: self.candidates]
            points, labels, scores = points[best], labels[best], scores[best]
        shifted = boxes[points] + (labels * CLASS_SHIFT)[:, None]
        keep = nms(shifted, scores, self.detections.iou_threshold)[: self.detections.max_detections]
        return points[keep], scores[keep], labels[keep]

    def _points(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The centres (M, 2) of all cells, x and y in cells, and the strides (M, 1) of their levels."""
        points, strides = [], []
        for x, stride in zip(maps, self.strides, strict=True):
            rows, columns = (torch.arange(side, dtype=torch.float32, device=x.device) + 0.5 for side in x.shape[2:])
            grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)  # (H, W, 2)
            points.append(grid.reshape(-1, 2))
            strides.append(torch.full((x.shape[2] * x.shape[3], 1), float(stride), device=x.device))
        return torch.cat(points), torch.cat(strides)


def distributions(sides: Sequence[Tensor]) -> Tensor:
    """Maps (N, 4 * BINS, H, W), a level each, to logits (N, M, 4, BINS)."""
    flat = flatten_levels(sides).float()
    return flat.reshape(*flat.shape[:2], 4, BINS)


def boxes_about(points: Tensor, bins: Tensor) -> Tensor:
    """Boxes (N, M, 4), xyxy in cells: points (M, 2) and the expected distance of each side, of bins (N, M, 4, BINS)."""
    distances = bins.softmax(dim=3) @ torch.arange(BINS, dtype=bins.dtype, device=bins.device)  # (N, M, 4)
    return torch.cat((points - distances[..., :2], points + distances[..., 2:]), dim=2)


def flatten_levels(maps: Sequence[Tensor]) -> Tensor:
    """Maps (N, C, H, W), a level each, to (N, M, C)."""
    return torch.cat([x.flatten(2) for x in maps], dim=2).transpose(1, 2)
