"""Anchor boxes on the cells of a feature pyramid (Ren et al., 2015)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from zoo.types import Size

Order = Literal["ratio_major", "size_major"]
"""Which of an anchor's two numbers changes last along the anchors of a cell."""


MOST_ANCHORS = 4_000_000
"""Anchors that are kept of all sizes of images together, 64 MB: fifteen sizes of some 800 x 1333 pixels."""


class Anchors(ABC):
    """Anchors of several aspect ratios and sizes on every cell. Strides come from the maps that they lie on.

    Attributes:
        per_cell: number of anchors of a cell.
    """

    per_cell: int

    def __init__(self) -> None:
        self._cells: dict[tuple[tuple[int, ...], torch.device], list[Tensor]] = {}
        self._kept: dict[tuple[tuple[Size, ...], tuple[int, ...], torch.device], Tensor] = {}

    @abstractmethod
    def bases(self, strides: Sequence[int]) -> list[Tensor]:
        """The anchors (A, 4) of the cell at the origin of each level's map.

        Raises:
            ValueError: there are more or fewer levels than there are sizes for.
        """

    def steps(self, cells: Sequence[Size], strides: Sequence[int]) -> list[Size]:  # noqa: ARG002 - others count cells
        """(rows, columns) of pixels from cell to cell of each level: its stride both ways."""
        return [(stride, stride) for stride in strides]

    def boxes(self, cells: Sequence[Size], strides: Sequence[int], device: torch.device) -> Tensor:
        """All anchors of all levels, one after another, (M, 4).

        They are made on the device, and the last answers are kept there: images often have equal sizes.

        Args:
            cells: (H, W) of each level's feature map.
            strides: of each level, in input pixels.
            device: of the answer.
        """
        key = (tuple(cells), tuple(strides), device)
        boxes = self._kept.pop(key, None)
        self._kept[key] = self._tile(*key) if boxes is None else boxes  # the last is the one used last
        while len(self._kept) > 1 and sum(len(others) for others in self._kept.values()) > MOST_ANCHORS:
            self._kept.pop(next(iter(self._kept)))
        return self._kept[key]

    @torch.inference_mode(mode=False)
    def _tile(self, cells: tuple[Size, ...], strides: tuple[int, ...], device: torch.device) -> Tensor:
        """A new answer of `boxes`, which may be trained with even if inference was the first to ask."""
        if (strides, device) not in self._cells:
            self._cells[strides, device] = [base.to(device) for base in self.bases(strides)]
        levels = zip(cells, self.steps(cells, strides), self._cells[strides, device], strict=True)
        return torch.cat([_tiled(*level) for level in levels])


class StrideAnchors(Anchors):
    """Anchors whose sizes are in units of the stride of their map."""

    @abstractmethod
    def base(self, stride: int) -> Tensor:
        """The anchors (A, 4) of the cell at the origin of a map of this stride."""

    def bases(self, strides: Sequence[int]) -> list[Tensor]:
        """The anchors (A, 4) of the cell at the origin of each level's map."""
        return [self.base(stride) for stride in strides]


class CentredAnchors(StrideAnchors):
    """Anchors centred on the corner of each cell, not rounded.

    An anchor of ratio r (height / width) and scale k on a level of stride s is s*k/sqrt(r) wide and
    s*k*sqrt(r) high.

    Args:
        ratios: height / width.
        scales: of the anchor's side, in units of the stride.
        order: "ratio_major": the anchors of one ratio follow each other; "size_major": those of one scale.
    """

    def __init__(self, ratios: Sequence[float], scales: Sequence[float], order: Order = "ratio_major") -> None:
        super().__init__()
        self.per_cell = len(ratios) * len(scales)
        root = torch.tensor(ratios, dtype=torch.float32, device="cpu").sqrt()
        scale = torch.tensor(scales, dtype=torch.float32, device="cpu")
        self._unit_widths = _flat((1 / root)[:, None] * scale[None], order)  # (ratios, scales) -> (A,)
        self._unit_heights = _flat(root[:, None] * scale[None], order)

    def base(self, stride: int) -> Tensor:
        """The anchors (A, 4) of the cell at the origin."""
        widths = stride * self._unit_widths
        heights = stride * self._unit_heights
        return torch.stack((-widths / 2, -heights / 2, widths / 2, heights / 2), dim=1)


class RoundedAnchors(StrideAnchors):
    """Anchors about the middle of each cell, inclusive, their smallest sides rounded to whole pixels.

    What Ren et al. published in 2015, faster-rcnn.pytorch and PaddleDetection's first zoos: the width of ratio r
    is round(stride / sqrt(r)), the height round(width * r), both then multiplied by the scale.

    Args:
        ratios: height / width.
        scales: of the anchor's side, in units of the stride.
        rounding: of halves: "even", as numpy does, or "away", from zero, as C does.
        order: "ratio_major": the anchors of one ratio follow each other; "size_major": those of one scale.
    """

    def __init__(
        self,
        ratios: Sequence[float],
        scales: Sequence[float],
        rounding: Literal["even", "away"],
        order: Order = "ratio_major",
    ) -> None:
        super().__init__()
        if rounding not in ("even", "away"):
            raise ValueError(f"rounding: {rounding!r} is neither 'even' nor 'away'")
        self.per_cell = len(ratios) * len(scales)
        self.ratios = tuple(ratios)
        self.scales = torch.tensor(scales, dtype=torch.float32, device="cpu")
        self.round = round if rounding == "even" else _round_away
        self.order = order

    def base(self, stride: int) -> Tensor:
        """The anchors (A, 4) of the cell at the origin."""
        widths = [self.round(math.sqrt(stride * stride / ratio)) for ratio in self.ratios]
        heights = [self.round(width * ratio) for width, ratio in zip(widths, self.ratios, strict=True)]
        sides = torch.tensor((widths, heights), dtype=torch.float32, device="cpu")  # (2, ratios)
        width, height = (_flat(side[:, None] * self.scales, self.order) for side in sides)  # (A,) each
        middle, x, y = 0.5 * (stride - 1), 0.5 * (width - 1), 0.5 * (height - 1)
        return torch.stack((middle - x, middle - y, middle + x, middle + y), dim=1)


class PixelAnchors(Anchors):
    """Anchors of each level's own sizes, centred on the corner of each cell, corners on whole pixels (torchvision).

    An anchor of ratio r (height / width) and size k is k/sqrt(r) wide and k*sqrt(r) high before each corner is rounded,
    halves to even. Levels need not halve exactly: from cell to cell it is as many whole pixels as fit into the input,
    whose size follows from the finest map, which divides it without rest.

    Args:
        sizes: of each level, fine to coarse, its anchors' sides in pixels; as many on each level.
        ratios: height / width; the anchors of one ratio follow each other.

    Raises:
        ValueError: the levels differ in the number of their sizes.
    """

    def __init__(self, sizes: Sequence[Sequence[float]], ratios: Sequence[float]) -> None:
        super().__init__()
        if len(counts := {len(level) for level in sizes}) != 1:
            raise ValueError(f"sizes: every level needs as many as the others, not {sorted(counts)}")
        self.per_cell = len(ratios) * counts.pop()
        root = torch.tensor(ratios, dtype=torch.float32, device="cpu").sqrt()
        self._bases = []
        for level in sizes:
            sides = torch.tensor(level, dtype=torch.float32, device="cpu")
            x, y = ((1 / root)[:, None] * sides).flatten(), (root[:, None] * sides).flatten()  # (ratios, sizes) -> (A,)
            self._bases.append((torch.stack((-x, -y, x, y), dim=1) / 2).round())

    def bases(self, strides: Sequence[int]) -> list[Tensor]:
        """The anchors (A, 4) of the cell at the origin of each level's map."""
        if len(strides) != len(self._bases):
            raise ValueError(f"sizes: {len(self._bases)} levels have some, and the pyramid has {len(strides)}")
        return self._bases

    def steps(self, cells: Sequence[Size], strides: Sequence[int]) -> list[Size]:
        """(rows, columns) of pixels from cell to cell of each level: the input's by the map's, rounded down."""
        height, width = (side * strides[0] for side in cells[0])
        return [(height // rows, width // columns) for rows, columns in cells]


def cells_within(cells: Sequence[Size], strides: Sequence[int], size: Size, device: torch.device) -> Tensor:
    """Which cells of all levels, one after another, begin within a size: bool (cells,).

    Args:
        cells: (H, W) of each level's feature map; of a batch, which may be larger than an image.
        strides: of each level, in input pixels.
        size: in input pixels.
        device: of the answer.
    """
    masks = []
    for (height, width), stride in zip(cells, strides, strict=True):
        rows = torch.arange(height, device=device) * stride < size[0]
        columns = torch.arange(width, device=device) * stride < size[1]
        masks.append((rows[:, None] & columns).flatten())  # (H, W) -> (H * W,)
    return torch.cat(masks)


def _tiled(size: Size, step: Size, base: Tensor) -> Tensor:
    """A cell's anchors (A, 4) on every cell of a map (H, W), a step (rows, columns) apart, (H * W * A, 4)."""
    rows, columns = (torch.arange(count, device=base.device) * apart for count, apart in zip(size, step, strict=True))
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    shifts = torch.stack((x, y, x, y), dim=-1).to(torch.float32)  # (H, W, 4)
    return (shifts[:, :, None] + base).reshape(-1, 4)  # (H, W, A, 4) -> (H * W * A, 4)


def _flat(values: Tensor, order: Order) -> Tensor:
    """Values (ratios, scales) of the anchors of a cell in their order."""
    if order not in ("ratio_major", "size_major"):
        raise ValueError(f"order: {order!r} is neither 'ratio_major' nor 'size_major'")
    return (values if order == "ratio_major" else values.t()).flatten()


def _round_away(value: float) -> int:
    return math.floor(value + 0.5)
