"""In which order the images of an evaluation come, which of them share a batch, and in what shape.

Most protocols do not care. Ultralytics' does: the border of an image depends on the images beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

import numpy as np

from zoo.data.preprocess import Preprocess
from zoo.types import Size


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """Images that go through a detector together.

    Attributes:
        indices: positions in the data set.
        batch_shape: (height, width) they are padded to; None leaves that to the detector.
    """

    indices: tuple[int, ...]
    batch_shape: Size | None = None


class Batching(Protocol):
    """A protocol's rule."""

    def plan(self, sizes: Sequence[Size], batch_size: int, *, whole: bool) -> list[PlannedBatch]:
        """The batches of an evaluation.

        Args:
            sizes: of the image files, in the order of the data set.
            batch_size: most images at a time.
            whole: whether they are a whole split, not a part of one.
        """
        ...


class InOrder:
    """The images as they come."""

    def plan(self, sizes: Sequence[Size], batch_size: int, *, whole: bool) -> list[PlannedBatch]:  # noqa: ARG002
        """Every `batch_size` images; see `Batching`."""
        return [PlannedBatch(indices) for indices in _cut(range(len(sizes)), batch_size)]


class AspectRatioGroups:
    """Images in ascending order of height / width, in groups that share a batch shape (Ultralytics' `rect`).

    The groups are those of the whole split, whatever the batch size, which only says how many images
    of one shape go together. In a part of a split an image would get neighbours that it does not
    have in the published evaluation; there each gets the shape of a group of its own, which is the
    same but for groups at the border between two shapes.

    Args:
        group_size: images that share a batch shape.
        transform: the detector's, whose size rule knows the shape of such a group.
    """

    def __init__(self, group_size: int, transform: Preprocess) -> None:
        self.group_size = group_size
        self.size_rule = transform.size_rule

    def plan(self, sizes: Sequence[Size], batch_size: int, *, whole: bool) -> list[PlannedBatch]:
        """Neighbours of one shape together; see `Batching`."""
        # numpy's default sort, which is not stable: so the original breaks ties.
        order = np.argsort(np.array([height / width for height, width in sizes])).tolist()
        placed: list[tuple[Size | None, int]] = []
        for group in _cut(order, self.group_size if whole else 1):
            shape = self.size_rule.batch_shape([sizes[i] for i in group])
            placed += [(shape, i) for i in group]
        return [
            PlannedBatch(indices, shape)
            for shape, run in groupby(placed, key=itemgetter(0))
            for indices in _cut([i for _, i in run], batch_size)
        ]


def describe(batches: Sequence[PlannedBatch]) -> dict[str, Any]:
    """Planned batches as a record holds them: how many, and how many images have each batch shape."""
    shapes: Counter[str] = Counter()
    for batch in batches:
        if batch.batch_shape is not None:
            shapes[f"{batch.batch_shape[0]}x{batch.batch_shape[1]}"] += len(batch.indices)
    return {"count": len(batches), "batch_shapes": dict(sorted(shapes.items()))}


def _cut(indices: Sequence[int], length: int) -> list[tuple[int, ...]]:
    return [tuple(indices[i : i + length]) for i in range(0, len(indices), length)]
