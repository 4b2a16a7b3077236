"""What the region proposal network and RetinaNet's head have in common: both say something of every anchor.

Legend: N images, L levels, A anchors a cell, M anchors of one level, K object classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NamedTuple, Self, get_args

import torch
from torch import Tensor, nn

from zoo.models.anchors import Anchors, cells_within
from zoo.models.assigners.max_iou import Assigner
from zoo.models.coders import BoxCoder
from zoo.models.heads.anchor_targets import AnchorTargets, anchor_targets
from zoo.models.losses.classification import ClassLoss
from zoo.models.losses.divisors import DivisorName, find_divisor
from zoo.models.losses.regression import BoxLoss
from zoo.models.samplers import Sampler
from zoo.types import FeatureSpec, ImageGeometry, Size, Target

ValidAnchors = Literal["padded", "inside", "all"]
"""The anchors that an image is trained on: those of the cells that it has with the padding that it would have alone;
those that lie wholly inside it; or all, those of cells too that only a larger neighbour in the batch gives it."""

KEPT_POSITIONS = 16
"""Shapes of images whose valid anchors are remembered."""


class AnchorRows(NamedTuple):
    """What a head says of the anchors of a batch, in their order: those of all levels, one after another.

    Attributes:
        logits: (N, M, K), or with background (N, M, K + 1).
        deltas: (N, M, 4).
    """

    logits: Tensor
    deltas: Tensor


@dataclass(slots=True)
class AnchorOutputs:
    """What a head says of the anchors of a batch.

    Attributes:
        logits: (N, A * K, H, W) a level, anchor-major; (N, A * (K + 1), H, W) where background has a column.
        deltas: (N, A * 4, H, W) a level, anchor-major.
    """

    logits: list[Tensor]
    deltas: list[Tensor]

    @property
    def cells(self) -> list[Size]:
        """(H, W) of each level."""
        return [(x.shape[2], x.shape[3]) for x in self.logits]

    @property
    def level_sizes(self) -> list[int]:
        """Number of anchors of each level, each of which has four deltas."""
        return [x.shape[1] // 4 * x.shape[2] * x.shape[3] for x in self.deltas]

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.logits[0].device

    def rows(self) -> AnchorRows:
        """The same by anchors, copied."""
        columns = 4 * self.logits[0].shape[1] // self.deltas[0].shape[1]
        return AnchorRows(flatten_levels(self.logits, columns), flatten_levels(self.deltas, 4))

    def images(self, start: int, stop: int) -> Self:
        """The same of some images of the batch: those from `start` to before `stop`."""
        return replace(self, **{f.name: [x[start:stop] for x in getattr(self, f.name)] for f in fields(self)})


class AnchorHead(nn.Module):
    """A head with class logits and box deltas for every anchor; the layers are its subclass's.

    Args:
        in_specs: of the feature maps, fine to coarse.
        num_classes: K.
        anchors: their boxes on those maps.
        coder: of the deltas.
        assigner: matches anchors with ground-truth boxes.
        sampler: chooses the anchors that are trained on.
        class_loss: of the sampled anchors' logits.
        box_loss: of the positives, on encoded deltas or on decoded boxes.
        divisor: name of what both are divided by, or a number: so many an image.
        valid_anchors: those that an image is trained on.
        background: each anchor has a logit of background too, behind those of the classes.
        box_divisor: what the box loss is divided by, where that is another.
    """

    def __init__(
        self,
        in_specs: Sequence[FeatureSpec],
        num_classes: int,
        anchors: Anchors,
        coder: BoxCoder,
        assigner: Assigner,
        sampler: Sampler,
        class_loss: ClassLoss,
        box_loss: BoxLoss,
        divisor: DivisorName | int,
        valid_anchors: ValidAnchors = "padded",
        background: bool = False,
        box_divisor: DivisorName | int | None = None,
    ) -> None:
        super().__init__()
        if len(widths := {spec.channels for spec in in_specs}) > 1:  # its layers are shared by all levels
            raise ValueError(f"it wants one number of channels on all levels, not {sorted(widths)}")
        self.strides = tuple(spec.stride for spec in in_specs)
        self.num_classes = num_classes
        self.columns = num_classes + background
        self.anchors = anchors
        self.coder = coder
        self.assigner = assigner
        self.sampler = sampler
        self.class_loss = class_loss
        self.box_loss = box_loss
        self.divisor = find_divisor(divisor)
        self.box_divisor = self.divisor if box_divisor is None else find_divisor(box_divisor)
        if valid_anchors not in get_args(ValidAnchors):
            raise ValueError(f"valid_anchors: {valid_anchors!r} is none of {', '.join(get_args(ValidAnchors))}")
        self.valid_anchors = valid_anchors
        self._positions: dict[tuple[Any, ...], Tensor] = {}

    def boxes(self, outputs: AnchorOutputs) -> Tensor:
        """The anchors (M, 4) of all levels, one after another."""
        return self.anchors.boxes(outputs.cells, self.strides, outputs.device)

    def sampled_losses(
        self,
        outputs: AnchorOutputs,
        targets: Sequence[Target],
        geometries: Sequence[ImageGeometry],
        rows: AnchorRows | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The classification and the box loss of what is sampled of a batch, two scalars.

        Args:
            outputs: of a batch.
            targets: one an image.
            geometries: one an image.
            rows: of the outputs, where they have been made.
        """
        return self.assigned_losses(outputs, self.assign(outputs.cells, targets, geometries, outputs.device), rows)

    def assigned_losses(
        self, outputs: AnchorOutputs, assigned: AnchorTargets, rows: AnchorRows | None = None
    ) -> tuple[Tensor, Tensor]:
        """Both losses of a batch whose anchors are assigned already."""
        logits, deltas = rows or outputs.rows()
        sampled = torch.cat((assigned.positive, assigned.negative))
        background = assigned.labels.new_full((len(assigned.negative),), self.num_classes)
        labels = torch.cat((assigned.labels, background))
        classification = self.class_loss(_chosen(logits, sampled), labels)
        references = self.boxes(outputs)[assigned.anchors]
        chosen = _chosen(deltas, assigned.positive)
        regression = self.box_loss.loss_from_deltas(self.coder, references, chosen, assigned.boxes)
        counts = assigned.counts
        return classification / self.divisor(*counts), regression / self.box_divisor(*counts)

    def assign(
        self,
        cells: Sequence[Size],
        targets: Sequence[Target],
        geometries: Sequence[ImageGeometry],
        device: torch.device,
    ) -> AnchorTargets:
        """What a batch is trained to say.

        Args:
            cells: (H, W) a level.
            targets: one an image.
            geometries: one an image.
            device: of the answer.
        """
        anchors = self.anchors.boxes(cells, self.strides, device)
        valid = [self._valid(anchors, tuple(cells), geometry) for geometry in geometries]
        return anchor_targets(anchors, valid, targets, self.assigner, self.sampler)

    def _valid(self, anchors: Tensor, cells: tuple[Size, ...], geometry: ImageGeometry) -> Tensor | None:
        """Positions of the anchors (M, 4) of all levels that an image is trained on, int64 (V,); None: all of them.

        The last few answers are kept: the host has to wait for each.
        """
        height, width = geometry.padded_size
        levels = zip(cells, self.strides, strict=True)
        whole = all((h - 1) * stride < height and (w - 1) * stride < width for (h, w), stride in levels)
        if self.valid_anchors == "all" or (self.valid_anchors == "padded" and whole):
            return None
        key = (cells, geometry.padded_size, geometry.extent, anchors.device)
        if key not in self._positions:
            if len(self._positions) >= KEPT_POSITIONS:
                self._positions.pop(next(iter(self._positions)))
            if self.valid_anchors == "inside":
                valid = _inside(anchors, geometry.extent)
            else:
                within = cells_within(cells, self.strides, geometry.padded_size, anchors.device)
                valid = within[:, None].expand(-1, self.anchors.per_cell).flatten()
            self._positions[key] = valid.nonzero()[:, 0]
        return self._positions[key]


def anchor_rows(levels: Sequence[Tensor], values: int, positions: Tensor) -> Tensor:
    """Values (P, values) of some anchors of a batch, of maps (N, A * values, H, W) a level.

    Args:
        levels: a map each.
        values: of an anchor.
        positions: int64 (P,), among the anchors of all images and levels, one image after another.
    """
    return _chosen(flatten_levels(levels, values), positions)


def _chosen(rows: Tensor, positions: Tensor) -> Tensor:
    """Values (P, values) of some anchors, of those (N, M, values) of a batch."""
    return rows.flatten(0, 1).index_select(0, positions)


def flatten_levels(maps: Sequence[Tensor], values: int) -> Tensor:
    """(N, A * values, H, W) a level to (N, M, values), the order of the anchors of all levels, a copy."""
    return torch.cat([flatten_anchors(x, values) for x in maps], dim=1)


def flatten_anchors(x: Tensor, values: int) -> Tensor:
    """(N, A * values, H, W) to (N, H * W * A, values), the order of the anchors."""
    n, _, height, width = x.shape
    return x.view(n, -1, values, height, width).permute(0, 3, 4, 1, 2).reshape(n, -1, values)


def _inside(boxes: Tensor, extent: tuple[float, float]) -> Tensor:
    """Which of boxes (N, 4) lie wholly inside an image, whose far edges are outside."""
    height, width = extent
    return (boxes[:, :2] >= 0).all(dim=1) & (boxes[:, 2] < width) & (boxes[:, 3] < height)
